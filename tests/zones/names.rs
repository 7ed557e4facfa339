//! Stable names: what peers are told of each other, and what leads to a peer and what
//! does not.

use std::{path::Path, time::Duration};

use crate::common::{
    PARAMD, Service, eventually, run, shipped_zones, simple_zone, value_in, zones,
};

const O: &str = "pbft.fabric.internal";

/// The shipped zones.
pub fn service() -> (Service, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Service::start(&shipped_zones(), data.path()), data)
}

/// The answer to a peer that states the address, as `dig +short` prints it.
pub fn ask(service: &Service, name: &str, address: &str) -> Vec<String> {
    let bits = if address.contains(':') { 128 } else { 32 };
    let subnet = format!("+subnet={address}/{bits}");
    service.short(&["TXT", name, &subnet])
}

/// The environment of a host: its variables, in order.
pub fn environment(service: &Service, host: &str, address: &str) -> Vec<(String, String)> {
    let lines = ask(service, &format!("_env.{host}"), address);
    let variable = |line: &String| {
        // A value of more than 255 octets goes on in the next string.
        let line = line.trim_matches('"').replace("\" \"", "");
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    lines.iter().map(variable).collect()
}

pub fn value(variables: &[(String, String)], name: &str) -> String {
    let found = variables.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

#[test]
fn a_name_leads_to_nobody_once_the_lease_has_ended() {
    let (service, _data) = service();
    ask(&service, &format!("a.{O}"), "10.0.1.1");
    ask(&service, &format!("six.{O}"), "fd00::5");
    for (host, id, kind, address) in [
        ("a", "vp0", "A", "10.0.1.1"),
        ("six", "vp1", "AAAA", "fd00::5"),
    ] {
        for name in [host, id] {
            assert_eq!(service.short(&[kind, &format!("{name}.{O}")]), [address]);
        }
        ask(&service, &format!("_leave.{host}.{O}"), address);
        for name in [host, id, &host.to_uppercase()] {
            for kind in ["A", "AAAA"] {
                let answer = service.dig(&[kind, &format!("{name}.{O}")]);
                assert!(answer.contains("status: NOERROR"), "{answer}");
                assert!(answer.contains("ANSWER: 0, AUTHORITY: 1"), "{answer}");
                let ended = format!("(the lease of {host} ({id}) has ended)");
                assert!(answer.contains(&ended), "{answer}");
            }
        }
    }
    let server = service.address.to_string();
    let dump = run(PARAMD, &["dump", O, "--server", &server]);
    assert!(!dump.contains("10.0.1.1\n"), "{dump}");
    assert!(!dump.contains("fd00::5\n"), "{dump}");
    // The same ID at another address.
    ask(&service, &format!("a.{O}"), "10.0.1.7");
    assert_eq!(service.short(&["A", &format!("vp0.{O}")]), ["10.0.1.7"]);
}

#[test]
fn a_role_that_cannot_be_the_first_waits_for_a_root_node() {
    let (service, _data) = service();
    let rest = format!("r.rest.{O}");
    let refused = |name: &str| {
        let answer = service.dig(&["TXT", name, "+subnet=10.0.1.9/32"]);
        answer.contains("status: REFUSED") && answer.contains("no root node is live")
    };
    assert!(refused(&rest) && refused(&format!("_env.{rest}")));
    assert_eq!(
        service.short(&["TXT", O]),
        [r#""n=4" "f=1" "peers=0" "live=0""#]
    );
    ask(&service, &format!("v.{O}"), "10.0.1.1");
    let answer = ask(&service, &rest, "10.0.1.9").concat();
    assert_eq!(value_in(&answer, "id").unwrap(), "nvp0");
    assert_eq!(value_in(&answer, "root").unwrap(), "10.0.1.1:7051");
    // The only root node leaves: whoever starts now waits, and the lease of the
    // peer that runs is renewed all the same.
    ask(&service, &format!("_leave.v.{O}"), "10.0.1.1");
    assert!(refused(&rest) && refused(&format!("r.{O}")));
    assert!(service.short(&["TXT", O])[0].contains("live=1"));
}

#[test]
fn a_heartbeat_counts_while_no_root_node_lives() {
    let zones = zones(&[(
        "t.toml",
        &format!(
            "{}[roles.rest]\nsequence = \"nvp\"\n[sequences.nvp]\n",
            simple_zone("lease = \"3s\"", "")
        ),
    )]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    ask(&service, "v.test.internal", "10.0.1.1");
    ask(&service, "r.rest.test.internal", "10.0.1.9");
    ask(&service, "_leave.v.test.internal", "10.0.1.1");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(500));
        assert!(ask(&service, "r.test.internal", "10.0.1.9").is_empty());
        assert_eq!(service.short(&["A", "r.test.internal"]), ["10.0.1.9"]);
    }
}

#[test]
fn a_service_name_leads_to_the_peers_that_offer_the_port() {
    let (service, _data) = service();
    ask(&service, &format!("v.{O}"), "10.0.1.1");
    ask(&service, &format!("r.rest.{O}"), "10.0.1.9");
    let peers = |port: &str| {
        let mut peers = service.short(&["SRV", &format!("_{port}._tcp.{O}")]);
        peers.sort();
        peers
    };
    let at = |id: &str, port: u16| format!("0 0 {port} {id}.{O}.");
    assert_eq!(peers("events"), [at("vp0", 7053)]);
    assert_eq!(peers("grpc"), [at("nvp0", 7051), at("vp0", 7051)]);
    assert_eq!(peers("rest"), [at("nvp0", 7050), at("vp0", 7050)]);
    // Nothing listens at the port that the earlier system announced.
    let answer = service.dig(&["SRV", &format!("_cli._tcp.{O}")]);
    assert!(answer.contains("status: NXDOMAIN"), "{answer}");
}

/// An address is used again while the lease of its last holder still runs.
#[test]
fn no_peer_is_told_its_own_address_or_one_address_twice() {
    let (service, _data) = service();
    let root = |host: &str, address| {
        let answer = ask(&service, &format!("{host}.{O}"), address).concat();
        value_in(&answer, "root").unwrap()
    };
    assert_eq!(root("a", "10.0.1.1"), "");
    assert_eq!(root("b", "10.0.1.1"), "", "its own address");
    assert_eq!(root("c", "10.0.1.3"), "10.0.1.1:7051", "one address twice");
    let srv = service.short(&["SRV", &format!("c.{O}"), "+subnet=10.0.1.3/32"]);
    assert_eq!(srv, [format!("0 0 7051 vp1.{O}.")], "who was heard last");
    // Nobody's lease ends by what another states.
    assert!(service.short(&["TXT", O])[0].contains("live=3"));
}

#[test]
fn an_id_is_no_host_name_and_the_answer_says_so() {
    let (service, _data) = service();
    ask(&service, &format!("a.{O}"), "10.0.1.1");
    for (name, status) in [
        ("vp0", "NOERROR"),
        ("_env.VP0", "NOERROR"),
        ("vp3", "NXDOMAIN"),
    ] {
        let answer = service.dig(&["+tcp", "TXT", &format!("{name}.{O}"), "+subnet=10.0.1.2/32"]);
        assert!(answer.contains(&format!("status: {status}")), "{answer}");
        assert!(answer.contains("is an ID, not a host name"), "{answer}");
    }
    let host = service.dig(&["TXT", &format!("a.{O}"), "+subnet=10.0.1.1/32"]);
    assert!(!host.contains("EDE"), "{host}");
}

#[test]
fn the_epoch_rises_with_each_holder_and_over_everything() {
    let data = tempfile::tempdir().unwrap();
    let mut service = Service::start(&shipped_zones(), data.path());
    let name = format!("a.{O}");
    let epoch = |service: &Service, address: &str| -> u64 {
        let answer = ask(service, &name, address).concat();
        value_in(&answer, "epoch").unwrap().parse().unwrap()
    };
    let first = epoch(&service, "10.0.1.1");
    assert_eq!(epoch(&service, "10.0.1.1"), first, "the same holder");
    assert_eq!(epoch(&service, "10.0.1.2"), first, "not the holder");
    service.kill();
    service = Service::start(&shipped_zones(), data.path());
    assert_eq!(epoch(&service, "10.0.1.1"), first, "after a restart");
    ask(&service, &format!("_leave.{name}"), "10.0.1.1");
    assert_eq!(epoch(&service, "10.0.1.1"), first, "it left and came back");
    ask(&service, &format!("_leave.{name}"), "10.0.1.1");
    let second = epoch(&service, "10.0.1.2");
    assert!(second > first, "another holder");
    let server = service.address.to_string();
    run(PARAMD, &["release", O, "a", "--server", &server]);
    let third = epoch(&service, "10.0.1.2");
    assert!(third > second, "after a release");
    let table = run(PARAMD, &["peers", O, "--server", &server]);
    assert!(table.contains(&format!("  {third}\n")), "{table}");
    // From a dump that was taken before the release.
    let dump = run(
        PARAMD,
        &["dump", O, "--server", &server, "--format", "json"],
    );
    assert!(dump.contains(&format!("\"epoch\":{third}")), "{dump}");
    let file = data.path().join("dump.json");
    std::fs::write(&file, dump).unwrap();
    let restored = tempfile::tempdir().unwrap();
    let paths = [file.to_str().unwrap(), restored.path().to_str().unwrap()];
    run(PARAMD, &["restore", paths[0], "--data", paths[1]]);
    let service = Service::start(&shipped_zones(), restored.path());
    assert_eq!(epoch(&service, "10.0.1.2"), third, "after a restore");
    ask(&service, &format!("_leave.{name}"), "10.0.1.2");
    assert!(epoch(&service, "10.0.1.3") > third);
}

#[test]
fn templates_have_names_and_lists_and_numbers() {
    let zone = simple_zone("n = 4", "limit = \"n\"")
        + r#"
NAME = "{{ name }} {{ server }} {{ epoch + 0 }}"
QUORUM = "{{ n - f }} {{ number + 1 }} {{ ports.grpc + 1 }}"
MEMBERS = "{% for m in members %}{{ m.number + 1 }}:{{ m.id }}:{{ m.name }}:{{ m.address }}:{{ m.live }} {% endfor %}"
ROOTS = "{% for r in roots %}{{ r.id }} {{ r.number + 1 }} {{ r.name }} {{ r.address }} {{ r.live }}; {% endfor %}"
RANGE = "{% for k in range(n) %}{{ k }}{% endfor %}"
"#;
    let zones = zones(&[("t.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    ask(&service, "a.test.internal", "10.0.1.1");
    ask(&service, "b.test.internal", "10.0.1.2");
    ask(&service, "_leave.a.test.internal", "10.0.1.1");
    let variables = environment(&service, "b.test.internal", "10.0.1.2");
    let name = value(&variables, "NAME");
    assert!(name.starts_with("vp1.test.internal 127.0.0.1 "), "{name}");
    assert_eq!(value(&variables, "QUORUM"), "3 2 7052");
    assert_eq!(
        value(&variables, "MEMBERS"),
        "1:vp0:vp0.test.internal:10.0.1.1:False 2:vp1:vp1.test.internal:10.0.1.2:True \
         3:vp2:vp2.test.internal::False 4:vp3:vp3.test.internal::False "
    );
    assert_eq!(value(&variables, "ROOTS"), "");
    assert_eq!(value(&variables, "RANGE"), "0123");
    ask(&service, "c.test.internal", "10.0.1.3");
    let variables = environment(&service, "b.test.internal", "10.0.1.2");
    assert_eq!(
        value(&variables, "ROOTS"),
        "vp2 3 vp2.test.internal 10.0.1.3 True; "
    );
}

#[test]
fn an_environment_that_cannot_be_rendered_is_a_failure_with_its_reason() {
    let zone = simple_zone("", "") + "\nBAD = \"{{ 8 // (hostname | length - 3) }}\"\n";
    let zones = zones(&[("t.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    ask(&service, "long-name.test.internal", "10.0.1.1");
    let answer = service.dig(&["TXT", "_env.abc.test.internal", "+subnet=10.0.1.2/32"]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    assert!(
        answer.contains("the environment of abc: BAD cannot be rendered"),
        "{answer}"
    );
    eventually(Duration::from_secs(2), "the log says it", || {
        service.log().contains("the environment of abc: BAD")
    });
}

/// Each is there to be copied in place of a shipped file, so they share origins.
#[test]
fn the_examples_are_sound() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/examples");
    for example in std::fs::read_dir(examples).unwrap() {
        let text = std::fs::read_to_string(example.unwrap().path()).unwrap();
        let zones = zones(&[("pbft.toml", &text)]);
        run(
            PARAMD,
            &["check", "--zones", zones.path().to_str().unwrap()],
        );
    }
}
