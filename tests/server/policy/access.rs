//! Which addresses a list of networks contains, and what a client may state as one.

use std::net::IpAddr;

use ipnet::IpNet;
use param_daemon::server::{config::access::AccessList, wire::parse_subnet};
use proptest::prelude::*;

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
        let list = AccessList { networks: vec![network], keys: Vec::new() };
        for address in [one, other, network.network(), network.broadcast()] {
            prop_assert_eq!(list.allows(address, None), network.contains(&address));
        }
    }
}

#[test]
fn a_subnet_is_as_long_as_its_prefix_requires() {
    for (data, expected) in [
        (&[0, 1, 32, 0, 10, 0, 0, 1][..], Some(("10.0.0.1", 32))),
        (&[0, 1, 24, 0, 10, 0, 1], Some(("10.0.1.0", 24))),
        (&[0, 1, 20, 0, 10, 0, 0x10], Some(("10.0.16.0", 20))),
        (&[0, 1, 0, 0], Some(("0.0.0.0", 0))),
        (&[0, 2, 16, 0, 0xfd, 0], Some(("fd00::", 16))),
        // Too many octets, too few, a bit after the prefix, a scope, an invalid
        // prefix, an unknown family, and an incomplete option.
        (&[0, 1, 24, 0, 10, 0, 1, 0], None),
        (&[0, 1, 32, 0, 10, 0, 0], None),
        (&[0, 1, 20, 0, 10, 0, 0x18], None),
        (&[0, 1, 24, 24, 10, 0, 1], None),
        (&[0, 1, 33, 0, 10, 0, 0, 0, 0], None),
        (&[0, 3, 0, 0], None),
        (&[0, 1, 0], None),
    ] {
        let expected = expected.map(|(address, prefix)| (address.parse().unwrap(), prefix));
        assert_eq!(parse_subnet(data), expected, "{data:?}");
    }
}
