//! Leases: who holds an ID, and when it passes to another.

use crate::common::{
    self, Options, Service, rejected_configuration, simple_zone, socket, status, txt_query,
    value_in, zones,
};

#[test]
fn the_lease_says_who_the_holder_is() {
    let zones = zones(&[(
        "t.toml",
        &simple_zone("lease = \"2s\"\nreclaim = \"never\"", ""),
    )]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let ask = |subnet: &str| {
        let answer = service.short(&["TXT", "h.test.internal", &format!("+subnet={subnet}/32")]);
        value_in(&answer[0], "address").unwrap()
    };
    assert_eq!(ask("10.0.0.1"), "10.0.0.1:7051");
    // A running lease is never taken over, and another's query does not renew it.
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 1_500 {
        assert_eq!(ask("10.0.0.2"), "10.0.0.1:7051");
    }
    common::eventually(
        std::time::Duration::from_secs(2),
        "the lease runs out",
        || ask("10.0.0.2") == "10.0.0.2:7051",
    );
    assert_eq!(service.value("h.test.internal", "id").unwrap(), "vp0");
    // Only the holder can leave; then anyone can take over immediately.
    let other = service.dig(&["TXT", "_leave.h.test.internal", "+subnet=10.0.0.1/32"]);
    assert!(
        other.contains("REFUSED") && other.contains("another client holds the lease"),
        "{other}"
    );
    let left = service.short(&["TXT", "_leave.h.test.internal", "+subnet=10.0.0.2/32"]);
    assert_eq!(left, [r#""left=vp0""#]);
    assert!(service.short(&["TXT", "test.internal"])[0].contains("live=0"));
    assert_eq!(ask("10.0.0.1"), "10.0.0.1:7051");
    let unknown = service.dig(&["TXT", "_leave.nobody.test.internal"]);
    assert_eq!(status(&unknown), "NXDOMAIN");
}

/// As a replica on another node would see it, which gets the address of the node.
#[test]
fn a_client_that_the_node_masquerades_is_known_by_the_address_of_the_node() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let config = zones.path().join("c.conf");
    std::fs::write(&config, "[access]\nmasqueraded = [\"127.0.0.2/32\"]\n").unwrap();
    let mut options = Options::new(zones.path(), data.path());
    options.more = vec!["--config".into(), config.to_str().unwrap().into()];
    let service = Service::start_with(&options);
    let ask = |from: &str, name: &str| {
        let name = format!("{name}.test.internal");
        service.dig(&["-b", from, "+subnet=10.0.0.1/32", "TXT", &name])
    };
    assert!(ask("127.0.0.2", "h").contains("\"id=vp0\""));
    assert!(ask("127.0.0.3", "_leave.h").contains("another client"));
    assert!(ask("127.0.0.1", "_leave.h").contains("\"left=vp0\""));
    let rejected = rejected_configuration("[access]\nmasqueraded = [\"bridge\"]\n");
    assert!(
        rejected.contains("c.toml:2: invalid network `bridge`"),
        "{rejected}"
    );
}

#[test]
fn a_number_passes_on_after_reclaim() {
    let head = "n = 1\nlease = \"1s\"\nreclaim = \"2s\"";
    let zones = zones(&[("t.toml", &simple_zone(head, "limit = \"n\""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    // The lease starts before the answer arrives.
    let start = std::time::Instant::now();
    assert_eq!(service.value("old.test.internal", "id").unwrap(), "vp0");
    common::eventually(
        std::time::Duration::from_secs(6),
        "the ID passes on",
        || {
            let answer = service.dig(&["TXT", "new.test.internal"]);
            if start.elapsed().as_millis() > 1_200 && answer.contains("REFUSED") {
                assert!(
                    answer.contains("is reassigned 2s after its lease expires"),
                    "{answer}"
                );
            }
            answer.contains("id=vp0")
        },
    );
    assert!(start.elapsed().as_millis() >= 3_000);
    assert_eq!(
        status(&service.dig(&["A", "old.test.internal"])),
        "NXDOMAIN"
    );
}

#[test]
fn a_busy_zone_does_not_keep_leases_of_another_alive() {
    let busy = simple_zone("lease = \"1s\"", "");
    let quiet = busy.replace("test.internal", "quiet.internal");
    let zones = zones(&[("busy.toml", &busy), ("quiet.toml", &quiet)]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    service.value("a.quiet.internal", "id").unwrap();
    let socket = socket();
    let mut buffer = [0; 4096];
    let start = std::time::Instant::now();
    // Each of these goes to the writer, so that it is always busy.
    while start.elapsed().as_millis() < 2_000 {
        socket
            .send_to(
                &txt_query(1, "_leave.nobody.test.internal", None),
                service.address,
            )
            .unwrap();
        socket.recv(&mut buffer).unwrap();
    }
    let live = service.short(&["TXT", "quiet.internal"]);
    assert!(live[0].contains("live=0"), "{live:?}");
}
