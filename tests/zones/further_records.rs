//! The additional records of a zone, from its master file: what is answered and
//! dumped, and what does not belong in the zone.

use crate::common::{self, PARAMD, fails_with, run, simple_zone, zones};

#[test]
fn a_master_file_adds_records() {
    let zone = simple_zone("records = \"further.zone\"", "");
    let further = "; the member services\nmembersrvc 300 IN A 10.0.0.9\n\
                   ca IN CNAME membersrvc\na.deep IN TXT \"say \\\"hi\\\"; now\"\n@ IN MX 10 membersrvc\n";
    let zones = zones(&[("z.toml", &zone), ("further.zone", further)]);
    let data = tempfile::tempdir().unwrap();
    let service = common::Service::start(zones.path(), data.path());
    assert_eq!(
        service.short(&["A", "MemberSrvc.test.internal"]),
        ["10.0.0.9"]
    );
    assert_eq!(
        service.short(&["A", "ca.test.internal"])[0],
        "membersrvc.test.internal."
    );
    assert_eq!(
        service.short(&["MX", "test.internal"]),
        ["10 membersrvc.test.internal."]
    );
    assert!(service.short(&["TXT", "test.internal"])[0].contains("peers=0"));
    assert!(
        service
            .dig(&["A", "deep.test.internal"])
            .contains("NOERROR")
    );
    // The name belongs to the file, so it does not register anyone.
    let answer = service.dig(&["TXT", "membersrvc.test.internal"]);
    assert!(answer.contains("ANSWER: 0"), "{answer}");
    let answer = service.dig(&["TXT", "membersrvc.mixed.test.internal"]);
    assert!(answer.contains("NXDOMAIN"), "{answer}");
    let dump = run(
        PARAMD,
        &[
            "dump",
            "test.internal",
            "--server",
            &service.address.to_string(),
        ],
    );
    assert!(dump.contains("\"say \\\"hi\\\"; now\""), "{dump}");
    let checked = common::pipe("named-checkzone", &["test.internal", "/dev/stdin"], &dump);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn names_of_another_alphabet_are_dumped_as_they_are_asked_for() {
    let zone = simple_zone("records = \"further.zone\"", "");
    let further = "xn--bcher-kva IN A 10.0.0.9\nca IN CNAME xn--bcher-kva\n\
                   @ IN MX 10 xn--bcher-kva\n_ca._tcp.x IN SRV 0 0 7054 xn--bcher-kva\n";
    let zones = zones(&[("z.toml", &zone), ("further.zone", further)]);
    let data = tempfile::tempdir().unwrap();
    let service = common::Service::start(zones.path(), data.path());
    let encoded = "xn--bcher-kva.test.internal.";
    assert_eq!(service.short(&["A", encoded]), ["10.0.0.9"]);
    let server = service.address.to_string();
    let dump = run(PARAMD, &["dump", "test.internal", "--server", &server]);
    assert!(dump.is_ascii(), "{dump}");
    for line in [
        format!("{encoded}\t5\tIN\tA\t10.0.0.9\n"),
        format!("CNAME\t{encoded}\n"),
        format!("MX\t10 {encoded}\n"),
        format!("SRV\t0 0 7054 {encoded}\n"),
    ] {
        assert!(dump.contains(&line), "{line:?} in {dump}");
    }
}

#[test]
fn mistakes_in_a_master_file_are_shown() {
    let zone = simple_zone("records = \"further.zone\"", "");
    for (further, expected) in [
        (
            "ok IN A 10.0.0.1\nbad IN A 10.0.0.256\n",
            "further.zone:2: ",
        ),
        ("bad IN NOSUCHTYPE x\n", "further.zone:1: "),
        ("vp0 IN A 10.0.0.1\n", "is reserved for peers"),
        ("vp01 IN A 10.0.0.1\n", "is reserved for peers"),
        ("mixed IN A 10.0.0.1\n", "is reserved for peers"),
        ("x.mixed IN A 10.0.0.1\n", "is reserved for peers"),
        ("_env.x IN A 10.0.0.1\n", "is reserved for peers"),
        ("* IN A 10.0.0.1\n", "is a wildcard"),
        (
            "other.example. IN A 10.0.0.1\n",
            "is not below the origin test.internal",
        ),
        ("@ IN SOA a b 1 2 3 4 5\n", "the service generates it"),
        ("sub IN NS ns.sub\n", "is delegated"),
        ("@ IN TXT \"x\"\n", "would hide the service's own"),
        (
            "x IN CNAME y\nx IN A 10.0.0.1\n",
            "further.zone:2: x.test.internal. has a CNAME and other records",
        ),
        (
            "b\u{fc}cher IN A 10.0.0.1\n",
            "further.zone:1: `b\u{fc}cher` is not ASCII: write xn--bcher-kva",
        ),
    ] {
        let zones = zones(&[("z.toml", &zone), ("further.zone", further)]);
        let path = zones.path().to_str().unwrap();
        let said = fails_with(1, PARAMD, &["check", "--zones", path]);
        assert!(said.contains("further.zone"), "{further}: {said}");
        assert!(said.contains(expected), "{further}: {said}");
    }
    let missing = zones(&[("z.toml", &zone)]);
    let said = fails_with(
        1,
        PARAMD,
        &["check", "--zones", missing.path().to_str().unwrap()],
    );
    assert!(said.contains("further.zone: cannot be read"), "{said}");
}

#[test]
fn a_mistake_at_the_end_of_a_long_master_file_is_found_at_once() {
    let mut further: String = (0..20_000)
        .map(|it| format!("h{it} A 10.0.0.1\n"))
        .collect();
    further.push_str("bad A 10.0.0.256\nlast A 10.0.0.1\n");
    let zone = simple_zone("records = \"further.zone\"", "");
    let zones = zones(&[("z.toml", &zone), ("further.zone", &further)]);
    let path = zones.path().to_str().unwrap();
    let said = fails_with(1, PARAMD, &["check", "--zones", path]);
    assert!(said.contains("further.zone:20001: "), "{said}");
}

#[test]
fn aliases_are_followed_within_the_zone() {
    let zone = simple_zone("records = \"further.zone\"", "");
    let further = "www IN CNAME memb\nmemb IN CNAME vp0\nfar IN CNAME www.example.\n\
                   a IN CNAME b\nb IN CNAME a\nnone IN CNAME nobody\n";
    let zones = zones(&[("z.toml", &zone), ("further.zone", further)]);
    let data = tempfile::tempdir().unwrap();
    let service = common::Service::start(zones.path(), data.path());
    service.value("h.test.internal", "id").unwrap();
    let followed = service.short(&["A", "www.test.internal"]);
    assert_eq!(
        followed,
        ["memb.test.internal.", "vp0.test.internal.", "127.0.0.1"]
    );
    assert_eq!(
        service.short(&["CNAME", "www.test.internal"]),
        ["memb.test.internal."]
    );
    assert_eq!(service.short(&["A", "far.test.internal"]), ["www.example."]);
    let circle = service.dig(&["A", "a.test.internal"]);
    assert!(circle.contains("NOERROR"), "{circle}");
    let none = service.dig(&["A", "none.test.internal"]);
    assert!(
        none.contains("NXDOMAIN") && none.contains("CNAME\tnobody"),
        "{none}"
    );
}

#[test]
fn a_dump_has_every_type_as_the_tools_read_it() {
    let zone = simple_zone("records = \"further.zone\"", "");
    let further = "h IN HINFO \"a b\" \"c \\\"d\\\"\"\nc IN CAA 0 issue \"ca.example\"\n\
                   n IN NAPTR 1 2 \"S\" \"x y\" \"\" _grpc._tcp\n\
                   k IN SSHFP 1 1 dd465c09cfa51fb45020cc83316fff21b9ec74ac\n";
    let zones = zones(&[("z.toml", &zone), ("further.zone", further)]);
    let data = tempfile::tempdir().unwrap();
    let service = common::Service::start(zones.path(), data.path());
    let server = service.address.to_string();
    let dump = run(PARAMD, &["dump", "test.internal", "--server", &server]);
    let read = common::pipe(
        "named-compilezone",
        &["-o", "-", "test.internal", "/dev/stdin"],
        &dump,
    );
    let text = String::from_utf8(read.stdout).unwrap();
    assert!(read.status.success(), "{dump}");
    for line in [
        "HINFO \"a b\" \"c \\\"d\\\"\"",
        "CAA 0 issue \"ca.example\"",
        "NAPTR 1 2 \"S\" \"x y\" \"\" _grpc._tcp.test.internal.",
        "SSHFP 1 1 DD465C09",
    ] {
        let line = line.replace(' ', "");
        let text: String = text.split_whitespace().collect();
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[test]
fn a_master_file_cannot_take_the_name_of_a_registered_host() {
    let data = tempfile::tempdir().unwrap();
    let plain = zones(&[("z.toml", &simple_zone("", ""))]);
    let service = common::Service::start(plain.path(), data.path());
    service.value("membersrvc.test.internal", "id").unwrap();
    drop(service);
    let zone = simple_zone("records = \"further.zone\"", "");
    let zones = zones(&[
        ("z.toml", &zone),
        ("further.zone", "membersrvc IN A 10.0.0.9\n"),
    ]);
    let options = common::Options::new(zones.path(), data.path());
    let said = common::Service::try_start(&options).map(drop).unwrap_err();
    assert!(
        said.contains("membersrvc holds vp0, and is a name of the zone's master file"),
        "{said}"
    );
}
