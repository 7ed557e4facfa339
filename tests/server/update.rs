//! DNS UPDATE (RFC 2136) with `nsupdate`: releasing and pinning.

use std::{fs, time::Duration};

use crate::common::namespaces::Network;
use crate::common::{Options, PARAMD, Service, eventually, pipe, run, simple_zone, zones};

/// Sends an update. Returns the response code.
fn update(service: &Service, lines: &[&str]) -> String {
    let server = format!("server 127.0.0.1 {}", service.port());
    let script = [
        &[server.as_str(), "zone test.internal"],
        lines,
        &["send", "answer"],
    ]
    .concat();
    let output = pipe("nsupdate", &[], &(script.join("\n") + "\n"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let status = said.split("status: ").nth(1);
    let status = status.unwrap_or_else(|| panic!("{said}"));
    status.split(',').next().unwrap().to_owned()
}

fn id(service: &Service, host: &str) -> Option<String> {
    service.value(&format!("{host}.test.internal"), "id")
}

fn start(head: &str, limit: &str) -> (Service, tempfile::TempDir, tempfile::TempDir) {
    let zones = zones(&[("t.toml", &simple_zone(head, limit))]);
    let data = tempfile::tempdir().unwrap();
    (Service::start(zones.path(), data.path()), zones, data)
}

#[test]
fn a_host_is_released_by_deleting_its_name() {
    let (service, _zones, _data) = start("", "");
    for (host, expected) in [("a", "vp0"), ("b", "vp1"), ("c", "vp2")] {
        assert_eq!(id(&service, host).unwrap(), expected);
    }
    assert_eq!(
        update(&service, &["update delete B.test.internal"]),
        "NOERROR"
    );
    assert_eq!(id(&service, "d").unwrap(), "vp1");
    // By its ID, and two at once.
    assert_eq!(
        update(
            &service,
            &[
                "update delete vp0.test.internal ANY",
                "update delete c.test.internal"
            ]
        ),
        "NOERROR"
    );
    assert_eq!(id(&service, "e").unwrap(), "vp0");
    assert_eq!(id(&service, "a").unwrap(), "vp2");
    // Deleting something that does not exist is not an error.
    assert_eq!(
        update(&service, &["update delete nobody.test.internal"]),
        "NOERROR"
    );
    assert_eq!(
        update(&service, &["update delete no.such.name.test.internal"]),
        "NOERROR"
    );
}

#[test]
fn a_pinned_id_is_kept_for_its_host() {
    let (service, zones, data) = start("lease = \"1s\"\nreclaim = \"0s\"", "limit = 3");
    let pin = "update add late.test.internal 0 TXT \"id=vp1\"";
    assert_eq!(update(&service, &[pin]), "NOERROR");
    // No other host gets the ID, and the pin survives a restart.
    assert_eq!(id(&service, "a").unwrap(), "vp0");
    service.kill();
    let service = Service::start(zones.path(), data.path());
    assert_eq!(id(&service, "b").unwrap(), "vp2");
    let path = data.path().to_str().unwrap();
    let table = run(PARAMD, &["peers", "test.internal", "--data", path]);
    assert!(
        table.contains("vp1  late  -      -          pinned  -"),
        "{table}"
    );
    // The name exists, and a transfer shows why.
    let answer = service.dig(&["A", "late.test.internal"]);
    assert!(answer.contains("status: NOERROR"), "{answer}");
    let zone = service.dig(&["AXFR", "test.internal"]);
    assert!(
        zone.contains("late.test.internal.\t0\tIN\tTXT\t\"id=vp1\""),
        "{zone}"
    );
    assert_eq!(id(&service, "late").unwrap(), "vp1");
    // When it is gone, others are reclaimed, however long it has been gone.
    for round in 0..6 {
        let host = format!("new-{round}");
        eventually(Duration::from_secs(10), "a number is free", || {
            id(&service, &host).is_some()
        });
        assert_ne!(id(&service, &host).unwrap(), "vp1");
    }
    let table = run(PARAMD, &["peers", "test.internal", "--data", path]);
    assert!(table.contains("gone, pinned"), "{table}");
    assert_eq!(id(&service, "late").unwrap(), "vp1");
    // A dump contains it, and so does the restored store.
    let dump = run(
        PARAMD,
        &["dump", "test.internal", "--data", path, "--format", "json"],
    );
    let restored = tempfile::tempdir().unwrap();
    let file = restored.path().join("dump.json");
    fs::write(&file, &dump).unwrap();
    let again = restored.path().join("data");
    let again = again.to_str().unwrap();
    run(
        PARAMD,
        &["restore", file.to_str().unwrap(), "--data", again],
    );
    let table = run(PARAMD, &["peers", "test.internal", "--data", again]);
    assert!(
        table.contains("late") && table.contains("pinned"),
        "{table}"
    );
    // Without the pin it is like any other.
    let unpin = "update delete late.test.internal TXT \"id=vp1\"";
    assert_eq!(update(&service, &[unpin]), "NOERROR");
    eventually(Duration::from_secs(30), "vp1 is reclaimed", || {
        (0..9).any(|host| id(&service, &format!("last-{host}")).as_deref() == Some("vp1"))
    });
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let zone = simple_zone("records = \"more.zone\"", "limit = 4");
    let zones = zones(&[("t.toml", &zone), ("more.zone", "ca 60 IN A 10.9.9.9\n")]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    for host in ["a", "b"] {
        id(&service, host).unwrap();
    }
    let before = service.dig(&["+nocmd", "+nostats", "AXFR", "test.internal"]);
    for (line, code) in [
        // An ID that belongs to another, one that does not exist, and text that
        // is not an ID.
        ("add c.test.internal 0 TXT \"id=vp1\"", "REFUSED"),
        ("add c.test.internal 0 TXT \"id=vp4\"", "REFUSED"),
        ("add c.test.internal 0 TXT \"id=x\"", "REFUSED"),
        ("add c.test.internal 0 TXT \"vp3\"", "REFUSED"),
        (
            "add c.test.internal 0 TXT \"id=vp3\" \"role=mixed\"",
            "REFUSED",
        ),
        // A host that has another ID.
        ("add a.test.internal 0 TXT \"id=vp3\"", "REFUSED"),
        // Names and types that are derived, and cannot be set.
        ("add c.test.internal 0 A 10.0.0.1", "REFUSED"),
        ("add vp3.test.internal 0 TXT \"id=vp3\"", "REFUSED"),
        ("add test.internal 0 TXT \"n=7\"", "REFUSED"),
        ("add _env.a.test.internal 0 TXT \"X=1\"", "REFUSED"),
        ("delete a.test.internal A", "REFUSED"),
        ("delete a.test.internal TXT", "REFUSED"),
        ("delete test.internal", "REFUSED"),
        ("delete test.internal SOA", "REFUSED"),
        ("delete ca.test.internal", "REFUSED"),
        ("delete _grpc._tcp.test.internal", "REFUSED"),
        // RFC 2136, section 3.4.1.3.
        ("add c.example 0 TXT \"id=vp3\"", "NOTZONE"),
    ] {
        assert_eq!(
            update(&service, &[&format!("update {line}")]),
            code,
            "{line}"
        );
        // An update is applied as a whole or not at all.
        let good = "update add z.test.internal 0 TXT \"id=vp2\"";
        assert_eq!(
            update(&service, &[good, &format!("update {line}")]),
            code,
            "{line}"
        );
    }
    let after = service.dig(&["+nocmd", "+nostats", "AXFR", "test.internal"]);
    assert_eq!(before, after);
    // Within one update, a released ID can be assigned again.
    let swap = [
        "update delete b.test.internal",
        "update add c.test.internal 0 TXT \"id=vp1\"",
    ];
    assert_eq!(update(&service, &swap), "NOERROR");
    assert_eq!(id(&service, "c").unwrap(), "vp1");
    assert_eq!(id(&service, "b").unwrap(), "vp2");
    // Not a zone of this service, or not its apex.
    for zone in ["example", "a.test.internal"] {
        let lines = [&format!("zone {zone}"), &format!("update delete x.{zone}")];
        let lines = lines.map(String::as_str);
        assert_eq!(update(&service, &lines), "NOTAUTH", "{zone}");
    }
}

#[test]
fn prerequisites_are_met_or_nothing_happens() {
    let (service, _zones, _data) = start("", "");
    id(&service, "a").unwrap();
    let delete = "update delete a.test.internal";
    let summary = service.short(&["TXT", "a.test.internal"]).remove(0);
    // RFC 2136, section 3.2.
    for (line, code) in [
        ("nxdomain a.test.internal".to_owned(), "YXDOMAIN"),
        ("yxdomain b.test.internal".to_owned(), "NXDOMAIN"),
        ("nxrrset a.test.internal TXT".to_owned(), "YXRRSET"),
        ("yxrrset a.test.internal MX".to_owned(), "NXRRSET"),
        ("yxrrset a.test.internal A 10.0.0.9".to_owned(), "NXRRSET"),
        ("nxdomain a.example".to_owned(), "NOTZONE"),
    ] {
        let line = format!("prereq {line}");
        assert_eq!(update(&service, &[&line, delete]), code, "{line}");
        assert_eq!(
            service.short(&["A", "a.test.internal"]),
            ["127.0.0.1"],
            "{line}"
        );
    }
    let pin = "update add c.test.internal 0 TXT \"id=vp7\"";
    let free = ["prereq nxdomain c.test.internal", pin];
    assert_eq!(update(&service, &free), "NOERROR");
    assert_eq!(update(&service, &free), "YXDOMAIN");
    let all = [
        "prereq yxdomain a.test.internal",
        "prereq nxdomain b.test.internal",
        "prereq nxrrset a.test.internal AAAA",
        "prereq yxrrset a.test.internal SRV",
        "prereq yxrrset c.test.internal TXT \"id=vp7\"",
    ];
    let holds = [&all[..3], &all[4..]].concat();
    assert_eq!(update(&service, &all), "NXRRSET");
    let same = format!("prereq yxrrset a.test.internal TXT {summary}");
    let lines = [
        &holds[..],
        &["prereq yxrrset a.test.internal A 127.0.0.1", &same, delete],
    ]
    .concat();
    assert_eq!(update(&service, &lines), "NOERROR");
    assert!(service.short(&["A", "a.test.internal"]).is_empty());
}

#[test]
fn only_loopback_or_a_key_updates() {
    let network = Network::new(1);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("admin.key");
    fs::write(&key, run("tsig-keygen", &["admin"])).unwrap();
    let key = key.to_str().unwrap().to_owned();
    let config = directory.path().join("c.toml");
    let text = format!("[keys]\nfiles = [\"{key}\"]\n[access]\nupdate = [\"key:admin\"]\n");
    fs::write(&config, text).unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(zones.path(), data.path());
    options.namespace = Some(network.name(0));
    options.listen = vec!["0.0.0.0:53".into()];
    options.more = vec!["--config".into(), config.to_str().unwrap().into()];
    let _service = Service::start_with(&options);
    let dig = ["dig", "@10.77.0.1", "+short", "TXT", "a.test.internal"];
    assert!(network.run(1, &dig).contains("id=vp0"));
    let script =
        "server 10.77.0.1\nzone test.internal\nupdate delete a.test.internal\nsend\nanswer\n";
    let send = |arguments: &[&str]| {
        let base = ["netns", "exec", network.name(1), "nsupdate"];
        let output = pipe("ip", &[&base[..], arguments].concat(), script);
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    // By UDP, where the source is not verified, and by TCP.
    for arguments in [&[][..], &["-v"]] {
        let said = send(arguments);
        assert!(said.contains("status: REFUSED"), "{said}");
    }
    let release = [
        PARAMD,
        "release",
        "test.internal",
        "a",
        "--server",
        "10.77.0.1",
    ];
    let output = network
        .command(1, release[0])
        .args(&release[1..])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("may not update"), "{said}");
    assert!(network.run(1, &dig).contains("id=vp0"));
    let said = send(&["-k", &key]);
    assert!(said.contains("NOERROR") && said.contains("TSIG"), "{said}");
    assert!(network.run(1, &dig).contains("id=vp0"));
    let said = network.run(1, &[&release[..], &["--key", &key]].concat());
    assert_eq!(said, "released a\n");
}
