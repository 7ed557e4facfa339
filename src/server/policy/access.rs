//! Evaluates access lists.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use ipnet::IpNet;

use crate::server::config::access::AccessList;

impl AccessList {
    /// Returns whether the list allows a message from this address, signed with
    /// this key.
    pub fn allows(&self, address: IpAddr, key: Option<&Name>) -> bool {
        self.has_network_of(address) || key.is_some_and(|key| self.keys.contains(key))
    }

    /// Returns whether the list can allow a message from this address, signed or
    /// not.
    pub fn may_allow(&self, address: IpAddr) -> bool {
        !self.keys.is_empty() || self.has_network_of(address)
    }

    fn has_network_of(&self, address: IpAddr) -> bool {
        are_networks_of(&self.networks, address)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Addresses of both families that share many bits.
    fn address() -> impl Strategy<Value = IpAddr> {
        let v4 = (any::<u32>(), 0..=32u32).prop_map(|(bits, spare)| {
            let bits = bits.checked_shr(spare).unwrap_or(0);
            IpAddr::from(bits.to_be_bytes())
        });
        let v6 = (any::<u128>(), 0..=128u32).prop_map(|(bits, spare)| {
            let bits = bits.checked_shr(spare).unwrap_or(0);
            IpAddr::from(bits.to_be_bytes())
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_network_contains_what_lies_between_its_first_and_last_address(
            (one, other, prefix) in (address(), address(), 0..=128u8),
        ) {
            let longest = if one.is_ipv4() { 32 } else { 128 };
            let network = IpNet::new(one, prefix.min(longest)).unwrap();
            for address in [one, other, network.network(), network.broadcast()] {
                prop_assert_eq!(contains(&network, address), network.contains(&address));
            }
        }
    }
}
