//! Numbers and addresses as the service writes them into its answers.

use std::net::Ipv4Addr;

use param_daemon::zone::packet::{decimal, ipv4};

#[test]
fn a_number_is_written_as_the_standard_library_does() {
    let powers = (0..10).map(|power| 10u32.pow(power));
    let numbers = powers.flat_map(|power| [power - 1, power, power + 1, power * 4]);
    for number in numbers.chain([u32::MAX]) {
        let mut text = vec![b'='];
        decimal(number.into(), &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), format!("={number}"));
    }
}

#[test]
fn an_address_is_written_as_the_standard_library_does() {
    for octet in 0..=255 {
        for octets in [
            [octet, 0, 10, 255],
            [1, octet, 99, 100],
            [9, 200, octet, 7],
            [255, 255, 255, octet],
        ] {
            let (address, mut text) = (Ipv4Addr::from(octets), Vec::new());
            ipv4(address, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), address.to_string());
        }
    }
}
