//! The most that a server can do: as many queries as are wanted are always on
//! their way, and each answer makes room for the next.

use std::time::Duration;

use anyhow::bail;
use clap::Args;

use crate::{
    Span, Target,
    batch::BATCH,
    clients::{Clients, Senders, Tally},
    connections::Connections,
    process,
    queries::Queries,
    say,
};

/// How many clients there are, if so many queries are on their way at all.
const CLIENTS: usize = 16;

/// How long to let answers gather, so that they are taken and followed up by
/// batches: only where so many are on their way that nobody waits for it.
const GATHER: Duration = Duration::from_micros(50);
const GATHER_FROM: usize = 256;

#[derive(Debug, Args)]
pub struct Flood {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    span: Span,

    /// How many queries are on their way
    #[arg(long, default_value_t = 256)]
    outstanding: usize,

    /// By TCP, on connections that stay open
    #[arg(long)]
    tcp: bool,
}

/// What has been done at a moment.
struct Mark {
    at: u64,
    processor: f64,
    tally: Tally,
}

impl Flood {
    pub fn run(&self) -> anyhow::Result<()> {
        let server = self.target.server;
        let queries = Queries::new(&self.target.asked, server)?;
        let count = self.outstanding.min(CLIENTS);
        if self.tcp {
            self.ask(queries, Connections::new(server, count)?)
        } else {
            self.ask(queries, Clients::new(server, count)?)
        }
    }

    fn ask(&self, mut queries: Queries, mut clients: impl Senders) -> anyhow::Result<()> {
        let mut free = self.rooms(clients.count());
        let warm = self.span.warm.as_nanos() as u64;
        let end = warm + self.span.seconds.as_nanos() as u64;
        let mut begun = None;
        let mut wanted = Vec::with_capacity(BATCH);
        loop {
            let now = clients.now();
            if begun.is_none() && now >= warm {
                begun = Some(self.mark(&clients)?);
            }
            if now >= end {
                break;
            }
            for (client, free) in free.iter_mut().enumerate() {
                *free += clients.receive(client)?;
                while *free > 0 {
                    wanted.clear();
                    let now = clients.now();
                    while wanted.len() < (*free).min(BATCH) {
                        let Some(query) = queries.next() else {
                            bail!("all {} names are asked for already", queries.len());
                        };
                        wanted.push((query, now));
                    }
                    clients.send(client, &queries, &wanted)?;
                    *free -= wanted.len();
                }
            }
            clients.give_up(|client| free[client] += 1);
            if self.outstanding >= GATHER_FROM {
                while clients.now() < now + GATHER.as_nanos() as u64 {
                    std::hint::spin_loop();
                }
            }
        }
        let ended = self.mark(&clients)?;
        if let Some(begun) = begun {
            tell(&begun, &ended);
        }
        Ok(())
    }

    /// How many queries each client has on its way.
    fn rooms(&self, clients: usize) -> Vec<usize> {
        let room = |client| (self.outstanding + client) / clients;
        (0..clients).map(room).collect()
    }

    fn mark(&self, clients: &impl Senders) -> anyhow::Result<Mark> {
        Ok(Mark {
            at: clients.now(),
            processor: process::processor_time(&self.target.process)?,
            tally: clients.tally(),
        })
    }
}

fn tell(begun: &Mark, ended: &Mark) {
    let tally = ended.tally.since(&begun.tally);
    let seconds = (ended.at - begun.at) as f64 / 1e9;
    let processor = ended.processor - begun.processor;
    let answered = tally.answered.max(1) as f64;
    tally.say();
    say("seconds", seconds);
    say("rate", tally.answered as f64 / seconds);
    say("processor", processor / answered);
    say("busy", processor / (seconds * 1e6));
}
