//! Secondaries, and who may transfer a zone.

use std::{fs, time::Duration};

use crate::common::{
    self, Options, PARAMD, Service, attempt, eventually, fails_with, shipped_zones, simple_zone,
    zones,
};

#[test]
fn a_knot_secondary_takes_the_zone_and_follows_it() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    service.value("a.test.internal", "id").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let port = common::socket().local_addr().unwrap().port();
    let configuration = format!(
        "server:\n  rundir: {path}\n  listen: 127.0.0.1@{port}\n  user: root:root\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n  storage: {path}\n\
         remote:\n  - id: primary\n    address: {}@{}\n\
         template:\n  - id: default\n    storage: {path}\n\
         zone:\n  - domain: test.internal\n    master: primary\n    refresh-min-interval: 2\n    refresh-max-interval: 2\n",
        service.address.ip(),
        service.port()
    );
    let file = directory.path().join("knot.conf");
    fs::write(&file, configuration).unwrap();
    let mut knot = std::process::Command::new("knotd")
        .arg("-c")
        .arg(&file)
        .stderr(fs::File::create(directory.path().join("log")).unwrap())
        .spawn()
        .expect("knotd: see scripts/test");
    let port = port.to_string();
    let at_secondary = |name: &str| {
        let answer = attempt(
            "dig",
            &[
                "@127.0.0.1",
                "-p",
                &port,
                "+short",
                "+time=1",
                "+tries=1",
                "TXT",
                name,
            ],
        );
        String::from_utf8(answer.stdout).unwrap()
    };
    let followed = std::panic::catch_unwind(|| {
        eventually(Duration::from_secs(10), "the zone is transferred", || {
            at_secondary("a.test.internal").contains("id=vp0")
        });
        service.value("b.test.internal", "id").unwrap();
        eventually(Duration::from_secs(10), "the change is transferred", || {
            at_secondary("vp1.test.internal").contains("id=vp1")
        });
    });
    knot.kill().unwrap();
    knot.wait().unwrap();
    followed.unwrap_or_else(|_| {
        panic!(
            "{}",
            fs::read_to_string(directory.path().join("log")).unwrap()
        )
    });
}

#[test]
fn an_incremental_transfer_is_a_whole_one_by_tcp_and_an_soa_by_udp() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    service.value("a.test.internal", "id").unwrap();
    let whole = service.dig(&["IXFR=1", "test.internal"]);
    assert!(whole.contains("a.test.internal."), "{whole}");
    let soa = service.dig(&["+notcp", "IXFR=1", "test.internal"]);
    assert!(
        soa.contains("SOA") && !soa.contains("a.test.internal."),
        "{soa}"
    );
}

#[test]
fn transfers_are_for_loopback_unless_configured_and_need_an_origin() {
    let data = tempfile::tempdir().unwrap();
    let zones = shipped_zones();
    let mut options = Options::new(&zones, data.path());
    let config = common::zones(&[("c.toml", "[access]\ntransfer = [\"127.0.0.5\"]\n")]);
    let path = config.path().join("c.toml");
    options.more = vec!["--config".into(), path.to_str().unwrap().into()];
    let service = Service::start_with(&options);
    let zone = "pbft.fabric.internal";
    assert!(service.dig(&["AXFR", zone]).contains("Transfer failed"));
    assert!(
        service
            .dig(&["-b", "127.0.0.5", "AXFR", zone])
            .contains("XFR size")
    );
    let server = service.address.to_string();
    let said = fails_with(1, PARAMD, &["dump", zone, "--server", &server]);
    assert!(
        said.contains("your network may not transfer zones"),
        "{said}"
    );
    let below = service.dig(&["-b", "127.0.0.5", "AXFR", "a.pbft.fabric.internal"]);
    assert!(below.contains("Transfer failed"), "{below}");
}
