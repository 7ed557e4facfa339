//! Signed messages that have been received before.
//!
//! A signature is good for as long as the clocks may differ (RFC 8945, section
//! 5.2.3), and whoever sees the message can send it again in that time, from
//! wherever he likes: a release would release the host that has registered since.
//! So the service remembers the signed messages that may change something for as
//! long as they could be sent again. It does not remember them over a restart; an
//! update that was signed before the start is refused.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::tsig::Signature;

/// How many messages are remembered, each with some hundred octets. Whoever has a
/// key and signs more than that in five minutes has to wait.
const MOST: usize = 65_536;

/// The messages that were signed and may change something.
pub struct Replays {
    /// When each can be forgotten, in seconds since 1970, by its MAC.
    seen: Mutex<HashMap<Vec<u8>, u64>>,
    /// When the service has started.
    started: u64,
    most: usize,
}

/// Why a signed message is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Replay {
    #[error("this signed message has been received before: sign it anew")]
    Again,
    #[error("this update was signed before the service started: sign it anew")]
    BeforeStart,
    #[error("too many signed messages in the last minutes")]
    Full,
}

impl Replays {
    /// `now` is in seconds since 1970.
    pub fn new(now: u64) -> Self {
        Self {
            seen: Mutex::default(),
            started: now,
            most: MOST,
        }
    }

    /// Remembers a message with a good signature, if it is the first time.
    pub fn admit(&self, signature: &Signature, now: u64) -> Result<(), Replay> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains_key(signature.request_mac()) {
            return Err(Replay::Again);
        }
        if seen.len() >= self.most {
            seen.retain(|_, until| *until >= now);
        }
        if seen.len() >= self.most {
            return Err(Replay::Full);
        }
        seen.insert(signature.request_mac().to_vec(), signature.good_until());
        Ok(())
    }

    /// The same for an update.
    pub fn admit_update(&self, signature: &Signature, now: u64) -> Result<(), Replay> {
        if signature.time() < self.started {
            return Err(Replay::BeforeStart);
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
    fn a_message_is_followed_once() {
        let replays = Replays::new(1_000);
        let first = signature(1, 1_010);
        assert_eq!(replays.admit_update(&first, 1_011), Ok(()));
        for now in [1_011, 1_200, 1_310] {
            assert_eq!(replays.admit_update(&first, now), Err(Replay::Again));
            assert_eq!(replays.admit(&first, now), Err(Replay::Again));
        }
        assert_eq!(replays.admit(&signature(2, 1_010), 1_011), Ok(()));
    }

    #[test]
    fn an_update_from_before_the_start_may_have_been_followed() {
        let replays = Replays::new(1_000);
        let earlier = signature(1, 999);
        assert_eq!(
            replays.admit_update(&earlier, 1_001),
            Err(Replay::BeforeStart)
        );
        assert_eq!(replays.admit(&earlier, 1_001), Ok(()));
    }

    #[test]
    fn what_cannot_be_sent_again_is_forgotten_when_there_is_no_room() {
        let replays = Replays {
            most: 2,
            ..Replays::new(1_000)
        };
        for mac in [1, 2] {
            assert_eq!(replays.admit(&signature(mac, 1_010), 1_010), Ok(()));
        }
        assert_eq!(
            replays.admit(&signature(3, 1_310), 1_310),
            Err(Replay::Full)
        );
        assert_eq!(replays.admit(&signature(3, 1_311), 1_311), Ok(()));
    }
}
