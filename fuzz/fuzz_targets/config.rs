//! Any text as a configuration file.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use param_daemon::server::config;

fuzz_target!(|text: &str| {
    match config::parse(Path::new("paramd.toml"), text) {
        Ok(config) => {
            let name = config.identity.name.unwrap_or_else(|| "name".into());
            assert!((1..=255).contains(&name.len()));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            let lines = text.matches('\n').count() + 1;
            for problem in problems {
                let line = problem.line.expect("a problem stands somewhere");
                assert!((1..=lines).contains(&line), "{problem}");
            }
        }
    }
});
