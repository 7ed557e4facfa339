//! DNS cookies (RFC 7873) as all servers make them (RFC 9018): a client that
//! sends back a server's cookie has shown that it receives at its address.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_server::server::Request;
use siphasher::sip::SipHasher24;
use tracing::warn;

use super::secrets::{Secret, Secrets};

/// How old a server's cookie may be, and how far ahead the clock of another
/// server with the same secret (RFC 9018, section 4.3), in seconds.
const OLDEST: i32 = 3_600;
const NEWEST: i32 = -300;

/// Up to what age a cookie may be given again instead of a new one, in seconds.
const YOUNG: i32 = 1_800;

/// The version of a server cookie (RFC 9018, section 4.1).
const VERSION: u8 = 1;

const CLIENT_OCTETS: usize = 8;
const HEAD_OCTETS: usize = 8;
const HASH_OCTETS: usize = 8;
const SERVER_OCTETS: usize = HEAD_OCTETS + HASH_OCTETS;

/// What the COOKIE option of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// There is none.
    Missing,
    /// Its length is not one that RFC 7873, section 4, allows.
    Malformed,
    /// A client cookie without a good server cookie.
    Unproven {
        client: [u8; CLIENT_OCTETS],
        /// Whether there is a server cookie, which is not good.
        is_wrong: bool,
    },
    /// A client cookie, and a good server cookie.
    Good {
        client: [u8; CLIENT_OCTETS],
        /// Whether they may be given again as they are.
        again: bool,
    },
}

impl Cookie {
    pub fn client(&self) -> Option<&[u8; CLIENT_OCTETS]> {
        match self {
            Self::Unproven { client, .. } | Self::Good { client, .. } => Some(client),
            Self::Missing | Self::Malformed => None,
        }
    }

    /// Whether the client receives at its address.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good { .. })
    }
}

/// Makes and checks server cookies.
pub struct Cookies {
    secrets: ArcSwap<Secrets>,
    /// Where secrets of the service's own are kept; `None` where they are set
    /// by the configuration, and are never changed.
    file: Option<PathBuf>,
}

impl Cookies {
    /// With these secrets: the first for new cookies, the second for those that
    /// were made before it. The same for several replicas of a service.
    pub fn configured(current: Secret, previous: Option<Secret>) -> Self {
        Self {
            secrets: ArcSwap::from_pointee(Secrets {
                current,
                previous,
                since: now(),
            }),
            file: None,
        }
    }

    /// With secrets of its own, kept in the data directory, so that cookies
    /// outlive a restart.
    ///
    /// # Errors
    ///
    /// The operating system gives no random numbers.
    pub fn own(data: &Path) -> io::Result<Self> {
        let file = data.join("cookie-secrets");
        let secrets = match Secrets::read(&file) {
            Some(secrets) => secrets,
            None => Secrets::new(None, now())?,
        };
        let cookies = Self {
            secrets: ArcSwap::from_pointee(secrets),
            file: Some(file),
        };
        cookies.keep();
        Ok(cookies)
    }

    /// Makes a new secret if the current one is old. To be called now and then.
    pub fn rotate(&self) {
        let secrets = self.secrets.load();
        if self.file.is_none() || !secrets.are_old(now()) {
            return;
        }
        match Secrets::new(Some(secrets.current), now()) {
            Ok(secrets) => {
                self.secrets.store(Arc::new(secrets));
                self.keep();
            }
            Err(error) => warn!("no new cookie secret: {error}"),
        }
    }

    /// Writes the secrets down. Without, clients need one query more after a
    /// restart, and no more than that.
    fn keep(&self) {
        let Some(file) = &self.file else {
            return;
        };
        if let Err(error) = self.secrets.load().write(file) {
            warn!("cannot keep {}: {error}", file.display());
        }
    }

    /// What the request's COOKIE option says.
    pub fn read(&self, request: &Request, source: IpAddr) -> Cookie {
        let option = request
            .edns
            .as_ref()
            .and_then(|edns| edns.option(EdnsCode::Cookie));
        match option {
            Some(EdnsOption::Unknown(_, octets)) => self.at(now()).judge(octets, &source),
            _ => Cookie::Missing,
        }
    }

    /// The COOKIE option that answers a client's, with a fresh server cookie.
    pub fn option(&self, client: &[u8; CLIENT_OCTETS], source: IpAddr) -> EdnsOption {
        let server = self.at(now()).server(client, source);
        EdnsOption::Unknown(EdnsCode::Cookie.into(), [&client[..], &server].concat())
    }

    /// Cookies at that time, in seconds since 1970.
    pub fn at(&self, now: u32) -> Moment {
        Moment {
            secrets: self.secrets.load_full(),
            now,
        }
    }
}

/// What makes and checks cookies at one time: loaded once for a batch of packets.
pub struct Moment {
    secrets: Arc<Secrets>,
    now: u32,
}

impl Moment {
    /// What the data of a COOKIE option says.
    pub fn judge(&self, octets: &[u8], source: &IpAddr) -> Cookie {
        let Some((&client, server)) = octets.split_first_chunk::<CLIENT_OCTETS>() else {
            return Cookie::Malformed;
        };
        match server.len() {
            0 | 8..=32 => match self.is_good(&client, server, source) {
                Some(again) => Cookie::Good { client, again },
                None => Cookie::Unproven {
                    client,
                    is_wrong: !server.is_empty(),
                },
            },
            _ => Cookie::Malformed,
        }
    }

    /// Whether a server cookie, if it is good, may be given again. It is good if
    /// one of the secrets has made it, for that client cookie and that address, at
    /// a time that is not too long ago.
    fn is_good(
        &self,
        client: &[u8; CLIENT_OCTETS],
        server: &[u8],
        source: &IpAddr,
    ) -> Option<bool> {
        let server = <&[u8; SERVER_OCTETS]>::try_from(server).ok()?;
        let (head, hash) = server.split_first_chunk::<HEAD_OCTETS>()?;
        // Whatever is in the reserved octets (RFC 9018, section 4.2).
        let [VERSION, _, _, _, t3, t2, t1, t0] = *head else {
            return None;
        };
        // Serial number arithmetic, as the RFC wants it after the year 2106.
        let age = self.now.wrapping_sub(u32::from_be_bytes([t3, t2, t1, t0])) as i32;
        if !(NEWEST..=OLDEST).contains(&age) {
            return None;
        }
        // Eight octets are compared at once, which does not tell by its time how many
        // of them are right.
        let has_made = |secret: &Secret| *hash == hash_of(client, head, source, secret);
        if has_made(&self.secrets.current) {
            return Some((0..YOUNG).contains(&age));
        }
        let has_made = self.secrets.previous.as_ref().is_some_and(has_made);
        has_made.then_some(false)
    }

    /// A fresh server cookie.
    pub fn server(&self, client: &[u8; CLIENT_OCTETS], source: IpAddr) -> [u8; SERVER_OCTETS] {
        server_cookie(client, self.now, source, &self.secrets.current)
    }
}

/// A server cookie (RFC 9018, section 4): the head, and the hash.
fn server_cookie(
    client: &[u8; CLIENT_OCTETS],
    time: u32,
    source: IpAddr,
    secret: &Secret,
) -> [u8; SERVER_OCTETS] {
    // Three octets are reserved.
    let head = (u64::from(VERSION) << 56 | u64::from(time)).to_be_bytes();
    let mut cookie = [0; SERVER_OCTETS];
    cookie[..HEAD_OCTETS].copy_from_slice(&head);
    cookie[HEAD_OCTETS..].copy_from_slice(&hash_of(client, &head, &source, secret));
    cookie
}

/// What shows who has made a cookie, for that client and address and with that
/// head.
fn hash_of(
    client: &[u8; CLIENT_OCTETS],
    head: &[u8; HEAD_OCTETS],
    source: &IpAddr,
    secret: &Secret,
) -> [u8; HASH_OCTETS] {
    let mut octets = [0; CLIENT_OCTETS + HEAD_OCTETS + 16];
    octets[..8].copy_from_slice(client);
    octets[8..16].copy_from_slice(head);
    let length = match source {
        IpAddr::V4(address) => {
            octets[16..20].copy_from_slice(&address.octets());
            20
        }
        IpAddr::V6(address) => {
            octets[16..].copy_from_slice(&address.octets());
            32
        }
    };
    let hash = SipHasher24::new_with_key(secret).hash(&octets[..length]);
    hash.to_le_bytes()
}

/// Now, in seconds since 1970.
pub fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::secrets::secret;

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        let pairs = (0..N).map(|place| u8::from_str_radix(&text[2 * place..][..2], 16).unwrap());
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
    fn reserved_octets_are_hashed_as_they_came() {
        let cookies = Cookies::configured(secret(KEY).unwrap(), None);
        let moment = cookies.at(1_559_728_000);
        let mut cookie: [u8; 24] = octets("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let source = "203.0.113.203".parse().unwrap();
        assert!(moment.judge(&cookie, &source).is_good());
        // The next one has zeros there.
        let later = cookies.at(1_559_734_700);
        let renewed = later.server(&octets("fc93fc62807ddb86"), source);
        assert_eq!(renewed, octets("010000005cf7a9acf73a7810aca2381e"));
        for place in 8..cookie.len() {
            cookie[place] ^= 1;
            assert!(!moment.judge(&cookie, &source).is_good(), "{place}");
            cookie[place] ^= 1;
        }
    }

    #[test]
    fn a_young_cookie_of_the_current_secret_is_given_again() {
        let cookies = Cookies::configured([1; 16], Some([2; 16]));
        let (client, here, now) = ([7; 8], [10, 0, 0, 1].into(), 1_000_000);
        for (secret, age, is_given_again) in [
            (1, 0, true),
            (1, 1_799, true),
            (1, 1_800, false),
            // From the clock of another server, which is ahead.
            (1, -1, false),
            // By the secret before.
            (2, 0, false),
        ] {
            let made = now - age;
            let server = server_cookie(&client, made as u32, here, &[secret; 16]);
            let octets = [&client[..], &server].concat();
            assert_eq!(
                cookies.at(now as u32).judge(&octets, &here),
                Cookie::Good {
                    client,
                    again: is_given_again
                },
                "{secret} {age}"
            );
        }
    }

    fn is_good(
        cookies: &Cookies,
        client: &[u8; 8],
        server: &[u8; 16],
        source: IpAddr,
        now: u32,
    ) -> bool {
        let octets = [&client[..], server].concat();
        cookies.at(now).judge(&octets, &source).is_good()
    }

    #[test]
    fn a_cookie_is_good_for_its_time_its_client_and_its_address() {
        let (first, second) = ([1; 16], [2; 16]);
        let cookies = Cookies::configured(first, Some(second));
        let client = [7; 8];
        let here = [10, 0, 0, 1].into();
        let now: u32 = 1_000_000;
        for secret in [first, second] {
            for (age, good) in [
                (-301, false),
                (-300, true),
                (0, true),
                (3_600, true),
                (3_601, false),
            ] {
                let made = now.wrapping_add_signed(-age);
                let server = server_cookie(&client, made, here, &secret);
                assert_eq!(
                    is_good(&cookies, &client, &server, here, now),
                    good,
                    "{age}"
                );
                assert!(!is_good(&cookies, &[8; 8], &server, here, now));
                assert!(!is_good(
                    &cookies,
                    &client,
                    &server,
                    [10, 0, 0, 2].into(),
                    now
                ));
                for place in 0..server.len() {
                    let mut forged = server;
                    forged[place] ^= 1;
                    assert!(!is_good(&cookies, &client, &forged, here, now), "{place}");
                }
            }
        }
        let unknown = server_cookie(&client, now, here, &[3; 16]);
        assert!(!is_good(&cookies, &client, &unknown, here, now));
    }

    #[test]
    fn own_secrets_are_kept_and_rotated_without_a_gap() {
        let data = tempfile::tempdir().unwrap();
        let first = Cookies::own(data.path()).unwrap();
        let again = Cookies::own(data.path()).unwrap();
        let current = |cookies: &Cookies| cookies.secrets.load().current;
        assert_eq!(current(&first), current(&again));
        let client = [7; 8];
        let here = [10, 0, 0, 1].into();
        let before = server_cookie(&client, now(), here, &current(&first));
        first.rotate();
        assert_eq!(current(&first), current(&again), "not yet");
        let old = Secrets {
            since: 0,
            ..**first.secrets.load()
        };
        first.secrets.store(Arc::new(old));
        first.rotate();
        assert_ne!(current(&first), current(&again));
        assert!(is_good(&first, &client, &before, here, now()));
        let after = Cookies::own(data.path()).unwrap();
        assert!(is_good(&after, &client, &before, here, now()));
        assert_eq!(current(&after), current(&first));
    }
}
