//! The load of the benchmark: asks one server, and says what came of it as
//! lines of a word, a tab and a number.
//!
//! * `queries`: what is asked.
//! * `clients`: the sockets, and what is on its way; `connections`: the same by TCP.
//! * `flood`: as much as the server can answer.
//! * `steady`: so many queries a second, and how long each answer takes.
//! * `storm`: all hosts at once, each until it has an answer.
//! * `transfer`: a whole zone.
//! * `histogram`, `process`: times, and the processor time of the server.

mod clients;
mod connections;
mod flood;
mod histogram;
mod process;
mod queries;
mod steady;
mod storm;
mod transfer;

#[path = "../batch.rs"]
mod batch;

use std::{net::SocketAddrV4, time::Duration};

use clap::{Args, Parser, Subcommand};

/// Asks a DNS server, and measures it.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keeps so many queries on their way: the most that the server can do
    Flood(flood::Flood),
    /// Sends so many queries a second, whatever becomes of them
    Steady(steady::Steady),
    /// Asks for every name at once, and again for those without an answer
    Storm(storm::Storm),
    /// Transfers a whole zone
    Transfer(transfer::Transfer),
}

/// Whom to ask for what.
#[derive(Debug, Args)]
struct Target {
    /// The server
    #[arg(long, value_name = "ADDR:PORT")]
    server: SocketAddrV4,

    #[command(flatten)]
    asked: queries::Asked,

    /// Processes of the server, of which the processor time is measured
    #[arg(long, value_name = "PID")]
    process: Vec<u32>,
}

/// How long to measure.
#[derive(Debug, Args)]
struct Span {
    /// How long to ask before anything is measured
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0.3")]
    warm: Duration,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "2")]
    seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Flood(flood) => flood.run(),
        Command::Steady(steady) => steady.run(),
        Command::Storm(storm) => storm.run(),
        Command::Transfer(transfer) => transfer.run(),
    }
}

/// A line of the result.
fn say(what: &str, number: f64) {
    println!("{what}\t{number}");
}
