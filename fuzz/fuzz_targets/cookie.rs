//! Any octets as a COOKIE option, and cookies of the server's with some octets
//! changed: good is only what the server made, for that client at that address.

#![no_main]

use std::net::IpAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use param_daemon::server::policy::cookie::{CookieStatus, Cookies, now};

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
            let made = [
                &client[..],
                &cookies.snapshot(now()).server(&client, receiver),
            ]
            .concat();
            assert_eq!(made.len(), 24);
            let mut octets = made.clone();
            for (place, change) in changes {
                octets[usize::from(place) % 24] ^= change;
            }
            octets.resize(length.map_or(24, |length| usize::from(length) % 64), 0);
            (octets, (receiver == input.source).then_some(made))
        }
    };
    let read = cookies.snapshot(now()).verify(&octets, &input.source);
    let allowed = matches!(octets.len(), 8 | 16..=40);
    match read {
        CookieStatus::Malformed => assert!(!allowed),
        CookieStatus::Unverified => {
            assert!(allowed);
            assert_ne!(Some(&octets), made.as_ref(), "its own cookie is refused");
        }
        CookieStatus::Valid { reusable } => {
            assert!(reusable, "it is of this moment");
            assert_eq!(Some(octets), made, "forged");
        }
    }
});
