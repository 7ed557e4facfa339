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
use siphasher::sip::SipHasher24;
use tracing::warn;

use super::secrets::Secrets;
use crate::server::config::secret::Secret;

/// How old a server's cookie may be, and how far ahead the clock of another
/// server with the same secret (RFC 9018, section 4.3), in seconds.
const OLDEST: i32 = 3_600;
const NEWEST: i32 = -300;

/// Up to what age a cookie may be given again instead of a new one, in seconds.
const YOUNG: i32 = 1_800;

/// The version of a server cookie (RFC 9018, section 4.1).
const VERSION: u8 = 1;

/// How many octets a client cookie has.
pub const CLIENT_OCTETS: usize = 8;
const HEAD_OCTETS: usize = 8;
const HASH_OCTETS: usize = 8;
const SERVER_OCTETS: usize = HEAD_OCTETS + HASH_OCTETS;

/// What the COOKIE option of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Its length is not one that RFC 7873, section 4, allows.
    Malformed,
    /// A client cookie, with no server cookie or with one that is not good.
    Unproven,
    /// A client cookie, and a good server cookie.
    Good {
        /// Whether they may be given again as they are.
        again: bool,
    },
}

impl Cookie {
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

    /// Cookies at that time, in seconds since 1970.
    pub fn at(&self, now: u32) -> CookieState {
        CookieState {
            secrets: self.secrets.load_full(),
            now,
        }
    }
}

/// What makes and checks cookies at one time: loaded once for a batch of packets.
pub struct CookieState {
    secrets: Arc<Secrets>,
    now: u32,
}

impl CookieState {
    /// What the data of a COOKIE option says.
    pub fn judge(&self, octets: &[u8], source: &IpAddr) -> Cookie {
        let Some((&client, server)) = octets.split_first_chunk::<CLIENT_OCTETS>() else {
            return Cookie::Malformed;
        };
        match server.len() {
            0 | 8..=32 => match self.is_good(&client, server, source) {
                Some(again) => Cookie::Good { again },
                None => Cookie::Unproven,
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
mod tests;
