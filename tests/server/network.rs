//! The service and hosts in network namespaces on one bridge.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::common::namespaces::{Network, dig, service_in};
use crate::common::{Options, Service, simple_zone, value_in, zones};

#[test]
fn a_wildcard_answers_from_the_address_that_was_asked() {
    let network = Network::new(1);
    let zone = simple_zone("", "") + "DNS = \"{{ server }}\"\n";
    let zones = zones(&[("t.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    for server in ["@10.77.0.1", "@10.77.0.2", "@fd77::1", "@fd77::2"] {
        for transport in ["+notcp", "+tcp"] {
            // dig accepts responses only from the address that it queried.
            let answer = dig(
                &network,
                1,
                &[server, transport, "+short", "TXT", "test.internal"],
            );
            assert!(answer.contains("peers="), "{server}: {answer}");
            // What chaincode containers get is the address that the peer asks.
            let name = "_env.a.test.internal";
            let variables = dig(&network, 1, &[server, transport, "+short", "TXT", name]);
            let asked = format!("\"DNS={}\"", &server[1..]);
            assert!(variables.contains(&asked), "{server}: {variables}");
        }
    }
    // The name server has all addresses of the interfaces.
    let mut servers = dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "A", "ns.dns.test.internal"],
    );
    servers += &dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "AAAA", "ns.dns.test.internal"],
    );
    assert_eq!(servers, "10.77.0.1\n10.77.0.2\nfd77::1\nfd77::2\n");
}

/// The source of a UDP packet may be forged, so registration without a cookie
/// uses TCP; `dig` does so by itself after a truncated response.
#[test]
fn a_query_that_registers_needs_a_proven_source() {
    let network = Network::new(1);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    for name in [
        "a.test.internal",
        "_env.a.test.internal",
        "_leave.a.test.internal",
    ] {
        let unproven = dig(
            &network,
            1,
            &["@10.77.0.1", "+nocookie", "+ignore", "TXT", name],
        );
        assert!(
            unproven.contains(" tc ") && unproven.contains("ANSWER: 0"),
            "{unproven}"
        );
    }
    let apex = dig(
        &network,
        1,
        &["@10.77.0.1", "+short", "TXT", "test.internal"],
    );
    assert_eq!(apex, "\"peers=0\" \"live=0\"\n");
    for tool in [
        vec!["dig", "+short", "@10.77.0.1", "TXT", "a.test.internal"],
        vec!["kdig", "+short", "@10.77.0.1", "TXT", "a.test.internal"],
        vec!["host", "-t", "TXT", "a.test.internal", "10.77.0.1"],
        vec!["nslookup", "-type=TXT", "a.test.internal", "10.77.0.1"],
    ] {
        let answer = network.run(1, &tool);
        assert_eq!(
            value_in(&answer, "address").unwrap(),
            "10.77.0.11:7051",
            "{tool:?}"
        );
    }
    // By IPv6 the source differs, and so does the holder.
    let six = dig(
        &network,
        1,
        &["@fd77::1", "+short", "TXT", "b.test.internal"],
    );
    assert_eq!(value_in(&six, "address").unwrap(), "[fd77::11]:7051");
    // Names that do not register are answered directly.
    let address = dig(
        &network,
        1,
        &["@10.77.0.1", "+ignore", "+short", "A", "vp0.test.internal"],
    );
    assert_eq!(address, "10.77.0.11\n");
    // Only a query from loopback may state a loopback address.
    let loopback = dig(
        &network,
        1,
        &[
            "@10.77.0.1",
            "TXT",
            "c.test.internal",
            "+subnet=127.0.0.1/32",
        ],
    );
    assert!(loopback.contains("REFUSED"), "{loopback}");
    let transfer = dig(&network, 1, &["@10.77.0.1", "AXFR", "test.internal"]);
    assert!(transfer.contains("Transfer failed"), "{transfer}");
}

/// dnsmasq as an upstream resolver, in a namespace.
struct Upstream(Child);

impl Upstream {
    fn start(network: &Network, host: usize) -> Self {
        let mut command = network.command(host, "dnsmasq");
        let child = command
            .args([
                "--no-daemon",
                "--no-resolv",
                "--no-hosts",
                "--conf-file=/dev/null",
            ])
            .args(["--user=root", "--pid-file=", "--bind-interfaces"])
            .args(["--host-record=public.example,192.0.2.7,2001:db8::7"])
            .args(["--txt-record=long.example,".to_owned() + &"x".repeat(250)])
            .args(["--local=/example/"])
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq: see scripts/test");
        Self(child)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn resolv_conf_pointing_at_the_service_resolves_peers_and_the_rest() {
    let network = Network::new(3);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(&network, 2);
    let mut options = Options::new(zones.path(), data.path());
    options.namespace = Some(network.name(0));
    options.listen = vec!["0.0.0.0:53".into()];
    // The first upstream does not exist, the second runs no resolver.
    let forward = ["10.77.0.99", "10.77.0.13", "10.77.0.12"];
    options.more = forward
        .iter()
        .flat_map(|to| ["--forward".into(), (*to).into()])
        .collect();
    let _service = Service::start_with(&options);
    network.resolver(
        1,
        "nameserver 10.77.0.1\nsearch test.internal\noptions attempts:1 timeout:5\n",
    );
    // A Swarm task: its host name comes from a template, and its resolver is the
    // service.
    let registered = network.run(1, &["dig", "+search", "+short", "TXT", "my_stack-2"]);
    assert_eq!(value_in(&registered, "id").unwrap(), "vp0");
    for name in ["vp0", "my_stack-2", "VP0.test.internal"] {
        let line = network.run(1, &["getent", "hosts", name]);
        assert!(line.starts_with("10.77.0.11 "), "{name}: {line}");
    }
    let asked = Instant::now();
    let public = network.run(1, &["getent", "ahostsv4", "public.example"]);
    assert!(public.starts_with("192.0.2.7 "), "{public}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    let six = dig(
        &network,
        1,
        &["+time=5", "+short", "AAAA", "public.example"],
    );
    assert_eq!(six, "2001:db8::7\n");
    let long = dig(&network, 1, &["+time=5", "+short", "TXT", "long.example"]);
    assert!(long.contains(&"x".repeat(250)), "{long}");
    let unknown = dig(&network, 1, &["+time=5", "A", "nobody.example"]);
    assert!(
        unknown.contains("NXDOMAIN") && unknown.contains(" ra;"),
        "{unknown}"
    );
    // A query without recursion is not forwarded.
    let iterative = dig(&network, 1, &["+norecurse", "A", "public.example"]);
    assert!(iterative.contains("REFUSED"), "{iterative}");
    drop(upstream);
    let dead = dig(&network, 1, &["+time=6", "A", "other.example"]);
    assert!(dead.contains("SERVFAIL"), "{dead}");
    let why = "10.77.0.12 gave no answer: Connection refused";
    assert!(dead.contains(why), "{dead}");
    // Names in the zones do not wait for an upstream.
    let line = network.run(1, &["getent", "hosts", "vp0"]);
    assert!(line.starts_with("10.77.0.11 "), "{line}");
}

#[test]
fn without_forward_a_stub_resolver_goes_on_to_its_next_server() {
    let network = Network::new(2);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let _upstream = Upstream::start(&network, 2);
    let _service = service_in(&network, zones.path(), data.path());
    network.resolver(1, "nameserver 10.77.0.1\nnameserver 10.77.0.12\n");
    let public = network.run(1, &["getent", "ahostsv4", "public.example"]);
    assert!(public.starts_with("192.0.2.7 "), "{public}");
}
