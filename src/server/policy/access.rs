//! Evaluates access lists.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use ipnet::IpNet;

use crate::server::config::access::AccessList;

impl AccessList {
    /// Returns whether the list allows a message from this address, signed with
    /// this key.
    pub fn allows(&self, address: IpAddr, key: Option<&Name>) -> bool {
        are_networks_of(&self.networks, address) || key.is_some_and(|key| self.keys.contains(key))
    }

    /// Returns whether the list can allow a message from this address, signed or
    /// not.
    pub fn may_allow(&self, address: IpAddr) -> bool {
        !self.keys.is_empty() || are_networks_of(&self.networks, address)
    }
}

/// Returns whether one of the networks contains the address.
pub fn are_networks_of(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| contains(network, address))
}

/// Returns whether the network contains the address. One mask decides: [`IpNet`]
/// compares with the first and the last address, and each query needs this twice.
fn contains(network: &IpNet, address: IpAddr) -> bool {
    match (network, address) {
        (IpNet::V4(network), IpAddr::V4(address)) => {
            let differ = network.addr().to_bits() ^ address.to_bits();
            differ & network.netmask().to_bits() == 0
        }
        (IpNet::V6(network), IpAddr::V6(address)) => {
            let differ = network.addr().to_bits() ^ address.to_bits();
            differ & network.netmask().to_bits() == 0
        }
        _ => false,
    }
}
