//! The commands of administrators: check, dump, restore, peers, release.

use std::{fs, time::Duration};

use crate::common::{
    PARAMD, Service, attempt, dump_of_zone, eventually, fails_with, pipe, restore, run,
    shipped_zones, simple_zone, zones,
};

/// A JSON dump of `test.internal` with this many peers.
fn dump_of(peers: u32) -> String {
    dump_of_zone("test.internal", peers)
}

/// The tools of two other name servers accept the master file.
fn accept(origin: &str, master: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), master).unwrap();
    let path = file.path().to_str().unwrap();
    let checked = run("named-checkzone", &[origin, path]);
    assert!(checked.ends_with("OK\n"), "{checked}");
    // kzonecheck prints nothing if the zone is valid.
    let checked = attempt("kzonecheck", &["-o", origin, path]);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn dumps_of_any_size_are_accepted_and_match_the_transfer() {
    let zones = shipped_zones();
    let zones_path = zones.to_str().unwrap();
    for (origin, peers) in [
        ("pbft.fabric.internal", 0),
        ("pbft.fabric.internal", 4),
        ("noops.fabric.internal", 0),
        ("noops.fabric.internal", 4),
        ("noops.fabric.internal", 10_000),
    ] {
        let data = tempfile::tempdir().unwrap();
        restore(data.path(), origin, peers);
        let data_path = data.path().to_str().unwrap();
        let dump = ["dump", origin, "--data", data_path, "--zones", zones_path];
        let stopped = run(PARAMD, &dump);
        accept(origin, &stopped);

        let service = Service::start(&zones, data.path());
        let server = service.address.to_string();
        let running = run(PARAMD, &["dump", origin, "--server", &server]);
        accept(origin, &running);
        // Without --server, the server that is running on the data directory is
        // used.
        let found = run(PARAMD, &dump);
        assert!(lines_but_soa(&found) == lines_but_soa(&running));
        assert!(lines_but_soa(&stopped) == lines_but_soa(&running));

        let transfer = service.dig(&["AXFR", origin]);
        let records = |text: &str| {
            let is_record = |line: &&str| !line.starts_with(';') && !line.is_empty();
            text.lines().filter(is_record).count()
        };
        // A transfer repeats the SOA record at its end.
        assert_eq!(records(&transfer), records(&running) + 1);
        assert!(records(&running) >= 40 * peers as usize);
        if peers == 4 {
            for name in ["_env.vp3", "_grpc._tcp", "vp2", "host-1"] {
                assert!(
                    transfer.contains(&format!("\n{name}.{origin}.")),
                    "{transfer}"
                );
            }
        }
    }
}

fn lines_but_soa(master: &str) -> Vec<&str> {
    master
        .lines()
        .filter(|line| !line.contains("\tSOA\t"))
        .collect()
}

#[test]
fn a_json_dump_of_either_kind_is_restored_to_the_same_peers() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    for (host, subnet) in [("a", "+subnet=10.0.0.1/32"), ("b", "+subnet=fd00::2/128")] {
        let name = format!("{host}.test.internal");
        assert!(!service.short(&["TXT", &name, subnet]).is_empty());
    }
    let path = data.path().to_str().unwrap();
    let json = ["dump", "test.internal", "--format", "json", "--data", path];
    let running = run(PARAMD, &json);
    assert_eq!(service.terminate(), Some(0));
    let stopped = run(PARAMD, &json);
    // The first line, which contains the serial, and the checksum differ.
    let without_serial = |json: &str| {
        let lines = json.lines();
        let lines =
            lines.filter(|line| !line.contains("\"serial\"") && !line.contains("\"checksum\""));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_serial(&running), without_serial(&stopped));
    let other = tempfile::tempdir().unwrap();
    let other_path = other.path().to_str().unwrap();
    assert!(
        pipe(PARAMD, &["restore", "-", "--data", other_path], &running)
            .status
            .success()
    );
    let service = Service::start(zones.path(), other.path());
    // The holder is identified by its source as well, so nobody has to wait.
    let renewed = service.short(&["TXT", "a.test.internal", "+subnet=10.0.0.1/32"]);
    assert!(renewed[0].contains("id=vp0"), "{renewed:?}");
    assert_eq!(service.short(&["AAAA", "vp1.test.internal"]), ["fd00::2"]);
}

#[test]
fn what_is_no_dump_is_not_restored() {
    let good = dump_of(2);
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    for (bad, expected) in [
        ("{}".to_owned(), "is not a dump"),
        (
            good.replace("\"version\":1", "\"version\":3"),
            "its version 3 is not supported",
        ),
        (good.replace("host-1", "host-0"), "host-0 occurs twice"),
        (
            good.replace("\"number\":1", "\"number\":0"),
            "vp0 occurs twice",
        ),
        (good.replace("host-1", "-"), "`-` is not a host name"),
        (
            good.replace("\"serial\":1", "\"serial\":18446744073709551615"),
            "is too high",
        ),
        (good.replace("host-1", "Host-1"), "not in lower case"),
        (
            good.replace("test.internal.", "test.internal"),
            "is not an absolute domain name",
        ),
    ] {
        let output = pipe(PARAMD, &["restore", "-", "--data", path], &bad);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(expected) && said.starts_with("paramd: "),
            "{said}"
        );
    }
    assert!(
        pipe(PARAMD, &["restore", "-", "--data", path], &good)
            .status
            .success()
    );
}

#[test]
fn peers_are_shown_as_a_table() {
    let zones = zones(&[("t.toml", &simple_zone("lease = \"1s\"", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    assert!(
        !service
            .short(&["TXT", "Some_Host-1.test.internal", "+subnet=10.0.0.1/32"])
            .is_empty()
    );
    let path = data.path().to_str().unwrap();
    let table = run(
        PARAMD,
        &[
            "peers",
            "--data",
            path,
            "--zones",
            zones.path().to_str().unwrap(),
        ],
    );
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(lines[0], ["test.internal. 1 peer"]);
    assert_eq!(
        lines[1],
        ["ID", "HOST", "ROLE", "ADDRESS", "STATE", "HEARD", "EPOCH"]
    );
    assert_eq!(
        lines[2][..5],
        ["vp0", "some_host-1", "mixed", "10.0.0.1", "live"]
    );
    let server = service.address.to_string();
    eventually(Duration::from_secs(5), "the lease has run out", || {
        run(PARAMD, &["peers", "test.internal", "--server", &server]).contains("gone")
    });
    drop(service);
    let stopped = run(PARAMD, &["peers", "--data", path]);
    assert!(
        stopped.contains("vp0  some_host-1  mixed  10.0.0.1  -      -"),
        "{stopped}"
    );
}

#[test]
fn a_released_id_goes_to_the_next_host() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap().to_owned();
    let service = Service::start(&shipped_zones(), data.path());
    for host in ["a", "b", "c", "d"] {
        service
            .value(&format!("{host}.pbft.fabric.internal"), "id")
            .unwrap();
    }
    let release = ["release", "pbft.fabric.internal", "vp2", "--data", &path];
    // From the running server, by the host's name.
    let host = ["release", "pbft.fabric.internal", "C", "--data", &path];
    assert_eq!(run(PARAMD, &host), "released c\n");
    let said = fails_with(1, PARAMD, &host);
    assert!(said.contains("c is not registered"), "{said}");
    assert_eq!(
        service.value("f.pbft.fabric.internal", "id").unwrap(),
        "vp2"
    );
    // By the ID, in the data directory of a server that is not running.
    assert_eq!(service.terminate(), Some(0));
    assert_eq!(run(PARAMD, &release), "released vp2\n");
    let said = fails_with(1, PARAMD, &release);
    assert!(
        said.contains("vp2 is not registered in pbft.fabric.internal."),
        "{said}"
    );
    let service = Service::start(&shipped_zones(), data.path());
    assert_eq!(
        service.value("e.pbft.fabric.internal", "id").unwrap(),
        "vp2"
    );
    assert!(
        service
            .dig(&["TXT", "c.pbft.fabric.internal"])
            .contains("REFUSED")
    );
}

#[test]
fn errors_are_one_line_that_says_what_to_do() {
    for (arguments, expected) in [
        (
            vec!["dump", "test.internal", "--server", "127.0.0.1:1"],
            "is it running?",
        ),
        (
            vec!["dump", "test.internal", "--data", "/nonexistent"],
            "--server",
        ),
        (
            vec!["dump", ".", "--data", "/nonexistent"],
            "specify its origin",
        ),
        (
            vec!["check", "--zones", "/nonexistent"],
            "/nonexistent: cannot be read",
        ),
        (
            vec!["serve", "--zones", "/nonexistent"],
            "/nonexistent: cannot be read",
        ),
        (vec!["restore", "/nonexistent"], "cannot read /nonexistent"),
    ] {
        let said = fails_with(1, PARAMD, &arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for arguments in [
        vec![],
        vec!["serve", "--listen", "nowhere"],
        vec!["dump"],
        vec!["frobnicate"],
    ] {
        fails_with(2, PARAMD, &arguments);
    }
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    let server = service.address.to_string();
    let said = fails_with(1, PARAMD, &["dump", "nozone.internal", "--server", &server]);
    assert!(
        said.contains("no zone of this service has that name"),
        "{said}"
    );
    for command in ["serve", "check", "dump", "restore", "peers", "release"] {
        let help = run(PARAMD, &[command, "--help"]);
        assert!(help.contains("Usage: paramd"), "{help}");
    }
}
