//! The log: lines on standard error, with a rate limit for each kind.
//!
//! A kind of line is one place in the source. Some kinds can be triggered by
//! anyone at any rate, and must not fill the disk. Suppressed lines are counted,
//! and the count is logged.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    layer::{Context, Filter, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// The number of lines of a kind in a burst, and the number per second after that.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 5.0;

/// The interval between reports of suppressed lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Starts the log with this level. Messages of hickory about malformed packets
/// appear at the debug level only, since anyone could fill the log with them.
pub fn start(level: LevelFilter) {
    let is_debugging = level >= LevelFilter::DEBUG;
    let mut filter = Targets::new().with_default(level);
    if !is_debugging {
        // A target includes those that start with its name.
        filter = filter.with_target("hickory", LevelFilter::OFF);
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    // The debug level is not limited.
    let limit = (!is_debugging).then(Limit::default);
    if let Some(limit) = &limit {
        limit.start_reports();
    }
    tracing_subscriber::registry()
        .with(lines.with_filter(limit))
        .with(filter)
        .init();
}

/// Limits the rate of each kind.
#[derive(Clone, Default)]
struct Limit {
    kinds: Arc<Mutex<HashMap<Place, Kind>>>,
}

/// The file and the line of the source that logs a kind.
type Place = (Option<&'static str>, Option<u32>);

/// The lines of one kind.
struct Kind {
    /// The number of lines that may be logged now.
    allowance: f64,
    since: Instant,
    suppressed: u64,
}

impl Limit {
    /// Whether one more line of this kind may be logged.
    fn admits(&self, place: Place, now: Instant) -> bool {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(place).or_insert_with(|| Kind {
            allowance: BURST,
            since: now,
            suppressed: 0,
        });
        let passed = now.saturating_duration_since(kind.since).as_secs_f64();
        kind.allowance = (kind.allowance + passed * PER_SECOND).min(BURST);
        kind.since = now;
        if kind.allowance < 1.0 {
            kind.suppressed += 1;
            return false;
        }
        kind.allowance -= 1.0;
        true
    }

    /// Takes the counts of suppressed lines, by place.
    fn take_suppressed(&self) -> Vec<(String, u64)> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let suppressed = kinds.iter_mut().filter(|(_, kind)| kind.suppressed > 0);
        let counts = suppressed.map(|((file, line), kind)| {
            let (file, line) = (file.unwrap_or_default(), line.unwrap_or_default());
            let count = std::mem::take(&mut kind.suppressed);
            (format!("{file}:{line}"), count)
        });
        counts.collect()
    }

    fn start_reports(&self) {
        let limit = self.clone();
        // Without the thread, only the counts are missing.
        let _ = thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                thread::sleep(REPORT_INTERVAL);
                for (place, count) in limit.take_suppressed() {
                    warn!("suppressed lines from {place}: {count}");
                }
            }
        });
    }
}

impl<S: Subscriber> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        self.admits((metadata.file(), metadata.line()), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_burst_and_then_its_rate_and_the_rest_is_counted() {
        let limit = Limit::default();
        let place = (Some("src/x.rs"), Some(7));
        let start = Instant::now();
        let admitted = |seconds: u64, lines: u64| {
            let now = start + Duration::from_secs(seconds);
            (0..lines).filter(|_| limit.admits(place, now)).count()
        };
        assert_eq!(admitted(0, 1_000), 200);
        assert_eq!(limit.take_suppressed(), [("src/x.rs:7".to_owned(), 800)]);
        assert!(limit.take_suppressed().is_empty());
        assert_eq!(admitted(10, 1_000), 50);
        assert_eq!(admitted(1_000, 1_000), 200);
    }
}
