//! Starts that are refused, and their messages.

use std::path::Path;

use crate::common::{Options, PARAMD, Service, run, shipped_zones, simple_zone, zones};

fn refusal(zones: &Path, data: &Path) -> String {
    Service::try_start(&Options::new(zones, data))
        .map(drop)
        .unwrap_err()
}

#[test]
fn a_store_in_use_stops_the_start_and_names_the_path() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    let said = refusal(&shipped_zones(), data.path());
    assert!(said.contains(data.path().to_str().unwrap()), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    assert_eq!(
        said.lines()
            .filter(|line| line.starts_with("paramd:"))
            .count(),
        1
    );
    assert_eq!(service.terminate(), Some(0));
    Service::start(&shipped_zones(), data.path());
}

#[test]
fn a_smaller_n_than_registered_stops_the_start() {
    let data = tempfile::tempdir().unwrap();
    let zone = |n: u32| simple_zone(&format!("n = {n}"), "limit = \"n\"");
    let large = zones(&[("t.toml", &zone(3))]);
    let service = Service::start(large.path(), data.path());
    for host in ["a", "b", "c"] {
        service
            .value(&format!("{host}.test.internal"), "id")
            .unwrap();
    }
    assert_eq!(service.terminate(), Some(0));
    let small = zones(&[("t.toml", &zone(2))]);
    let said = refusal(small.path(), data.path());
    assert!(
        said.contains("c holds vp2, which is out of the range"),
        "{said}"
    );
    assert!(
        said.contains("raise n") && said.contains("paramd release"),
        "{said}"
    );
    let path = data.path().to_str().unwrap();
    run(PARAMD, &["release", "test.internal", "C", "--data", path]);
    let service = Service::start(small.path(), data.path());
    assert_eq!(service.value("b.test.internal", "id").unwrap(), "vp1");
    assert!(service.dig(&["TXT", "c.test.internal"]).contains("REFUSED"));
}

#[test]
fn a_port_in_use_stops_the_start_with_a_remedy() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    let other = tempfile::tempdir().unwrap();
    let zones = shipped_zones();
    let mut options = Options::new(&zones, other.path());
    options.listen = vec![service.address.to_string()];
    let said = Service::try_start(&options).map(drop).unwrap_err();
    assert!(
        said.contains(&format!("cannot listen on {}", service.address)),
        "{said}"
    );
    assert!(said.contains("another server uses the port"), "{said}");
}
