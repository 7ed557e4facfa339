//! So many queries a second, whether they are answered or not, as many hosts
//! would ask; and how long the answers take.
//!
//! A time counts from when the query should have been sent, so that a server
//! that keeps the load waiting does not look better for it.
//!
//! Meanwhile it can transfer the zone over and over. It does so between two
//! batches of queries, so that no other program competes for its processor.

use std::time::Duration;

use clap::Args;

use crate::{
    Span, Target,
    batch::BATCH,
    clients::{Clients, PATIENCE},
    histogram::Spans,
    process,
    queries::Queries,
    say, seconds,
    transfer::Beside,
};

/// The times that are told are the medians of spans in which so many queries are
/// sent: a hundredth of them is few enough for one stall to spoil, and enough to
/// tell which is the last of a hundred.
const SPAN_QUERIES: f64 = 2_000.0;

/// How many clients there are.
const CLIENTS: usize = 16;

#[derive(Debug, Args)]
pub struct Steady {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    span: Span,

    /// How many queries are sent a second
    #[arg(long)]
    rate: f64,

    /// Transfer the zone of this origin meanwhile
    #[arg(long, value_name = "ZONE")]
    transfer: Option<String>,

    /// How much longer to measure, at most, until a transfer has ended
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    patience: Duration,
}

impl Steady {
    pub fn run(&self) -> anyhow::Result<()> {
        let server = self.target.server;
        let mut queries = Queries::new(&self.target.asked, server)?;
        let mut clients = Clients::new(server, CLIENTS)?;
        let warm = self.span.warm.as_nanos() as u64;
        let mut end = warm + self.span.seconds.as_nanos() as u64;
        let last = end + self.patience.as_nanos() as u64;
        let each = 1e9 / self.rate.max(1.0);
        let mut times = Spans::new((SPAN_QUERIES * each) as u64);
        let mut processor = None;
        let mut before = clients.tally;
        let (mut due, mut client) = (0.0, 0);
        let mut wanted = Vec::with_capacity(BATCH);
        let zone = self.transfer.as_ref();
        let mut beside = zone.map(|zone| Beside::begin(server, zone)).transpose()?;
        loop {
            let now = clients.now();
            if processor.is_none() && now >= warm {
                processor = Some(process::processor_time(&self.target.process)?);
                before = clients.tally;
            }
            let waits = beside.as_ref().is_some_and(|beside| beside.whole == 0);
            if now >= if waits { last } else { end } {
                end = now;
                break;
            }
            wanted.clear();
            while due <= now as f64 && wanted.len() < BATCH {
                let Some(query) = queries.next() else {
                    break;
                };
                wanted.push((query, due as u64));
                due += each;
            }
            if !wanted.is_empty() {
                clients.send(client, &queries, &wanted)?;
                client = (client + 1) % clients.count();
            }
            take(&mut clients, &mut times, warm)?;
            clients.give_up(|_| {});
            if let Some(beside) = &mut beside {
                beside.take()?;
            }
        }
        // Its connection ends here.
        if let Some(beside) = beside {
            beside.say();
        }
        let used = process::processor_time(&self.target.process)? - processor.unwrap_or_default();
        let tally = clients.tally.since(&before);
        let measured = Duration::from_nanos(end - warm).as_secs_f64();
        say("rate", tally.sent as f64 / measured);
        say("processor", used / tally.answered.max(1) as f64);
        // The last ones are waited for.
        while clients.now() < end + PATIENCE.as_nanos() as u64 {
            take(&mut clients, &mut times, warm)?;
        }
        clients.give_up(|_| {});
        clients.tally.since(&before).say();
        for (name, time) in [
            ("p50", times.quantile(0.5)),
            ("p99", times.quantile(0.99)),
            ("p99 of all", times.quantile_of_all(0.99)),
        ] {
            if let Some(time) = time {
                say(name, time);
            }
        }
        Ok(())
    }
}

/// Takes all answers that are there.
fn take(clients: &mut Clients, times: &mut Spans, warm: u64) -> anyhow::Result<()> {
    for client in 0..clients.count() {
        let now = clients.now();
        clients.receive(client, |answered| {
            if answered.at >= warm {
                times.add(answered.at - warm, now.saturating_sub(answered.at));
            }
        })?;
    }
    Ok(())
}
