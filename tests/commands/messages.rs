//! What the commands say when something is not as it should be: what it is, and
//! what to do, and nothing that leads elsewhere.

use std::{fs, path::Path, process::Command};

use crate::common::{Options, PARAMD, Service, fails_with, run, simple_zone, zones};
use param_daemon::commands::printable;
use tempfile::TempDir;

const ZONE: &str = "test.internal";

struct Field {
    service: Service,
    server: String,
    zones: TempDir,
    data: TempDir,
}

impl Field {
    /// A service with this configuration, and the host `a` with the ID `vp0`.
    fn new(config: &str) -> Self {
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("paramd.toml");
        fs::write(&file, config).unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.more = vec!["--config".into(), file.to_str().unwrap().into()];
        let service = Service::start_with(&options);
        assert_eq!(service.value("a.test.internal", "id").unwrap(), "vp0");
        Self {
            server: service.address.to_string(),
            service,
            zones,
            data,
        }
    }

    /// What a command says that fails, asked of the running service.
    fn fails(&self, arguments: &[&str]) -> String {
        fails_with(
            1,
            PARAMD,
            &[arguments, &["--server", &self.server]].concat(),
        )
    }
}

#[test]
fn a_release_says_what_is_not_there() {
    let field = Field::new("");
    for host in ["b", "vp7"] {
        let said = field.fails(&["release", ZONE, host]);
        assert_eq!(
            said,
            format!(
                "paramd: {host} is not registered in test.internal.: see `paramd peers test.internal.`\n"
            )
        );
    }
    let said = field.fails(&["release", "other.internal", "a"]);
    assert!(
        said.contains("refused the release: it has no zone other.internal."),
        "{said}"
    );
    assert!(!said.contains("paramd peers"), "{said}");
    let Field { service, data, .. } = field;
    service.kill();
    let fails = |arguments: &[&str]| {
        fails_with(
            1,
            PARAMD,
            &[arguments, &["--data", path(data.path())]].concat(),
        )
    };
    let said = fails(&["release", ZONE, "b"]);
    assert!(
        said.starts_with("paramd: b is not registered in test.internal.: see"),
        "{said}"
    );
    let said = fails(&["release", "other.internal", "a"]);
    assert!(
        said.contains("nothing is stored for other.internal."),
        "{said}"
    );
    assert!(said.contains("test.internal."), "{said}");
}

#[test]
fn an_update_by_a_key_that_may_not_names_the_key() {
    let secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYw==";
    let field = Field::new(&format!(
        "[keys.reader]\nalgorithm = \"hmac-sha256\"\nsecret = \"{secret}\"\n\
         [access]\nupdate = [\"10.0.0.0/8\"]\n"
    ));
    let file = field.data.path().join("reader.key");
    let text = format!("key \"reader\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};");
    fs::write(&file, text).unwrap();
    let said = field.fails(&["release", ZONE, "a", "--key", file.to_str().unwrap()]);
    assert!(
        said.contains("neither your network nor the key reader. may update zones"),
        "{said}"
    );
    let said = field.fails(&["release", ZONE, "a"]);
    assert!(said.contains("your network may not update zones"), "{said}");
}

#[test]
fn a_server_is_not_asked_which_zones_it_has() {
    let field = Field::new("");
    for command in ["peers", "health"] {
        let said = field.fails(&[command, "--zones", "/nowhere"]);
        assert!(said.contains("/nowhere: cannot be read"), "{said}");
        assert!(said.contains("--zones"), "{said}");
    }
    let said = field.fails(&["peers", "--zones", "/nowhere"]);
    assert!(
        said.contains("specify a zone (paramd peers ZONE)"),
        "{said}"
    );
    let zones = field.zones.path().to_str().unwrap();
    let table = run(
        PARAMD,
        &["peers", "--server", &field.server, "--zones", zones],
    );
    assert!(table.starts_with("test.internal. 1 peer\n"), "{table}");
    for command in ["peers", "dump"] {
        let said = field.fails(&[command, "other.internal"]);
        assert!(
            said.contains("refused the transfer of other.internal.: no zone"),
            "{said}"
        );
    }
}

/// Tools make no store.
#[test]
fn a_directory_without_a_store_stays_empty() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    for arguments in [
        &["peers"][..],
        &["peers", ZONE],
        &["release", ZONE, "a"],
        &["dump", ZONE],
        &["dump", ZONE, "--format", "json"],
    ] {
        let said = fails_with(1, PARAMD, &[arguments, &["--data", data]].concat());
        assert!(
            said.contains("there is no store in"),
            "{arguments:?}: {said}"
        );
        assert!(said.contains("--server"), "{said}");
    }
    let said = fails_with(1, PARAMD, &["health", "--data", data]);
    assert!(said.contains("no service runs on"), "{said}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Compose files and unit files set variables that are there to be filled in.
#[test]
fn a_variable_that_is_empty_is_not_set() {
    let field = Field::new("");
    let peers = |variables: &[(&str, &str)]| {
        let mut command = Command::new(PARAMD);
        command
            .args(["peers", ZONE, "--data"])
            .arg(field.data.path());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let empty = [
        "PARAMD_SERVER",
        "PARAMD_KEY",
        "PARAMD_ZONES",
        "PARAMD_DATA",
        "PARAMD_LOG",
    ];
    let empty: Vec<_> = empty.iter().map(|name| (*name, "")).collect();
    assert!(peers(&empty).contains("vp0"));
}

#[test]
fn lists_in_variables_may_have_blanks() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let arguments = [
        "serve",
        "--zones",
        path(zones.path()),
        "--data",
        path(data.path()),
    ];
    let variables = [
        ("PARAMD_LISTEN", " 127.0.0.1:0, 127.0.0.2:0 "),
        ("PARAMD_FORWARD", "192.0.2.1, [2001:db8::1]:5353"),
        ("PARAMD_STORE", ""),
        ("PARAMD_CONFIG", ""),
    ];
    let mut command = Command::new(PARAMD);
    let mut service = command
        .args(arguments)
        .envs(variables)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(service.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(
        line.contains("127.0.0.1:") && line.contains("127.0.0.2:"),
        "{line}"
    );
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_a_terminal_obeys_is_escaped_and_nothing_else() {
    let plain = "h\u{e9}llo \"a\\b\" 'c'\n";
    assert_eq!(printable(plain), plain);
    for (text, expected) in [
        ("\x1b[2Ja", "\\u{1b}[2Ja"),
        ("\u{9b}2J", "\\u{9b}2J"),
        ("a\rb\x07", "a\\rb\\u{7}"),
        // Right to left, and text that nobody sees.
        ("\u{202e}a\u{2066}", "\\u{202e}a\\u{2066}"),
        ("\u{200b}\u{feff}", "\\u{200b}\\u{feff}"),
        ("\u{2028}", "\\u{2028}"),
    ] {
        assert_eq!(printable(text), expected);
    }
}
