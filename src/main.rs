//! `paramd`: reads the command line and runs the command.

use std::process::ExitCode;

use clap::Parser as _;
use param_daemon::{
    cli::{Cli, Command},
    commands,
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log);
    let done = match cli.command {
        Command::Serve(options) => commands::serve::run(&options),
        Command::Check(options) => commands::check::run(&options),
        Command::Dump(options) => commands::dump::run(&options),
        Command::Restore(options) => commands::restore::run(&options),
        Command::Peers(options) => commands::peers::run(&options),
        Command::Release(options) => commands::release::run(&options),
        Command::Health(options) => commands::health::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("paramd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs on standard error. What hickory says of packets that it cannot read is
/// for debugging: strangers could fill the log with it.
fn log(level: LevelFilter) {
    let hickory = if level >= LevelFilter::DEBUG {
        level
    } else {
        LevelFilter::OFF
    };
    let targets = [
        "hickory_net",
        "hickory_proto",
        "hickory_resolver",
        "hickory_server",
    ];
    let filter = Targets::new()
        .with_default(level)
        .with_targets(targets.map(|target| (target, hickory)));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
}
