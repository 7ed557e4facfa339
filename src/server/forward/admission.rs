//! How many queries are forwarded at once: as a whole, and of one client network.
//!
//! Each that is forwarded holds one socket for each upstream that has been asked,
//! for some seconds if these are silent. So what is bounded is the number of
//! sockets, whatever way the queries come.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex},
};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many sockets there are to upstreams at most.
const SOCKETS: usize = 1_024;

/// One client network may have such a part of them: one in so many.
const SHARE: usize = 4;

pub struct Admission {
    free: Arc<Semaphore>,
    by_network: Arc<Mutex<HashMap<IpNet, usize>>>,
    most_of_network: usize,
}

impl Admission {
    /// For queries that may each have a socket to every one of so many upstreams.
    pub fn new(upstreams: usize) -> Self {
        let most = (SOCKETS / upstreams.max(1)).max(SHARE);
        Self {
            free: Arc::new(Semaphore::new(most)),
            by_network: Arc::default(),
            most_of_network: most / SHARE,
        }
    }

    /// Counts a query of that client, if there may be one more.
    ///
    /// # Errors
    ///
    /// That there may not, and why.
    pub fn admit(&self, client: IpAddr) -> Result<Admitted, &'static str> {
        const TOO_MANY: &str = "too many names are being forwarded";
        let permit = self.free.clone().try_acquire_owned();
        let permit = permit.map_err(|_| TOO_MANY)?;
        let network = network(client);
        let mut by_network = self.by_network.lock().map_err(|_| TOO_MANY)?;
        let count = by_network.entry(network).or_default();
        if *count >= self.most_of_network {
            return Err("too many names are being forwarded for your network");
        }
        *count += 1;
        Ok(Admitted {
            network,
            by_network: self.by_network.clone(),
            _permit: permit,
        })
    }
}

/// A query that is counted until this is dropped.
pub struct Admitted {
    network: IpNet,
    by_network: Arc<Mutex<HashMap<IpNet, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Ok(mut by_network) = self.by_network.lock()
            && let Entry::Occupied(mut count) = by_network.entry(self.network)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The network that the client counts with: as many bits as limits of responses
/// go by.
fn network(client: IpAddr) -> IpNet {
    let bits = if client.is_ipv4() { 24 } else { 56 };
    IpNet::new(client, bits).map_or(client.into(), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_network_has_its_share_and_all_have_the_whole() {
        let admission = Admission::new(1);
        let mut admitted = Vec::new();
        for network in 0..SHARE {
            for host in 0..SOCKETS / SHARE {
                let client = address(&format!("10.0.{network}.{}", host % 256));
                admitted.push(admission.admit(client).ok().unwrap());
            }
            let client = address(&format!("10.0.{network}.1"));
            assert!(admission.admit(client).is_err());
        }
        let other = address("fd00::1");
        assert!(admission.admit(other).is_err());
        admitted.pop();
        let last = admission.admit(other).ok().unwrap();
        assert!(admission.admit(other).is_err());
        drop((admitted, last));
        assert!(admission.by_network.lock().unwrap().is_empty());
        assert_eq!(admission.free.available_permits(), SOCKETS);
    }

    #[test]
    fn there_are_as_many_sockets_however_many_upstreams() {
        for upstreams in 0..2_000 {
            let admission = Admission::new(upstreams);
            let most = admission.free.available_permits();
            assert!(most * upstreams <= SOCKETS.max(SHARE * upstreams));
            assert!(admission.most_of_network > 0);
        }
    }
}
