//! Every command in README.md works as shown.

use std::{fs, path::Path, process::Command};

use crate::common::{Options, PARAMD, Service, shipped_zones};

/// The commands of the `console` blocks, each with the output that is shown.
fn commands(readme: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => commands.push((command.to_owned(), Vec::new())),
                None => commands.last_mut().unwrap().1.push(line.to_owned()),
            },
        }
    }
    commands
}

#[test]
fn every_command_of_the_readme_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::os::unix::fs::symlink(shipped_zones(), directory.path().join("zones")).unwrap();
    let zones = shipped_zones();
    let service = Service::start_with(&Options::new(&zones, &data));
    let path = format!(
        "{}:{}",
        Path::new(PARAMD).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let commands = commands(&readme);
    assert!(commands.len() > 10);
    for (command, shown) in commands {
        // The tests run concurrently, so each uses another port.
        let here = command.replace("5300", &service.port().to_string());
        let output = Command::new("sh")
            .args(["-c", &here])
            .env("PATH", &path)
            .current_dir(directory.path())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {output:?}");
        for line in shown.iter().filter(|line| *line != "...") {
            assert!(printed.contains(line), "{command}: {line} in {printed}");
        }
    }
}

#[test]
fn the_configuration_that_is_shown_is_what_is_in_force() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = param_daemon::server::config::read(&root.join("etc/paramd.toml")).unwrap();
    assert!(config.cookie_secrets.is_none());
    assert!(config.tls.is_none());
    assert_eq!(
        config.etcd,
        param_daemon::server::config::etcd::Etcd::default()
    );
    assert_eq!(
        config.limits,
        param_daemon::server::config::limits::Limits::default()
    );
    let shown = config.access;
    let sorted = |list: param_daemon::server::config::access::AccessList| {
        assert!(list.keys.is_empty());
        let mut texts: Vec<String> = list.networks.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    };
    let default = param_daemon::server::config::access::Access::default();
    assert_eq!(sorted(shown.query), sorted(default.query));
    assert_eq!(sorted(shown.register), sorted(default.register));
    assert_eq!(sorted(shown.transfer), sorted(default.transfer));
    assert_eq!(sorted(shown.update), sorted(default.update));
    assert_eq!(sorted(shown.forward), sorted(default.forward));
}
