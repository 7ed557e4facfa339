//! The configuration file: mistakes in it, and access lists.

use std::fs;

use crate::common::certificates::Certificates;
use crate::common::{
    Options, PARAMD, Service, fails_with, rejected_configuration, run, shipped_zones, simple_zone,
    zones,
};

#[test]
fn mistakes_in_tls_are_shown_with_their_lines() {
    let certificates = Certificates::new();
    certificates.authority("ours");
    certificates.issue("server", "ours", "dns.test.internal");
    certificates.issue("other", "ours", "dns.test.internal");
    certificates.write("empty.pem", "");
    certificates.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let config = certificates.file("c.toml");
    let zones = shipped_zones();
    let arguments = [
        "check",
        "--zones",
        zones.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    let pair = "certificate = \"server.pem\"\nkey = \"server.key\"\n";
    for (text, expected) in [
        (
            "",
            &[
                "c.toml:1: [tls] has no `certificate`: write certificate =",
                "has no `key`",
            ][..],
        ),
        (
            "certificate = \"missing.pem\"\nkey = \"gone.key\"\n",
            &[
                "c.toml:2: ",
                "missing.pem cannot be read: No such file",
                "c.toml:3: ",
                "gone.key",
            ],
        ),
        (
            "certificate = \"empty.pem\"\nkey = \"empty.pem\"\n",
            &[
                "empty.pem has no certificate: ",
                "c.toml:3: ",
                "empty.pem has no private key: ",
            ],
        ),
        (
            "certificate = \"server.pem\"\nkey = \"other.key\"\n",
            &[
                "c.toml:3: ",
                "other.key is not the key of the first certificate in ",
            ],
        ),
        (
            "certificate = \"broken.pem\"\nkey = \"other.key\"\n",
            &["c.toml:2: ", "broken.pem has no usable certificate: "],
        ),
        (
            &format!("{pair}client_ca = \"server.key\"\n"),
            &["c.toml:4: ", "server.key has no certificate: "],
        ),
        (
            &format!("{pair}require_client_certificate = true\n"),
            &["c.toml:1: [tls] has no `client_ca`: write client_ca ="],
        ),
        (
            &format!("{pair}listen = [\"127.0.0.1:x\", \"host\"]\n"),
            &[
                "c.toml:4: invalid address `127.0.0.1:x`",
                "invalid address `host`",
            ],
        ),
        (
            &format!("{pair}listen = []\nport = 853\n"),
            &[
                "c.toml:4: `listen` is empty",
                "c.toml:5: unknown key `port` in [tls]",
            ],
        ),
    ] {
        fs::write(&config, format!("[tls]\n{text}")).unwrap();
        let said = fails_with(1, PARAMD, &arguments);
        for expected in expected {
            assert!(said.contains(expected), "{text}: {expected} in {said}");
        }
    }
    let absolute = certificates.path("server.key");
    let text = format!("[tls]\ncertificate = \"server.pem\"\nkey = \"{absolute}\"\n");
    fs::write(&config, text).unwrap();
    assert!(run(PARAMD, &arguments).contains("c.toml: OK"));
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let certificates = Certificates::new();
    certificates.authority("ours");
    certificates.issue("server", "ours", "dns.test.internal");
    let text = format!(
        "[tls]\nlisten = [\"{}\"]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n",
        taken.local_addr().unwrap()
    );
    certificates.write("c.toml", &text);
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(zones.path(), data.path());
    options.more = vec!["--config".into(), certificates.path("c.toml")];
    let said = Service::try_start(&options).err().unwrap();
    assert!(
        said.contains("another server uses the port") && said.contains("`listen` in [tls]"),
        "{said}"
    );
}

#[test]
fn mistakes_in_limits_are_shown_with_their_line() {
    for (line, expected) in [
        (
            "responses_per_second = -1",
            "`responses_per_second`: expected an integer from 0 to 1000000",
        ),
        (
            "responses_per_second = false",
            "`responses_per_second`: expected an integer from 0 to 1000000",
        ),
        ("slip = 11", "`slip`: expected an integer from 0 to 10"),
        (
            "new_hosts_per_source = \"many\"",
            "`new_hosts_per_source`: expected an integer from 0 to 1000000",
        ),
        (
            "new_host_every = \"0s\"",
            "`new_host_every` must be between 1s and 86400s",
        ),
        ("new_host_every = 1", "`new_host_every`: expected a string"),
        (
            "burst = 1",
            "unknown key `burst` in [limits]: expected one of responses_per_second, slip,",
        ),
    ] {
        let said = rejected_configuration(&format!("[limits]\n{line}\n"));
        assert!(said.contains(&format!("c.toml:2: {expected}")), "{said}");
    }
}

#[test]
fn access_lists_say_who_may_do_what() {
    let data = tempfile::tempdir().unwrap();
    let config = zones(&[(
        "paramd.toml",
        "[access]\nquery = [\"127.0.0.1\", \"127.0.0.2\"]\nregister = [\"127.0.0.1/32\"]\ntransfer = []\n",
    )]);
    let zones = shipped_zones();
    let mut options = Options::new(&zones, data.path());
    options.more = vec![
        "--config".into(),
        config.path().join("paramd.toml").to_string_lossy().into(),
    ];
    let service = Service::start_with(&options);
    let name = "a.pbft.fabric.internal".to_owned();
    assert_eq!(service.value(&name, "id").unwrap(), "vp0");
    for (from, rtype, name, expected) in [
        (
            "127.0.0.2",
            "TXT",
            "b.pbft.fabric.internal".to_owned(),
            "your network may not register",
        ),
        ("127.0.0.2", "A", name.clone(), "10.|127.0.0.1"),
        ("127.0.0.3", "A", name.clone(), "your network may not query"),
    ] {
        let answer = service.dig(&["-b", from, rtype, &name]);
        let expected = expected.split('|').next_back().unwrap();
        assert!(answer.contains(expected), "{from}: {answer}");
        if expected.starts_with("your") {
            assert!(answer.contains("EDE: 18 (Prohibited)"), "{answer}");
        }
    }
    let transfer = service.dig(&["AXFR", "pbft.fabric.internal"]);
    assert!(transfer.contains("Transfer failed"), "{transfer}");
}
