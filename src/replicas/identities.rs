//! Which replicas are connected to the writer: one process for each data directory.
//!
//! A copy of a data directory has the identity of the original. If both were one replica
//! to the writer, the reports of one would count for the other, whose leases would end
//! while it renews them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The processes that are connected, by the identities of their data directories.
#[derive(Debug, Clone, Default)]
pub struct Identities(Arc<Mutex<BTreeMap<String, Process>>>);

/// A process, which for a moment may have two connections.
#[derive(Debug)]
struct Process {
    run: u64,
    address: IpAddr,
    connections: usize,
}

/// A connection of a process. The identity is free when the last one is dropped.
pub struct Connected {
    identities: Identities,
    identity: String,
}

impl Identities {
    /// Registers a connection. Fails with the address of another process that has this
    /// identity.
    pub fn connect(&self, identity: &str, run: u64, from: IpAddr) -> Result<Connected, IpAddr> {
        let mut processes = self.locked();
        let process = processes.entry(identity.to_owned()).or_insert(Process {
            run,
            address: from,
            connections: 0,
        });
        if process.run != run {
            return Err(process.address);
        }
        process.connections += 1;
        Ok(Connected {
            identities: self.clone(),
            identity: identity.to_owned(),
        })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut processes = self.identities.locked();
        if let Some(process) = processes.get_mut(&self.identity) {
            process.connections -= 1;
            if process.connections == 0 {
                processes.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_second_process_is_refused_while_the_first_is_connected() {
        let identities = Identities::default();
        let connect =
            |run, host| identities.connect("identity", run, Ipv4Addr::new(10, 0, 0, host).into());
        let first = connect(1, 1).ok();
        let again = connect(1, 1).ok();
        assert!(first.is_some() && again.is_some());
        drop(first);
        let other = connect(2, 2).err();
        assert_eq!(other, Some(Ipv4Addr::new(10, 0, 0, 1).into()));
        drop(again);
        assert!(connect(2, 2).is_ok());
    }
}
