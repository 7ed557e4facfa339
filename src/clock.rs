//! The one clock of the service.

use std::time::Instant;

use crate::network::Time;

/// Milliseconds since the start of the service, from 1, on a clock that never
/// goes back and takes no notice of the time of day being set.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> Time {
        let milliseconds = self.0.elapsed().as_millis();
        Time(1 + u64::try_from(milliseconds).unwrap_or(u64::MAX >> 1))
    }
}
