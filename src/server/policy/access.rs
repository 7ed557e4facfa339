//! Whether an access list allows a source.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use ipnet::IpNet;

use crate::server::config::access::List;

impl List {
    /// Whether a message from that address, signed with that key, is allowed.
    pub fn allows(&self, address: IpAddr, key: Option<&Name>) -> bool {
        self.has(address) || key.is_some_and(|key| self.keys.contains(key))
    }

    /// Whether anything from that address could be allowed.
    pub fn may_allow(&self, address: IpAddr) -> bool {
        !self.keys.is_empty() || self.has(address)
    }

    fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| holds(network, address))
    }
}

/// Whether the address is one of the network's. By one mask: [`IpNet`] compares
/// with the first address and the last, and this is asked twice a query.
fn holds(network: &IpNet, address: IpAddr) -> bool {
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

    /// Addresses that have much in common, of both families.
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
        fn a_network_holds_what_lies_between_its_first_and_last_address(
            (one, other, prefix) in (address(), address(), 0..=128u8),
        ) {
            let longest = if one.is_ipv4() { 32 } else { 128 };
            let network = IpNet::new(one, prefix.min(longest)).unwrap();
            for address in [one, other, network.network(), network.broadcast()] {
                prop_assert_eq!(holds(&network, address), network.contains(&address));
            }
        }
    }
}
