//! Times, counted by how long they are, to within two in a hundred.

/// The number of counters for times between one power of two and the next.
const PARTS: u64 = 64;

/// Times in nanoseconds.
#[derive(Debug, Default)]
pub struct Histogram {
    counters: Vec<u32>,
    count: u64,
}

impl Histogram {
    pub fn add(&mut self, time: u64) {
        let place = place(time);
        if self.counters.len() <= place {
            self.counters.resize(place + 1, 0);
        }
        self.counters[place] += 1;
        self.count += 1;
    }

    /// The time in microseconds that this share of all does not exceed; none of
    /// no times at all.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut counted = 0;
        let place = self.counters.iter().position(|counter| {
            counted += u64::from(*counter);
            counted >= wanted
        })?;
        Some(least(place + 1) as f64 / 1_000.0)
    }
}

/// Times by when they were taken, in spans of equal length.
///
/// A machine that does other work stops now and then for some milliseconds. In
/// which row of a table that falls is chance, and it is enough to make a hundredth
/// of all times in a short run. Of spans it spoils one: so what is told is the
/// median of them, beside what all times together say.
#[derive(Debug)]
pub struct Spans {
    length: u64,
    spans: Vec<Histogram>,
    all: Histogram,
}

impl Spans {
    /// `length` in nanoseconds.
    pub fn new(length: u64) -> Self {
        Self {
            length,
            spans: Vec::new(),
            all: Histogram::default(),
        }
    }

    /// Adds a time that was taken `at`, in nanoseconds since the start.
    pub fn add(&mut self, at: u64, time: u64) {
        let span = (at / self.length) as usize;
        if self.spans.len() <= span {
            self.spans.resize_with(span + 1, Histogram::default);
        }
        self.spans[span].add(time);
        self.all.add(time);
    }

    /// The median of the spans' quantiles, in microseconds.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let spans = self.spans.iter();
        let mut quantiles: Vec<f64> = spans.filter_map(|span| span.quantile(share)).collect();
        quantiles.sort_by(f64::total_cmp);
        quantiles.get(quantiles.len() / 2).copied()
    }

    /// The quantile of all times, in microseconds.
    pub fn quantile_of_all(&self, share: f64) -> Option<f64> {
        self.all.quantile(share)
    }
}

/// Below PARTS a counter for each time; above, PARTS for each power of two.
fn place(time: u64) -> usize {
    if time < PARTS {
        return time as usize;
    }
    let power = u64::from(time.ilog2() - PARTS.ilog2());
    (power * PARTS + (time >> power)) as usize
}

/// The least time that is counted there.
fn least(place: usize) -> u64 {
    let place = place as u64;
    if place < PARTS {
        return place;
    }
    let power = place / PARTS - 1;
    (place - power * PARTS) << power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_the_time_at_that_place(
            times in prop::collection::vec(1_000_u64..10_000_000_000, 1..200),
            share in 0.0..1.0_f64,
        ) {
            let mut times: Vec<u64> = times;
            let mut histogram = Histogram::default();
            times.iter().for_each(|time| histogram.add(*time));
            times.sort_unstable();
            let place = (times.len() as f64 * share).ceil().max(1.0) as usize - 1;
            let exact = times[place] as f64 / 1_000.0;
            let found = histogram.quantile(share).unwrap();
            prop_assert!(exact <= found && found <= exact * 1.02, "{exact} {found}");
        }

        #[test]
        fn each_time_is_counted_where_it_belongs(time in any::<u64>()) {
            let place = place(time);
            prop_assert!(least(place) <= time);
            prop_assert!(time >= u64::MAX / 2 || time < least(place + 1));
        }
    }

    #[test]
    fn a_stall_spoils_no_more_than_its_span() {
        let mut spans = Spans::new(1_000);
        for at in 0..5_000 {
            // The third span stands still.
            let time = if at / 1_000 == 2 { 1_000_000 } else { 10_000 };
            spans.add(at, time);
        }
        let found = spans.quantile(0.99).unwrap();
        assert!((10.0..10.3).contains(&found), "{found}");
        let found = spans.quantile_of_all(0.99).unwrap();
        assert!((1_000.0..1_030.0).contains(&found), "{found}");
        assert_eq!(Spans::new(1).quantile(0.5), None);
    }

    #[test]
    fn of_no_times_there_is_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
