//! Protection against replayed signed messages.
//!
//! A signature is valid for as long as the clocks may differ (RFC 8945, section
//! 5.2.3). During that time, anyone who sees the message can send it again from any
//! address: a replayed release would release a host that has registered since.
//! Therefore the service remembers signed messages that may change something for as
//! long as they could be replayed. They do not survive a restart, so an update that
//! was signed before the start is refused.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::tsig::Signature;

/// The capacity in messages, which take some hundred bytes each. Clients that sign
/// more than that in five minutes must wait.
const CAPACITY: usize = 65_536;

/// The signed messages that may change something and could be replayed.
pub struct ReplayCache {
    /// The time at which a message expires, in seconds since 1970, by its MAC.
    expiries: Mutex<HashMap<Vec<u8>, u64>>,
    /// When the service started, in seconds since 1970.
    started: u64,
    capacity: usize,
}

/// Why a signed message is refused.
const REPLAYED: &str = "this signed message has been received before: sign it anew";
const BEFORE_START: &str = "this update was signed before the service started: sign it anew";
const FULL: &str = "too many signed messages in the last five minutes";

impl ReplayCache {
    /// `now` is in seconds since 1970.
    pub fn new(now: u64) -> Self {
        Self {
            expiries: Mutex::default(),
            started: now,
            capacity: CAPACITY,
        }
    }

    /// Admits a message with a valid signature the first time that it is received.
    /// `now` is in seconds since 1970.
    pub fn admit(&self, signature: &Signature, now: u64) -> Result<(), &'static str> {
        let mut expiries = self.expiries.lock().unwrap_or_else(PoisonError::into_inner);
        if expiries.contains_key(&signature.mac) {
            return Err(REPLAYED);
        }
        if expiries.len() >= self.capacity {
            expiries.retain(|_, expiry| *expiry >= now);
        }
        if expiries.len() >= self.capacity {
            return Err(FULL);
        }
        expiries.insert(signature.mac.clone(), signature.expiry());
        Ok(())
    }

    /// Like [`admit`](Self::admit), for an update.
    pub fn admit_update(&self, signature: &Signature, now: u64) -> Result<(), &'static str> {
        if signature.time < self.started {
            return Err(BEFORE_START);
        }
        self.admit(signature, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(mac: u8, time: u64) -> Signature {
        Signature::sample(vec![mac; 32], time)
    }

    #[test]
    fn a_message_is_admitted_once() {
        let replays = ReplayCache::new(1_000);
        let first = signature(1, 1_010);
        assert_eq!(replays.admit_update(&first, 1_011), Ok(()));
        for now in [1_011, 1_200, 1_310] {
            assert_eq!(replays.admit_update(&first, now), Err(REPLAYED));
            assert_eq!(replays.admit(&first, now), Err(REPLAYED));
        }
        assert_eq!(replays.admit(&signature(2, 1_010), 1_011), Ok(()));
    }

    #[test]
    fn an_update_signed_before_the_start_is_refused() {
        let replays = ReplayCache::new(1_000);
        let earlier = signature(1, 999);
        assert_eq!(replays.admit_update(&earlier, 1_001), Err(BEFORE_START));
        assert_eq!(replays.admit(&earlier, 1_001), Ok(()));
    }

    #[test]
    fn expired_messages_are_removed_when_the_cache_is_full() {
        let replays = ReplayCache {
            capacity: 2,
            ..ReplayCache::new(1_000)
        };
        for mac in [1, 2] {
            assert_eq!(replays.admit(&signature(mac, 1_010), 1_010), Ok(()));
        }
        assert_eq!(replays.admit(&signature(3, 1_310), 1_310), Err(FULL));
        assert_eq!(replays.admit(&signature(3, 1_311), 1_311), Ok(()));
    }
}
