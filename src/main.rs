//! `paramd`: parses the command line and runs the command.

use std::process::ExitCode;

use param_daemon::{
    cli::{Cli, Command},
    commands, log,
};

fn main() -> ExitCode {
    let cli = Cli::read();
    log::start(cli.log);
    let result = match cli.command {
        Command::Serve(options) => commands::serve::run(&options),
        Command::Check(options) => commands::check::run(&options),
        Command::Dump(options) => commands::dump::run(&options),
        Command::Restore(options) => commands::restore::run(&options),
        Command::Peers(options) => commands::peers::run(&options),
        Command::Release(options) => commands::release::run(&options),
        Command::Health(options) => commands::health::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has closed the pipe, as `head` does.
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("paramd: {}", commands::printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
