//! TLS with client certificates, users, and mistakes in the configuration.

use std::fs;

use crate::{
    cluster::Cluster,
    common::{certificates::Certificates, rejected_configuration},
    replica::{Replica, assert_ids},
};

/// Certificates of etcd and of a client.
fn certificates() -> Certificates {
    let certificates = Certificates::new();
    certificates.authority("ca");
    certificates.issue_for_address("server", "ca", "127.0.0.1");
    certificates.issue("client", "ca", "paramd");
    certificates.authority("other");
    certificates.issue("stranger", "other", "paramd");
    certificates
}

#[test]
fn etcd_is_reached_by_tls_with_a_client_certificate() {
    let certificates = certificates();
    let path = |name: &str| certificates.path(name);
    let (ca, key) = (path("ca.pem"), path("server.key"));
    let certificate = path("server.pem");
    let server = [
        "--cert-file",
        &certificate,
        "--key-file",
        &key,
        "--client-cert-auth",
        "--trusted-ca-file",
        &ca,
    ];
    let client = [
        format!("--cacert={ca}"),
        format!("--cert={}", path("client.pem")),
        format!("--key={}", path("client.key")),
    ];
    let client = [&*client[0], &*client[1], &*client[2]];
    let cluster = Cluster::start_with(1, &server, &client, "https");
    let text = |ca: &str, own: &str| {
        format!(
            "ca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            path(&format!("{ca}.pem")),
            path(&format!("{own}.pem")),
            path(&format!("{own}.key"))
        )
    };
    let replica = Replica::with(&cluster, "one", &text("ca", "client"));
    let service = replica.start();
    assert_ids(service.address, &["a", "b"]);
    assert_eq!(service.terminate(), Some(0));
    // With TLS 1.3, a client may write before it is told that it was refused. It
    // then finds the connection closed, and may never see the alert.
    for (wrong, scheme, reason, logged) in [
        (
            text("other", "client"),
            "https",
            "its certificate was not issued by the CA in `ca` in [etcd]",
            "remote error: tls: unknown certificate authority",
        ),
        (
            text("ca", "stranger"),
            "https",
            "it may not accept the client certificate in [etcd]",
            "x509: certificate signed by unknown authority",
        ),
        (
            format!("ca = \"{ca}\"\n"),
            "https",
            "`certificate` and `key` in [etcd]",
            "client didn't provide a certificate",
        ),
        (
            String::new(),
            "http",
            "it may answer only by TLS, which takes `ca` in [etcd]",
            "first record does not look like a TLS handshake",
        ),
    ] {
        let before = cluster.log(0).len();
        let said = Replica::with(&cluster, "two", &wrong).refused();
        let member = format!("{scheme}://{}/: ", cluster.addresses()[0]);
        let start = format!("cannot use {}: {member}", cluster.store());
        let rest = said.split_once(&start);
        let (_, rest) = rest.unwrap_or_else(|| panic!("{start}: {said}"));
        assert!(rest.contains(reason), "{wrong}: {said}");
        assert!(!said.contains("check --store"), "{said}");
        let log = cluster.log(0).split_off(before);
        assert!(log.contains(logged), "{wrong}: {said}\n{log}");
    }
}

#[test]
fn an_etcd_without_tls_is_named_as_the_cause() {
    let cluster = Cluster::start(1);
    let certificates = certificates();
    let text = format!("ca = \"{}\"\n", certificates.path("ca.pem"));
    let said = Replica::with(&cluster, "one", &text).refused();
    assert!(said.contains("remove `ca` from [etcd]"), "{said}");
}

#[test]
fn etcd_is_reached_with_a_user_and_a_password() {
    let mut cluster = Cluster::start(1);
    cluster.ctl(&["user", "add", "root:secret"]);
    cluster.ctl(&["user", "grant-role", "root", "root"]);
    cluster.ctl(&["user", "add", "paramd:word"]);
    cluster.ctl(&["role", "add", "paramd"]);
    cluster.ctl(&[
        "role",
        "grant-permission",
        "paramd",
        "--prefix=true",
        "readwrite",
        "/paramd/",
    ]);
    cluster.ctl(&["user", "grant-role", "paramd", "paramd"]);
    cluster.ctl(&["auth", "enable"]);
    cluster.client = vec!["--user=root:secret".into()];
    let password = cluster.path("password");
    let text = format!(
        "user = \"paramd\"\npassword_file = \"{}\"\n",
        password.display()
    );
    fs::write(&password, "word\n").unwrap();
    let replica = Replica::with(&cluster, "one", &text);
    let service = replica.start();
    assert_ids(service.address, &["a", "b"]);
    // Its login becomes invalid.
    cluster.ctl(&["role", "add", "another"]);
    assert_ids(service.address, &["a", "b", "c"]);
    assert_eq!(service.terminate(), Some(0));
    fs::write(&password, "wrong\n").unwrap();
    let said = replica.refused();
    assert!(said.contains("authentication failed"), "{said}");
    assert!(!said.contains("wrong"), "{said}");
    let said = Replica::with(&cluster, "two", "").refused();
    assert!(
        said.contains("it requires `user` and `password_file` in [etcd]"),
        "{said}"
    );
    fs::write(&password, "word\n").unwrap();
    let elsewhere = format!("{text}prefix = \"/elsewhere\"\n");
    let said = Replica::with(&cluster, "two", &elsewhere).refused();
    assert!(said.contains("permission denied"), "{said}");
}

#[test]
fn mistakes_in_the_table_are_shown_with_their_lines() {
    for (text, expected) in [
        ("prefix = \"paramd\"", "c.toml:2: `prefix` starts with `/`"),
        (
            "prefix = \"/paramd/\"",
            "c.toml:2: `prefix` starts with `/`",
        ),
        (
            "lease = \"2s\"",
            "c.toml:2: `lease` must be between 3s and 3600s",
        ),
        ("ca = \"gone.pem\"", "gone.pem cannot be read: No such file"),
        (
            "ca = \"c.toml\"",
            "c.toml has no certificate: it must be PEM",
        ),
        (
            "key = \"c.toml\"",
            "c.toml:1: [etcd] has no `certificate`: write certificate = \"client.pem\"",
        ),
        (
            "certificate = \"c.toml\"",
            "c.toml:1: [etcd] has no `key`: write key = \"client.key\"",
        ),
        (
            "certificate = \"c.toml\"\nkey = \"c.toml\"",
            "c.toml:2: `certificate` needs `ca`",
        ),
        ("user = \"a\"", "c.toml:1: [etcd] has no `password_file`"),
        (
            "password_file = \"c.toml\"",
            "c.toml:1: [etcd] has no `user`: write user = \"paramd\"",
        ),
        (
            "endpoints = []",
            "c.toml:2: unknown key `endpoints` in [etcd]",
        ),
    ] {
        let said = rejected_configuration(&format!("[etcd]\n{text}\n"));
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn a_key_of_another_certificate_is_found_by_a_check() {
    let certificates = certificates();
    let path = |name: &str| certificates.path(name);
    let said = rejected_configuration(&format!(
        "[etcd]\nca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        path("ca.pem"),
        path("client.pem"),
        path("stranger.key")
    ));
    let expected = format!(
        "c.toml:4: {} is not the key of the first certificate in {}",
        path("stranger.key"),
        path("client.pem")
    );
    assert!(said.contains(&expected), "{said}");
}
