//! All hosts at once: each asks, and asks again a second later if it has no
//! answer, as `dig` does.

use std::{collections::VecDeque, time::Duration};

use anyhow::bail;
use clap::Args;

use crate::{
    Target,
    batch::BATCH,
    clients::{Clients, PATIENCE},
    histogram::Histogram,
    queries::Queries,
    say, seconds,
};

/// How many clients there are.
const CLIENTS: usize = 16;

#[derive(Debug, Args)]
pub struct Storm {
    #[command(flatten)]
    target: Target,

    /// How long hosts go on asking
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    limit: Duration,
}

impl Storm {
    pub fn run(&self) -> anyhow::Result<()> {
        let server = self.target.server;
        let queries = Queries::new(&self.target.asked, server)?;
        let hosts = queries.len();
        let mut clients = Clients::new(server, CLIENTS)?;
        let mut answered = vec![false; hosts as usize];
        let mut asked = vec![0_u32; hosts as usize];
        let mut first_asked = vec![0; hosts as usize];
        let mut times = Histogram::default();
        let (mut left, mut refused) = (hosts, 0_u64);
        // Who asks next, and when, in that order.
        let mut agenda: VecDeque<(u64, u32)> = (0..hosts).map(|host| (0, host)).collect();
        let mut client = 0;
        let mut wanted = Vec::with_capacity(BATCH);
        while left > 0 {
            let now = clients.now();
            if now > self.limit.as_nanos() as u64 {
                bail!("after {:?} {left} hosts have no answer", self.limit);
            }
            wanted.clear();
            while wanted.len() < BATCH
                && let Some(&(due, host)) = agenda.front()
                && due <= now
            {
                agenda.pop_front();
                let place = host as usize;
                if answered[place] {
                    continue;
                }
                if asked[place] == 0 {
                    first_asked[place] = now;
                }
                asked[place] += 1;
                wanted.push((host, now));
                agenda.push_back((now + PATIENCE.as_nanos() as u64, host));
            }
            if !wanted.is_empty() {
                clients.send(client, &queries, &wanted)?;
                client = (client + 1) % clients.count();
            }
            for client in 0..clients.count() {
                let now = clients.now();
                clients.receive(client, |answer| {
                    let place = answer.query as usize;
                    refused += u64::from(!answer.good);
                    if answer.good && !answered[place] {
                        answered[place] = true;
                        left -= 1;
                        times.add(now - first_asked[place]);
                    }
                })?;
            }
        }
        say("seconds", clients.now() as f64 / 1e9);
        say("hosts", hosts.into());
        say("refused", refused as f64);
        for (name, least) in [("again", 2), ("third", 3)] {
            let count = asked.iter().filter(|asked| **asked >= least).count();
            say(name, count as f64);
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            if let Some(time) = times.quantile(share) {
                say(name, time);
            }
        }
        Ok(())
    }
}
