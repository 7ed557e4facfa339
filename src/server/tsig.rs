//! Signed messages (TSIG, RFC 8945): who signed a request, and the signature of
//! what is said in reply.
//!
//! The MACs are hickory's. What is checked in which order and what a refusal
//! looks like is here, since hickory leaves both to its caller.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use hickory_proto::{
    rr::{
        DNSClass, Name, Record,
        rdata::{
            TSIG,
            tsig::{TsigAlgorithm, TsigError, make_tsig_record, signed_bitmessage_to_buf},
        },
    },
    serialize::binary::{BinEncodable, BinEncoder},
};
use hickory_server::server::Request;

use crate::{
    keys::{self, FUDGE, Key},
    settings::{Document, Spanned, Table},
};

/// Where a message's header counts its additional records (RFC 1035, section
/// 4.1.1), which a signature is one of.
const ADDITIONAL_COUNT: std::ops::Range<usize> = 10..12;

/// No MAC may be shorter than this, nor than half of what its algorithm gives
/// (RFC 8945, section 5.2.2.1).
const LEAST_MAC: usize = 10;

/// The keys that the service knows.
#[derive(Debug, Clone, Default)]
pub struct Keys(pub Vec<Key>);

/// What a request's signature is worth.
#[derive(Debug, Clone)]
pub enum Signed {
    /// There is none.
    No,
    /// A record that cannot be a signature: FORMERR.
    Malformed,
    /// A signature that is not good: NOTAUTH, signed so far as the RFC says.
    Bad(Signature),
    /// A good one.
    Good(Signature),
}

/// By how many seconds the clocks may differ at the most, whatever a client allows:
/// the value that RFC 8945, section 10, recommends.
const MOST_FUDGE: u64 = 300;

/// How replies to a signed request are signed.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The key's name as the request had it.
    name: Name,
    algorithm: TsigAlgorithm,
    /// Signs the replies; `None` where the RFC wants them with an empty MAC.
    key: Option<Key>,
    /// The MAC of the request, which that of the reply covers.
    mac: Vec<u8>,
    /// The ID that the message had before any forwarder changed it.
    id: u16,
    /// When the request was signed, and by how many seconds the clocks may differ.
    time: u64,
    fudge: u64,
    error: Option<TsigError>,
}

impl Signed {
    /// How the reply is signed.
    pub fn signature(&self) -> Option<&Signature> {
        match self {
            Self::No | Self::Malformed => None,
            Self::Bad(signature) | Self::Good(signature) => Some(signature),
        }
    }
}

impl Keys {
    pub fn has(&self, name: &Name) -> bool {
        self.named(name).is_some()
    }

    /// Reads the table `[keys]`: those of its files, and its own.
    pub fn take(table: &mut Table<'_>, source: &mut Document<'_>) -> Self {
        let directory = source.path().parent().unwrap_or(Path::new("")).to_owned();
        let mut keys: Vec<Key> = Vec::new();
        let mut found = Vec::new();
        for file in table.texts("files", source).unwrap_or_default() {
            match keys::read(&directory.join(file.get_ref())) {
                Ok(read) => found.extend(read.into_iter().map(|key| (file.span(), key))),
                Err(problems) => source.problems(problems),
            }
        }
        for (name, mut table) in table.tables(source) {
            let algorithm = table.text("algorithm", source);
            let secret = table.required("secret", "\"…\", as `tsig-keygen` prints it", source);
            table.finish(source);
            let Some(secret) = secret else { continue };
            let algorithm = algorithm.map_or("hmac-sha256".into(), Spanned::into_inner);
            match Key::new(name.get_ref(), &algorithm, secret.get_ref()) {
                Ok(key) => found.push((name.span(), key)),
                Err(message) => source.problem(name.span(), message),
            }
        }
        for (span, key) in found {
            match keys.iter().any(|other| other.name == key.name) {
                true => source.problem(span, format!("there is a key `{}` already", key.name)),
                false => keys.push(key),
            }
        }
        Self(keys)
    }

    fn named(&self, name: &Name) -> Option<&Key> {
        self.0.iter().find(|key| key.name == *name)
    }

    /// Checks the signature of a request: key, MAC, time, in this order
    /// (RFC 8945, section 5.2). `now` is in seconds since 1970.
    pub fn check(&self, packet: &[u8], request: &Request, now: u64) -> Signed {
        let Some(record) = &request.signature else {
            return Signed::No;
        };
        // RFC 8945, section 4.2.
        if record.dns_class != DNSClass::ANY || record.ttl != 0 {
            return Signed::Malformed;
        }
        let tsig = &record.data;
        let mut signature = Signature {
            name: record.name.clone(),
            algorithm: in_lower_case(&tsig.algorithm),
            key: None,
            mac: Vec::new(),
            id: tsig.oid,
            time: tsig.time,
            fudge: u64::from(tsig.fudge).min(MOST_FUDGE),
            error: None,
        };
        let mut bad = |error, key, mac| {
            signature.error = Some(error);
            signature.key = key;
            signature.mac = mac;
            Signed::Bad(signature.clone())
        };
        let algorithm = in_lower_case(&tsig.algorithm);
        let key = self
            .named(&record.name)
            .filter(|key| *key.signer.algorithm() == algorithm);
        let Some(key) = key else {
            return bad(TsigError::BadKey, None, Vec::new());
        };
        let full = octets(&algorithm);
        if tsig.mac.len() > full || tsig.mac.len() < LEAST_MAC.max(full / 2) {
            return Signed::Malformed;
        }
        let Ok((mut covered, _)) = signed_bitmessage_to_buf(packet, None, true) else {
            return Signed::Malformed;
        };
        // The flags as they came: among them is one that hickory does not keep.
        covered[2..4].copy_from_slice(&packet[2..4]);
        // A truncated MAC is none here: no truncation is permitted.
        if key.signer.verify(&covered, &tsig.mac).is_err() {
            return bad(TsigError::BadSig, None, Vec::new());
        }
        if now.abs_diff(tsig.time) > u64::from(tsig.fudge).min(MOST_FUDGE) {
            return bad(TsigError::BadTime, Some(key.clone()), tsig.mac.clone());
        }
        signature.key = Some(key.clone());
        signature.mac.clone_from(&tsig.mac);
        Signed::Good(signature)
    }
}

impl Signature {
    /// The MAC of the request.
    pub fn request_mac(&self) -> &[u8] {
        &self.mac
    }

    /// When the request was signed, in seconds since 1970.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Until when the request would be taken for good if it came again.
    pub fn good_until(&self) -> u64 {
        self.time.saturating_add(self.fudge)
    }

    #[cfg(test)]
    pub fn sample(mac: Vec<u8>, time: u64) -> Self {
        Self {
            name: Name::root(),
            algorithm: TsigAlgorithm::HmacSha256,
            key: None,
            mac,
            id: 0,
            time,
            fudge: MOST_FUDGE,
            error: None,
        }
    }

    /// The key's name, in lower case.
    pub fn key(&self) -> Option<&Name> {
        self.key.as_ref().map(|key| &key.name)
    }

    /// How many octets the signature adds to a message, at most.
    pub fn room(&self) -> usize {
        let fixed = 10 + 6 + 2 + 2 + 2 + 2 + 2;
        // An absolute name takes one octet more than its labels.
        let names = self.name.len() + self.algorithm.to_name().len() + 2;
        fixed + names + octets(&self.algorithm) + size_of::<u64>()
    }

    /// Signs the one reply, or the first of several.
    pub fn sign(&mut self, message: Vec<u8>) -> Option<Vec<u8>> {
        let record = self.record();
        let covered = self.key.as_ref().and_then(|key| {
            key.signer
                .encode_response_tbs(&self.mac, &message, &record)
                .ok()
        });
        self.append(message, record, covered)
    }

    /// Signs a message that follows another (RFC 8945, section 5.3.1): the MAC
    /// covers that of the one before it, and of itself only the times.
    pub fn sign_next(&mut self, message: Vec<u8>) -> Option<Vec<u8>> {
        let record = self.record();
        let length = u16::try_from(self.mac.len()).ok()?;
        let mut covered = length.to_be_bytes().to_vec();
        covered.extend(&self.mac);
        covered.extend(&message);
        covered.extend(&record.time.to_be_bytes()[2..]);
        covered.extend(record.fudge.to_be_bytes());
        self.append(message, record, Some(covered))
    }

    fn append(
        &mut self,
        mut message: Vec<u8>,
        mut record: TSIG,
        covered: Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        if let Some(key) = &self.key {
            record = record.set_mac(key.signer.sign(&covered?).ok()?);
        }
        self.mac.clone_from(&record.mac);
        let mut octets = Vec::new();
        let record: Record<TSIG> = make_tsig_record(self.name.clone(), record);
        record.emit(&mut BinEncoder::new(&mut octets)).ok()?;
        let count = message.get_mut(ADDITIONAL_COUNT)?;
        let more = u16::from_be_bytes([count[0], count[1]]).checked_add(1)?;
        count.copy_from_slice(&more.to_be_bytes());
        message.extend(octets);
        Some(message)
    }

    /// The record without its MAC.
    fn record(&self) -> TSIG {
        let (time, other) = match self.error {
            // RFC 8945, section 5.2.3: the client's time, which it can check
            // the signature by, and ours beside it.
            Some(TsigError::BadTime) => (self.time, now().to_be_bytes()[2..].to_vec()),
            // Without a MAC they mean nothing.
            Some(_) => (self.time, Vec::new()),
            None => (now(), Vec::new()),
        };
        let algorithm = self.algorithm.clone();
        TSIG::new(
            algorithm,
            time,
            FUDGE,
            Vec::new(),
            self.id,
            self.error,
            other,
        )
    }
}

/// Names compare without regard to case, hickory's do here.
fn in_lower_case(algorithm: &TsigAlgorithm) -> TsigAlgorithm {
    match algorithm {
        TsigAlgorithm::Unknown(name) => TsigAlgorithm::from_name(name.to_lowercase()),
        known => known.clone(),
    }
}

/// How many octets a MAC of the algorithm has.
fn octets(algorithm: &TsigAlgorithm) -> usize {
    match algorithm {
        TsigAlgorithm::HmacSha256 => 32,
        TsigAlgorithm::HmacSha384 => 48,
        TsigAlgorithm::HmacSha512 => 64,
        _ => 0,
    }
}

/// Seconds since 1970: the clock that signatures are made by.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
