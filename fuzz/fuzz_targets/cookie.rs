//! Any octets as a COOKIE option, and cookies of the server's with some octets
//! changed: good is only what the server made, for that client at that address.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode},
    rr::rdata::opt::EdnsOption,
};
use hickory_server::{net::xfer::Protocol, server::Request};
use libfuzzer_sys::fuzz_target;
use param_daemon::server::policy::cookie::{Cookie, Cookies};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    source: IpAddr,
    option: Content<'a>,
    secret: [u8; 16],
}

#[derive(Debug, Arbitrary)]
enum Content<'a> {
    Any(&'a [u8]),
    /// Made by the server for a client, then changed.
    Made {
        client: [u8; 8],
        changes: Vec<(u8, u8)>,
        length: Option<u8>,
        /// For whom, if not for the source.
        other: Option<IpAddr>,
    },
}

fuzz_target!(|input: Input<'_>| {
    let cookies = Cookies::configured(input.secret, None);
    let (octets, made) = match input.option {
        Content::Any(octets) => (octets.to_vec(), None),
        Content::Made {
            client,
            changes,
            length,
            other,
        } => {
            let receiver = other.unwrap_or(input.source);
            let EdnsOption::Unknown(_, made) = cookies.option(&client, receiver) else {
                panic!("a COOKIE option is one that the library does not know");
            };
            assert_eq!(made.len(), 24);
            let mut octets = made.clone();
            for (place, change) in changes {
                octets[usize::from(place) % 24] ^= change;
            }
            octets.resize(length.map_or(24, |length| usize::from(length) % 64), 0);
            (octets, (receiver == input.source).then_some(made))
        }
    };
    let request = request(&octets, input.source);
    let read = cookies.read(&request, input.source);
    let allowed = matches!(octets.len(), 8 | 16..=40);
    match read {
        Cookie::Missing => panic!("there is one"),
        Cookie::Malformed => assert!(!allowed),
        Cookie::Unproven(client) => {
            assert!(allowed);
            assert_eq!(client, octets[..8]);
            assert_ne!(Some(&octets), made.as_ref(), "its own cookie is refused");
        }
        Cookie::Good { client, again } => {
            assert!(again, "it is of this moment");
            assert_eq!(client, octets[..8]);
            assert_eq!(Some(octets), made, "forged");
        }
    }
});

fn request(option: &[u8], source: IpAddr) -> Request {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    let mut edns = Edns::new();
    let cookie = EdnsOption::Unknown(10, option.to_vec());
    edns.options_mut().insert(cookie);
    message.edns = Some(edns);
    let octets = message.to_vec().expect("a query can be written");
    let source = SocketAddr::new(source, 4_711);
    Request::from_bytes(octets, source, Protocol::Udp).expect("and read")
}
