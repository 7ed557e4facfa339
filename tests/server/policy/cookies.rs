//! Cookies of RFC 9018, and when one is valid.

use std::{fs, net::IpAddr};

use param_daemon::server::{
    config::secret::{Secret, secret},
    policy::cookie::{CookieSnapshot, CookieStatus, Cookies, now},
};

fn octets<const N: usize>(text: &str) -> [u8; N] {
    let pairs = (0..N).map(|index| u8::from_str_radix(&text[2 * index..][..2], 16).unwrap());
    pairs.collect::<Vec<_>>().try_into().unwrap()
}

const KEY: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

fn server_cookie(client: &[u8; 8], time: u32, source: IpAddr, secret: &Secret) -> [u8; 16] {
    let cookies = Cookies::configured(*secret, None);
    cookies.snapshot(time).server(client, source)
}

fn verifies(moment: &CookieSnapshot, octets: &[u8], source: &IpAddr) -> bool {
    matches!(moment.verify(octets, source), CookieStatus::Valid { .. })
}

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
    assert!(verifies(&moment, &cookie, &source));
    // The next one has zeros there.
    let later = cookies.snapshot(1_559_734_700);
    let renewed = later.server(&octets("fc93fc62807ddb86"), source);
    assert_eq!(renewed, octets("010000005cf7a9acf73a7810aca2381e"));
    for index in 8..cookie.len() {
        cookie[index] ^= 1;
        assert!(!verifies(&moment, &cookie, &source), "{index}");
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
    verifies(&cookies.snapshot(now), &octets, &source)
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
            let elsewhere = [10, 0, 0, 2].into();
            assert!(!is_valid(&cookies, &client, &server, elsewhere, now));
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

/// The secret for new cookies: the second line of the text.
fn current(cookies: &Cookies) -> String {
    cookies.text().lines().nth(1).unwrap().to_owned()
}

#[test]
fn generated_secrets_are_stored_and_rotated_without_a_gap() {
    let data = tempfile::tempdir().unwrap();
    let first = Cookies::generated(data.path()).unwrap();
    let again = Cookies::generated(data.path()).unwrap();
    assert_eq!(current(&first), current(&again));
    let client = [7; 8];
    let here = [10, 0, 0, 1].into();
    let before = first.snapshot(now()).server(&client, here);
    first.rotate();
    assert_eq!(current(&first), current(&again), "not yet");
    let old = format!("0\n{}\n\n", current(&first));
    fs::write(data.path().join("cookie-secrets"), old).unwrap();
    let first = Cookies::generated(data.path()).unwrap();
    first.rotate();
    assert_ne!(current(&first), current(&again));
    assert!(is_valid(&first, &client, &before, here, now()));
    let after = Cookies::generated(data.path()).unwrap();
    assert!(is_valid(&after, &client, &before, here, now()));
    assert_eq!(current(&after), current(&first));
}

#[test]
fn secrets_survive_writing_and_reading() {
    let first = Cookies::generate_text().unwrap();
    assert_ne!(first, Cookies::generate_text().unwrap());
    let secret = first.lines().nth(1).unwrap();
    let second = format!("8\n{KEY}\n{secret}\n");
    for text in [first.as_str(), &second] {
        assert_eq!(Cookies::shared(text).unwrap().text(), text);
    }
    for text in [
        "",
        "7\n",
        "x\n00",
        "7\n00\n",
        "7\n+0000000000000000000000000000000\n",
    ] {
        assert!(Cookies::shared(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_clock_that_was_set_back_makes_rotation_due() {
    const ROTATION: u32 = 24 * 3_600;
    for (created, is_due) in [
        (now(), false),
        (now() - ROTATION + 60, false),
        (now() - ROTATION, true),
        (now() + 60, true),
    ] {
        let cookies = Cookies::shared(&format!("{created}\n{KEY}\n\n")).unwrap();
        assert_eq!(cookies.next_text().is_some(), is_due, "{created}");
    }
}
