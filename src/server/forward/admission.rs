//! Limits on concurrently forwarded queries: in total, and for each client network.
//!
//! A forwarded query holds one socket for each upstream that was queried, for some
//! seconds if these do not respond. So the limit is on the number of sockets, whatever
//! the transport of the queries.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex},
};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::policy::limits::network_of;

/// The maximum number of sockets to upstreams.
const SOCKETS: usize = 1_024;

/// One client network may use one in this many of the sockets.
const SHARE: usize = 4;

pub struct Admission {
    free: Arc<Semaphore>,
    by_network: Arc<Mutex<HashMap<IpNet, usize>>>,
    max_per_network: usize,
}

impl Admission {
    /// Limits queries that may each use one socket for each of the upstreams.
    pub fn new(upstreams: usize) -> Self {
        let max = (SOCKETS / upstreams.max(1)).max(SHARE);
        Self {
            free: Arc::new(Semaphore::new(max)),
            by_network: Arc::default(),
            max_per_network: max / SHARE,
        }
    }

    /// Returns a permit to forward a query of this client.
    ///
    /// # Errors
    ///
    /// The reason, at a limit.
    pub fn admit(&self, client: IpAddr) -> Result<ForwardPermit, &'static str> {
        const TOO_MANY: &str = "too many queries are being forwarded";
        let permit = self.free.clone().try_acquire_owned();
        let permit = permit.map_err(|_| TOO_MANY)?;
        let network = network_of(client);
        let mut by_network = self.by_network.lock().map_err(|_| TOO_MANY)?;
        let count = by_network.entry(network).or_default();
        if *count >= self.max_per_network {
            return Err("too many queries are being forwarded for your network");
        }
        *count += 1;
        Ok(ForwardPermit {
            network,
            by_network: self.by_network.clone(),
            _permit: permit,
        })
    }
}

/// A permit to forward a query. It counts until it is dropped.
pub struct ForwardPermit {
    network: IpNet,
    by_network: Arc<Mutex<HashMap<IpNet, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ForwardPermit {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_gets_its_share_and_all_get_the_rest() {
        let admission = Admission::new(1);
        let mut permits = Vec::new();
        for network in 0..SHARE {
            for host in 0..SOCKETS / SHARE {
                let client = address(&format!("10.0.{network}.{}", host % 256));
                permits.push(admission.admit(client).ok().unwrap());
            }
            let client = address(&format!("10.0.{network}.1"));
            assert!(admission.admit(client).is_err());
        }
        let other = address("fd00::1");
        assert!(admission.admit(other).is_err());
        permits.pop();
        let last = admission.admit(other).ok().unwrap();
        assert!(admission.admit(other).is_err());
        drop((permits, last));
        assert!(admission.by_network.lock().unwrap().is_empty());
        assert_eq!(admission.free.available_permits(), SOCKETS);
    }

    #[test]
    fn the_number_of_sockets_does_not_depend_on_the_upstreams() {
        for upstreams in 0..2_000 {
            let admission = Admission::new(upstreams);
            let max = admission.free.available_permits();
            assert!(max * upstreams <= SOCKETS.max(SHARE * upstreams));
            assert!(admission.max_per_network > 0);
        }
    }
}
