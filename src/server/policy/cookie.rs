//! DNS cookies (RFC 7873) in the interoperable format (RFC 9018): a client that
//! returns a server cookie has shown that it receives packets at its address.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher24;
use tracing::warn;

use super::{secrets::Secrets, tsig};
use crate::{server::config::secret::Secret, store::files};

/// The maximum age of a server cookie, and how far ahead the clock of another
/// server with the same secret may be (RFC 9018, section 4.3), in seconds.
const MAX_AGE: i32 = 3_600;
const MIN_AGE: i32 = -300;

/// The age from which a cookie is replaced with a new one, in seconds.
const RENEWAL_AGE: i32 = 1_800;

/// The version of a server cookie (RFC 9018, section 4.1).
const VERSION: u8 = 1;

/// The length of a client cookie.
pub const CLIENT_COOKIE_OCTETS: usize = 8;
const HEAD_OCTETS: usize = 8;
const HASH_OCTETS: usize = 8;
const SERVER_COOKIE_OCTETS: usize = HEAD_OCTETS + HASH_OCTETS;

/// The result of verifying the COOKIE option of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieStatus {
    /// RFC 7873, section 4, does not allow the length of the option.
    Malformed,
    /// A client cookie, without a server cookie or with an invalid one.
    Unverified,
    /// A client cookie and a valid server cookie.
    Valid {
        /// Whether the reply may repeat them.
        reusable: bool,
    },
}

/// A text contains no secrets of cookies.
#[derive(Debug, thiserror::Error)]
#[error("the shared cookie secrets cannot be read")]
pub struct NoSecrets;

/// Generates and verifies server cookies.
pub struct Cookies {
    secrets: ArcSwap<Secrets>,
    /// The file of generated secrets. `None` for configured secrets, which are never
    /// rotated.
    file: Option<PathBuf>,
}

impl Cookies {
    /// Uses configured secrets: the current one for new cookies, the previous one to
    /// verify older cookies. All replicas of a service have the same ones.
    pub fn configured(current: Secret, previous: Option<Secret>) -> Self {
        let created = now();
        Self::of(Secrets {
            current,
            previous,
            created,
        })
    }

    /// Uses generated secrets, which are stored in the data directory, so that
    /// cookies remain valid after a restart.
    ///
    /// # Errors
    ///
    /// The operating system provides no random numbers.
    pub fn generated(data: &Path) -> io::Result<Self> {
        let file = data.join("cookie-secrets");
        let stored = fs::read_to_string(&file).ok();
        let secrets = match stored.and_then(|text| Secrets::parse(&text)) {
            Some(secrets) => secrets,
            None => Secrets::new(None, now())?,
        };
        let cookies = Self {
            file: Some(file),
            ..Self::of(secrets)
        };
        cookies.save();
        Ok(cookies)
    }

    /// Uses secrets that all replicas of the service share.
    ///
    /// # Errors
    ///
    /// The text contains none.
    pub fn shared(text: &str) -> Result<Self, NoSecrets> {
        Secrets::parse(text).map(Self::of).ok_or(NoSecrets)
    }

    fn of(secrets: Secrets) -> Self {
        Self {
            secrets: ArcSwap::from_pointee(secrets),
            file: None,
        }
    }

    /// New secrets, as a text for [`shared`](Self::shared).
    ///
    /// # Errors
    ///
    /// The operating system provides no random numbers.
    pub fn generate_text() -> io::Result<String> {
        Ok(Secrets::new(None, now())?.text())
    }

    /// The secrets in use, as a text for [`shared`](Self::shared).
    pub fn text(&self) -> String {
        self.secrets.load().text()
    }

    /// Takes over secrets that another replica has generated.
    pub fn replace(&self, text: &str) {
        match Secrets::parse(text) {
            Some(secrets) => self.secrets.store(Arc::new(secrets)),
            None => warn!("the shared cookie secrets cannot be read: the old ones stay in use"),
        }
    }

    /// The next secrets, if the current one is due for rotation.
    fn next(&self) -> Option<io::Result<Secrets>> {
        let secrets = self.secrets.load();
        let is_due = secrets.are_due(now());
        is_due.then(|| Secrets::new(Some(secrets.current), now()))
    }

    /// The next secrets as a text, if the current one is due for rotation.
    pub fn next_text(&self) -> Option<String> {
        Some(self.next()?.ok()?.text())
    }

    /// Generates a new secret if the current one is due for rotation. The server
    /// calls this periodically.
    pub fn rotate(&self) {
        match self.file.as_ref().and_then(|_| self.next()) {
            Some(Ok(secrets)) => {
                self.secrets.store(Arc::new(secrets));
                self.save();
            }
            Some(Err(error)) => warn!("cannot generate a new cookie secret: {error}"),
            None => {}
        }
    }

    /// Saves generated secrets. If this fails, the only effect is that each client
    /// needs one more query after a restart.
    fn save(&self) {
        let Some(file) = &self.file else {
            return;
        };
        // Only its owner may read it.
        if let Err(error) = files::write(file, files::PRIVATE, self.text().as_bytes()) {
            warn!("cannot write {}: {error}", file.display());
        }
    }

    /// The secrets, with the current time in seconds since 1970.
    pub fn snapshot(&self, now: u32) -> CookieSnapshot {
        CookieSnapshot {
            secrets: self.secrets.load_full(),
            now,
        }
    }
}

/// Generates and verifies server cookies at one moment. A UDP loop takes a snapshot
/// once for each batch of packets.
pub struct CookieSnapshot {
    secrets: Arc<Secrets>,
    now: u32,
}

impl CookieSnapshot {
    /// Verifies the data of a COOKIE option.
    pub fn verify(&self, octets: &[u8], source: &IpAddr) -> CookieStatus {
        let Some((&client, server)) = octets.split_first_chunk::<CLIENT_COOKIE_OCTETS>() else {
            return CookieStatus::Malformed;
        };
        match server.len() {
            0 | 8..=32 => self
                .verify_server_cookie(&client, server, source)
                .unwrap_or(CookieStatus::Unverified),
            _ => CookieStatus::Malformed,
        }
    }

    /// Returns [`CookieStatus::Valid`] if the server cookie was generated with one
    /// of the secrets, for this client cookie and this address, recently enough.
    fn verify_server_cookie(
        &self,
        client: &[u8; CLIENT_COOKIE_OCTETS],
        server: &[u8],
        source: &IpAddr,
    ) -> Option<CookieStatus> {
        let server = <&[u8; SERVER_COOKIE_OCTETS]>::try_from(server).ok()?;
        let (head, hash) = server.split_first_chunk::<HEAD_OCTETS>()?;
        // The reserved octets may have any value (RFC 9018, section 4.2).
        let [VERSION, _, _, _, t3, t2, t1, t0] = *head else {
            return None;
        };
        // RFC 9018 requires serial number arithmetic, which continues to work after
        // the year 2106.
        let age = self.now.wrapping_sub(u32::from_be_bytes([t3, t2, t1, t0])) as i32;
        if !(MIN_AGE..=MAX_AGE).contains(&age) {
            return None;
        }
        // Eight octets are compared at once, so that the time does not reveal how
        // many of them are correct.
        let is_from = |secret: &Secret| *hash == hash_of(client, head, source, secret);
        let is_current = is_from(&self.secrets.current);
        let is_valid = is_current || self.secrets.previous.as_ref().is_some_and(is_from);
        is_valid.then_some(CookieStatus::Valid {
            reusable: is_current && (0..RENEWAL_AGE).contains(&age),
        })
    }

    /// Generates a server cookie (RFC 9018, section 4): the head and the hash.
    pub fn server(
        &self,
        client: &[u8; CLIENT_COOKIE_OCTETS],
        source: IpAddr,
    ) -> [u8; SERVER_COOKIE_OCTETS] {
        // The three octets after the version are reserved.
        let head = (u64::from(VERSION) << 56 | u64::from(self.now)).to_be_bytes();
        let mut cookie = [0; SERVER_COOKIE_OCTETS];
        cookie[..HEAD_OCTETS].copy_from_slice(&head);
        let hash = hash_of(client, &head, &source, &self.secrets.current);
        cookie[HEAD_OCTETS..].copy_from_slice(&hash);
        cookie
    }
}

/// The hash that authenticates a server cookie with this head, for this client
/// cookie and this address.
fn hash_of(
    client: &[u8; CLIENT_COOKIE_OCTETS],
    head: &[u8; HEAD_OCTETS],
    source: &IpAddr,
    secret: &Secret,
) -> [u8; HASH_OCTETS] {
    let mut octets = [0; CLIENT_COOKIE_OCTETS + HEAD_OCTETS + 16];
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

/// The current time in seconds since 1970, modulo 2³² as cookies contain it.
pub fn now() -> u32 {
    tsig::now() as u32
}
