//! Transaction signatures (TSIG, RFC 8945): checks the signature of a request, and
//! signs the replies to it.
//!
//! hickory computes the MACs. The order of the checks and the form of an error are
//! defined here, since hickory leaves both to its caller.

use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::{
    op::Message,
    rr::{
        DNSClass, Name, Record,
        rdata::{
            TSIG,
            tsig::{TsigAlgorithm, TsigError, make_tsig_record, signed_bitmessage_to_buf},
        },
    },
    serialize::binary::{BinEncodable, BinEncoder},
};

use crate::{
    keys::{FUDGE, Key},
    server::{config::keys::Keys, wire::ADDITIONAL_COUNT},
};

/// The minimum length of a MAC in octets. It must also have at least half of the
/// octets that its algorithm produces (RFC 8945, section 5.2.2.1).
const MIN_MAC_OCTETS: usize = 10;

/// The result of checking the signature of a request.
#[derive(Debug, Clone, Default)]
pub enum TsigStatus {
    /// The request has no TSIG record.
    #[default]
    Unsigned,
    /// The TSIG record violates the RFC: FORMERR.
    Malformed,
    /// The signature is invalid: NOTAUTH. The response is signed as far as the RFC
    /// requires it.
    Invalid(Signature),
    /// The signature is valid.
    Valid(Signature),
}

/// The maximum difference of the clocks in seconds, whatever a client allows: the
/// value that RFC 8945, section 10, recommends.
const MAX_FUDGE: u64 = 300;

/// The signature of a request, and the state for signing the replies to it.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The name of the key as it is spelled in the request.
    name: Name,
    algorithm: TsigAlgorithm,
    /// Signs the replies; `None` where the RFC requires an empty MAC.
    key: Option<Key>,
    /// The MAC of the request or of the last reply, which the MAC of the next reply
    /// covers.
    pub(super) mac: Vec<u8>,
    /// The ID that the message had before a forwarder changed it.
    id: u16,
    /// When the request was signed, in seconds since 1970.
    pub(super) time: u64,
    /// By how many seconds the clocks may differ.
    fudge: u64,
    error: Option<TsigError>,
}

impl TsigStatus {
    /// The name of the key, if the signature is valid.
    pub fn key(&self) -> Option<&Name> {
        match self {
            Self::Valid(signature) => signature.key(),
            Self::Unsigned | Self::Malformed | Self::Invalid(_) => None,
        }
    }

    /// The state for signing the reply, if it is signed.
    pub fn signature(&self) -> Option<&Signature> {
        match self {
            Self::Unsigned | Self::Malformed => None,
            Self::Invalid(signature) | Self::Valid(signature) => Some(signature),
        }
    }
}

impl Keys {
    /// Checks the signature of a request: key, MAC and time, in this order
    /// (RFC 8945, section 5.2). `now` is in seconds since 1970.
    pub fn check(&self, packet: &[u8], message: &Message, now: u64) -> TsigStatus {
        let Some(record) = &message.signature else {
            return TsigStatus::Unsigned;
        };
        // RFC 8945, section 4.2, requires the class ANY and a TTL of 0.
        if record.dns_class != DNSClass::ANY || record.ttl != 0 {
            return TsigStatus::Malformed;
        }
        let tsig = &record.data;
        // Names of algorithms are case-insensitive, but hickory recognizes them in lower
        // case only.
        let algorithm = match &tsig.algorithm {
            TsigAlgorithm::Unknown(name) => TsigAlgorithm::from_name(name.to_lowercase()),
            known => known.clone(),
        };
        let full = mac_octets(&algorithm);
        let mut signature = Signature {
            name: record.name.clone(),
            algorithm,
            key: None,
            mac: Vec::new(),
            id: tsig.oid,
            time: tsig.time,
            fudge: u64::from(tsig.fudge).min(MAX_FUDGE),
            error: None,
        };
        let key = self.get(&record.name);
        let Some(key) = key.filter(|key| *key.signer.algorithm() == signature.algorithm) else {
            signature.error = Some(TsigError::BadKey);
            return TsigStatus::Invalid(signature);
        };
        if tsig.mac.len() > full || tsig.mac.len() < MIN_MAC_OCTETS.max(full / 2) {
            return TsigStatus::Malformed;
        }
        let Ok((mut covered, _)) = signed_bitmessage_to_buf(packet, None, true) else {
            return TsigStatus::Malformed;
        };
        // The MAC covers the original flags, one of which hickory does not keep.
        covered[2..4].copy_from_slice(&packet[2..4]);
        // A truncated MAC is not accepted here: no truncation is permitted.
        if key.signer.verify(&covered, &tsig.mac).is_err() {
            signature.error = Some(TsigError::BadSig);
            return TsigStatus::Invalid(signature);
        }
        signature.key = Some(key.clone());
        signature.mac.clone_from(&tsig.mac);
        if now.abs_diff(tsig.time) > signature.fudge {
            signature.error = Some(TsigError::BadTime);
            return TsigStatus::Invalid(signature);
        }
        TsigStatus::Valid(signature)
    }
}

impl Signature {
    /// Until when the signature remains valid, in seconds since 1970.
    pub fn expiry(&self) -> u64 {
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
            fudge: MAX_FUDGE,
            error: None,
        }
    }

    /// The key's name, in lower case.
    pub fn key(&self) -> Option<&Name> {
        self.key.as_ref().map(|key| &key.name)
    }

    /// The maximum number of octets that the TSIG record adds to a message.
    pub fn max_octets(&self) -> usize {
        let fixed = 10 + 6 + 2 + 2 + 2 + 2 + 2;
        // An absolute name takes one octet more than its labels.
        let names = self.name.len() + self.algorithm.to_name().len() + 2;
        fixed + names + mac_octets(&self.algorithm) + size_of::<u64>()
    }

    /// Signs a single reply, or the first of several.
    pub fn sign(&mut self, message: &mut Vec<u8>) -> Option<()> {
        let record = self.record();
        let covered = self.key.as_ref().and_then(|key| {
            key.signer
                .encode_response_tbs(&self.mac, message.as_slice(), &record)
                .ok()
        });
        self.append(message, record, covered)
    }

    /// Signs a subsequent message (RFC 8945, section 5.3.1): the MAC covers the MAC
    /// of the previous message, the message, and of the TSIG record only the timers.
    pub fn sign_next(&mut self, message: &mut Vec<u8>) -> Option<()> {
        let record = self.record();
        let length = u16::try_from(self.mac.len()).ok()?;
        let mut covered = length.to_be_bytes().to_vec();
        covered.extend(&self.mac);
        covered.extend(message.as_slice());
        covered.extend(&record.time.to_be_bytes()[2..]);
        covered.extend(record.fudge.to_be_bytes());
        self.append(message, record, Some(covered))
    }

    fn append(
        &mut self,
        message: &mut Vec<u8>,
        mut record: TSIG,
        covered: Option<Vec<u8>>,
    ) -> Option<()> {
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
        Some(())
    }

    /// The record without its MAC.
    fn record(&self) -> TSIG {
        let (time, other) = match self.error {
            // RFC 8945, section 5.2.3: the client's time, by which it can verify the
            // signature, and the server's time as other data.
            Some(TsigError::BadTime) => (self.time, now().to_be_bytes()[2..].to_vec()),
            // Without a MAC, the time has no meaning.
            Some(_) => (self.time, Vec::new()),
            None => (now(), Vec::new()),
        };
        let (algorithm, mac) = (self.algorithm.clone(), Vec::new());
        TSIG::new(algorithm, time, FUDGE, mac, self.id, self.error, other)
    }
}

/// The length of the algorithm's MAC in octets.
fn mac_octets(algorithm: &TsigAlgorithm) -> usize {
    match algorithm {
        TsigAlgorithm::HmacSha256 => 32,
        TsigAlgorithm::HmacSha384 => 48,
        TsigAlgorithm::HmacSha512 => 64,
        _ => 0,
    }
}

/// The current time in seconds since 1970, by which signatures are made and checked.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
