//! Cookies of RFC 9018, and when one is valid.

use super::*;
use crate::server::config::secret::secret;

fn octets<const N: usize>(text: &str) -> [u8; N] {
    let pairs = (0..N).map(|index| u8::from_str_radix(&text[2 * index..][..2], 16).unwrap());
    pairs.collect::<Vec<_>>().try_into().unwrap()
}

const KEY: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

/// The examples of RFC 9018, appendix A.
#[test]
fn cookies_are_those_of_the_rfc() {
    for (client, time, source, key, expected) in [
        (
            "2464c4abcf10c957",
            1_559_731_985,
            "198.51.100.100",
            KEY,
            "010000005cf79f111f8130c3eee29480",
        ),
        (
            "22681ab97d52c298",
            1_559_741_961,
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "445536bcd2513298075a5d379663c962",
            "010000005cf7c609a6bb79d16625507a",
        ),
    ] {
        let source = source.parse().unwrap();
        let cookie = server_cookie(&octets(client), time, source, &secret(key).unwrap());
        assert_eq!(cookie, octets(expected));
    }
}

/// The example of RFC 9018, appendix A.3: its reserved octets are not zero.
#[test]
fn reserved_octets_are_hashed_unchanged() {
    let cookies = Cookies::configured(secret(KEY).unwrap(), None);
    let moment = cookies.snapshot(1_559_728_000);
    let mut cookie: [u8; 24] = octets("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
    let source = "203.0.113.203".parse().unwrap();
    assert!(moment.verify(&cookie, &source).is_valid());
    // The next one has zeros there.
    let later = cookies.snapshot(1_559_734_700);
    let renewed = later.server(&octets("fc93fc62807ddb86"), source);
    assert_eq!(renewed, octets("010000005cf7a9acf73a7810aca2381e"));
    for index in 8..cookie.len() {
        cookie[index] ^= 1;
        assert!(!moment.verify(&cookie, &source).is_valid(), "{index}");
        cookie[index] ^= 1;
    }
}

#[test]
fn a_recent_cookie_of_the_current_secret_is_reused() {
    let cookies = Cookies::configured([1; 16], Some([2; 16]));
    let (client, here, now) = ([7; 8], [10, 0, 0, 1].into(), 1_000_000);
    for (secret, age, reusable) in [
        (1, 0, true),
        (1, 1_799, true),
        (1, 1_800, false),
        // Another server generated it, whose clock is ahead.
        (1, -1, false),
        // The previous secret generated it.
        (2, 0, false),
    ] {
        let created = now - age;
        let server = server_cookie(&client, created as u32, here, &[secret; 16]);
        let octets = [&client[..], &server].concat();
        assert_eq!(
            cookies.snapshot(now as u32).verify(&octets, &here),
            CookieStatus::Valid { reusable },
            "{secret} {age}"
        );
    }
}

fn is_valid(
    cookies: &Cookies,
    client: &[u8; 8],
    server: &[u8; 16],
    source: IpAddr,
    now: u32,
) -> bool {
    let octets = [&client[..], server].concat();
    cookies.snapshot(now).verify(&octets, &source).is_valid()
}

#[test]
fn a_cookie_is_valid_for_a_time_one_client_and_one_address() {
    let (first, second) = ([1; 16], [2; 16]);
    let cookies = Cookies::configured(first, Some(second));
    let client = [7; 8];
    let here = [10, 0, 0, 1].into();
    let now: u32 = 1_000_000;
    for secret in [first, second] {
        for (age, expected) in [
            (-301, false),
            (-300, true),
            (0, true),
            (3_600, true),
            (3_601, false),
        ] {
            let created = now.wrapping_add_signed(-age);
            let server = server_cookie(&client, created, here, &secret);
            assert_eq!(
                is_valid(&cookies, &client, &server, here, now),
                expected,
                "{age}"
            );
            assert!(!is_valid(&cookies, &[8; 8], &server, here, now));
            assert!(!is_valid(
                &cookies,
                &client,
                &server,
                [10, 0, 0, 2].into(),
                now
            ));
            for index in 0..server.len() {
                let mut forged = server;
                forged[index] ^= 1;
                assert!(!is_valid(&cookies, &client, &forged, here, now), "{index}");
            }
        }
    }
    let unknown = server_cookie(&client, now, here, &[3; 16]);
    assert!(!is_valid(&cookies, &client, &unknown, here, now));
}

#[test]
fn generated_secrets_are_stored_and_rotated_without_a_gap() {
    let data = tempfile::tempdir().unwrap();
    let first = Cookies::generated(data.path()).unwrap();
    let again = Cookies::generated(data.path()).unwrap();
    let current = |cookies: &Cookies| cookies.secrets.load().current;
    assert_eq!(current(&first), current(&again));
    let client = [7; 8];
    let here = [10, 0, 0, 1].into();
    let before = server_cookie(&client, now(), here, &current(&first));
    first.rotate();
    assert_eq!(current(&first), current(&again), "not yet");
    let old = Secrets {
        created: 0,
        ..**first.secrets.load()
    };
    first.secrets.store(Arc::new(old));
    first.rotate();
    assert_ne!(current(&first), current(&again));
    assert!(is_valid(&first, &client, &before, here, now()));
    let after = Cookies::generated(data.path()).unwrap();
    assert!(is_valid(&after, &client, &before, here, now()));
    assert_eq!(current(&after), current(&first));
}
