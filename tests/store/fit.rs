//! `paramd check --data`: registrations that do not fit the zone files.

use std::fs;

use crate::common::{self, Options, PARAMD, Service, run, simple_zone};
use crate::place::{self, Place, assert_ids};

fn zone(n: u32, role: &str) -> String {
    simple_zone(&format!("n = {n}"), "limit = \"n\"")
        .replace("roles.mixed", &format!("roles.{role}"))
        .replace(
            "default_role = \"mixed\"",
            &format!("default_role = \"{role}\""),
        )
}

fn place(n: u32) -> Place {
    Place::with(&[("t.toml", &zone(n, "mixed"))])
}

fn rewrite(place: &Place, text: &str) {
    fs::write(place.zones.path().join("t.toml"), text).unwrap();
}

/// Each host is reported with its ID, and the start reports how many there are.
#[test]
fn every_host_that_does_not_fit_is_named_with_its_id() {
    let place = place(5);
    let service = place.start();
    assert_ids(&service, &["a", "b", "c", "d", "e"]);
    assert_eq!(place.check().0, Some(0), "it fits: {}", place.check().1);
    assert_eq!(service.terminate(), Some(0));
    let (status, said) = place.check();
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("5 registrations of test.internal fit"),
        "{said}"
    );

    rewrite(&place, &zone(2, "mixed"));
    let (status, said) = place.check();
    assert_eq!(status, Some(1), "{said}");
    for misfit in ["c holds vp2", "d holds vp3", "e holds vp4"] {
        assert!(said.contains(misfit), "{misfit}: {said}");
    }
    assert_eq!(said.matches("paramd release").count(), 3, "{said}");
    let refused = place.refused();
    assert!(
        refused.contains("c holds vp2") && refused.contains("2 more"),
        "{refused}"
    );
    assert!(refused.contains("paramd check --data"), "{refused}");

    for renamed in [
        zone(5, "other"),
        zone(5, "mixed")
            .replace("sequences.vp", "sequences.xp")
            .replace("\"vp\"", "\"xp\""),
    ] {
        rewrite(&place, &renamed);
        let (status, said) = place.check();
        assert_eq!(status, Some(1), "{said}");
        for (number, host) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            let misfit = format!("{host} holds vp{number} and has ");
            assert!(said.contains(&misfit), "{misfit}: {said}");
        }
    }
    // The check has changed nothing.
    rewrite(&place, &zone(5, "mixed"));
    assert_ids(&place.start(), &["a", "b", "c", "d", "e"]);
}

/// Before a service is restarted with other zone files, while it is running on
/// the old ones.
#[test]
fn what_a_running_service_has_is_checked_too() {
    let place = place(3);
    let service = place.start();
    assert_ids(&service, &["a", "b", "c"]);
    rewrite(&place, &zone(1, "mixed"));
    let (status, said) = place.check();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("b holds vp1") && said.contains("c holds vp2"),
        "{said}"
    );
    let server = service.address.to_string();
    for host in ["b", "c"] {
        run(PARAMD, &["release", place::ZONE, host, "--server", &server]);
    }
    let (status, said) = place.check();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(service.terminate(), Some(0));
    Service::start_with(&Options::new(place.zones.path(), place.data.path()));
}

/// A pin may belong to a host that has never registered.
#[test]
fn a_pin_that_does_not_fit_is_named() {
    let place = place(4);
    let service = place.start();
    let update = format!(
        "server 127.0.0.1 {}\nzone {zone}\nupdate add later.{zone} 0 TXT \"id=vp3\"\nsend\n",
        service.port(),
        zone = place::ZONE
    );
    let pinned = common::pipe("nsupdate", &[], &update);
    assert!(pinned.status.success(), "{pinned:?}");
    rewrite(&place, &zone(2, "mixed"));
    let (status, said) = place.check();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("vp3") && said.contains("later"), "{said}");
}

/// With an empty store, and with a directory that is not writable.
#[test]
fn a_directory_that_cannot_be_used_is_told_of() {
    let place = place(4);
    let (status, said) = place.check();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("0 registrations"), "{said}");
    fs::remove_dir_all(place.data.path()).unwrap();
    let (status, said) = place.check();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("there is no data directory"), "{said}");
    assert!(!place.data.path().exists(), "none is made");
}
