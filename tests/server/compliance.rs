//! The requirements of the RFCs, case by case, by UDP and by TCP.

use crate::common::{self, Options, Service, shipped_zones, zones};

const O: &str = "pbft.fabric.internal";

/// What the output of `dig` must contain, and what it must not contain.
struct Case {
    /// The section that requires it.
    rfc: &'static str,
    arguments: &'static [&'static str],
    has: &'static [&'static str],
    has_not: &'static [&'static str],
}

const fn case(
    rfc: &'static str,
    arguments: &'static [&'static str],
    has: &'static [&'static str],
    has_not: &'static [&'static str],
) -> Case {
    Case {
        rfc,
        arguments,
        has,
        has_not,
    }
}

const KEY: &str = "hmac-sha256:tester:AAECAwQFBgcICQoLDA0ODw==";
const OK: &str = "status: NOERROR";
const SOA: &[&str] = &["SOA", O];

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("1035 4.1.1", SOA, &[OK, "flags: qr aa rd", "ANSWER: 1"], &[]),
    case("1035 4.1.1: RD is copied", &["+norecurse", "SOA", O], &[OK, "flags: qr aa;"], &[]),
    case("1035 4.1.1: an unknown opcode", &["+opcode=15", "SOA", O], &["status: NOTIMP", "EDNS: version: 0"], &[]),
    case("1035 4.1.1: no question", &["+header-only", "+nocookie"], &["status: FORMERR"], &[]),
    case("1035 4.1.1: Z is ignored", &["+zflag", "SOA", O], &[OK, "ANSWER: 1"], &[]),
    case("1995 2", &["IXFR=1", "example.com"], &[], &["XFR size"]),
    case("1996 3.3: NOTIFY is not for a primary", &["+opcode=notify", "SOA", O], &["status: NOTIMP"], &[]),
    case("2136 3.1.2: an update of nothing", &["+opcode=update", "SOA", O], &["opcode: UPDATE", OK], &[]),
    case("2136 3.1.1: the zone's type", &["+opcode=update", "A", O], &["opcode: UPDATE", "status: FORMERR"], &[]),
    case("2136 3.1.2: another's zone", &["+opcode=update", "SOA", "example"], &["opcode: UPDATE", "status: NOTAUTH"], &[]),
    case("2308 2.1: a name that does not exist", &["A", "nobody.pbft.fabric.internal"], &["status: NXDOMAIN", "AUTHORITY: 1", "aa"], &[]),
    case("2308 2.2: a type that does not exist", &["MX", O], &[OK, "ANSWER: 0", "AUTHORITY: 1"], &[]),
    case("3225 3: DO is copied", &["+dnssec", "SOA", O], &[OK, "flags: do;"], &[]),
    case("3597 2: an unknown type", &["TYPE1000", O], &[OK, "ANSWER: 0", "AUTHORITY: 1"], &[]),
    case("3597 2: an unknown class", &[O, "A", "CLASS1000"], &["status: REFUSED"], &[]),
    case("4035 3.1.6: no AD", &["+adflag", "SOA", O], &[OK], &[" ad;"]),
    case("4035 3.1.6", &["+cdflag", "SOA", O], &[OK, "ANSWER: 1"], &[]),
    case("4892 2", &["id.server", "TXT", "CH"], &[OK, "\"here\""], &[]),
    case("4892 2", &["version.bind", "TXT", "CH"], &[OK, "\"paramd "], &[]),
    case("4892 2: nothing else", &["authors.bind", "TXT", "CH"], &["status: REFUSED"], &[]),
    case("5001 2.1", &["+nsid", "SOA", O], &[OK, "NSID: 68 65 72 65 (\"here\")"], &[]),
    case("5001 2.1: only for who asks", SOA, &[OK], &["NSID"]),
    case("5936 4.2: no transfer by UDP", &["+notcp", "+ignore", "-t", "AXFR", "-q", "example.com"], &[], &["XFR size"]),
    case("6891 6.1.1", SOA, &["EDNS: version: 0"], &[]),
    case("6891 7: no OPT without one", &["+noedns", "SOA", O], &[OK, "ANSWER: 1"], &["EDNS:"]),
    case("6891 6.1.3", &["+edns=1", "+noednsnegotiation", "SOA", O], &["status: BADVERS", "EDNS: version: 0"], &["SOA\tns"]),
    case("6891 6.1.3", &["+edns=100", "+noednsnegotiation", "+ednsopt=100", "SOA", O], &["status: BADVERS", "EDNS: version: 0"], &["OPT=100"]),
    case("6891 6.1.2: an unknown option", &["+ednsopt=100:abcd", "SOA", O], &[OK, "ANSWER: 1"], &["OPT=100"]),
    case("6891 6.1.4: an unknown flag", &["+ednsflags=0x40", "SOA", O], &[OK, "EDNS: version: 0, flags:;"], &["MBZ"]),
    case("6891 6.2.3: a small buffer", &["+bufsize=512", "SOA", O], &[OK, "ANSWER: 1"], &[]),
    case("6891 6.2.3: less than 512 is 512", &["+bufsize=100", "SOA", O], &[OK, "ANSWER: 1"], &[" tc"]),
    case("6891 6.2.5: our own buffer", &["+bufsize=4096", "SOA", O], &[OK, "udp: 1232"], &[]),
    case("7314 4: nobody's secondary", &["+expire", "SOA", O], &[OK, "ANSWER: 1"], &["EXPIRE"]),
    case("7828 3.2.1: keepalive is ignored", &["+keepalive", "SOA", O], &[OK, "ANSWER: 1"], &[]),
    case("7830 3: padding is ignored", &["+padding=128", "SOA", O], &[OK, "ANSWER: 1"], &[]),
    case("7871 7.2.1: scope 0", &["+subnet=192.0.2.0/24", "SOA", O], &[OK, "CLIENT-SUBNET: 192.0.2.0/24/0"], &[]),
    case("7871 6: nothing behind the prefix", &["+ednsopt=8:00011400c0001f", "TXT", "a.pbft.fabric.internal"], &["status: FORMERR"], &["id="]),
    case("7871 6: no more octets than the prefix needs", &["+ednsopt=8:00011800c0000200", "TXT", "a.pbft.fabric.internal"], &["status: FORMERR"], &["id="]),
    case("7871 6: an unknown family", &["+ednsopt=8:00630000", "SOA", O], &["status: FORMERR"], &[]),
    case("7873 5.2", &["+cookie", "SOA", O], &[OK, "(good)"], &[]),
    case("7873 5.4: no question but for a cookie", &["+header-only", "+cookie"], &[OK, "(good)", "ANSWER: 0"], &[]),
    case("7873 5.2.2: a malformed cookie", &["+nocookie", "+ednsopt=10:0102", "SOA", O], &["status: FORMERR"], &[]),
    case("8482 4.2", &["+notcp", "ANY", O], &[OK, "ANSWER: 1", "HINFO\t\"RFC8482\""], &[]),
    case("8906 8.1.3: everything at once", &["+edns=1", "+noednsnegotiation", "+ednsopt=100", "+ednsflags=0x80", "SOA", O], &["status: BADVERS"], &["OPT=100", "MBZ"]),
    case("8914 2", &["A", "www.example"], &["status: REFUSED", "EDE: 0 (Other)"], &[]),
    case("8945 5.2", &["-y", KEY, "SOA", O], &[OK, "ANSWER: 1", "NOERROR 0"], &["could not be validated"]),
    case("8945 5.2: with all else", &["-y", KEY, "+nsid", "+subnet=192.0.2.0/24", "+cookie", "+dnssec", "SOA", O], &[OK, "NSID", "(good)", "192.0.2.0/24/0"], &["could not be validated"]),
    case("8945 5.2: an error is signed", &["-y", KEY, "+edns=1", "+noednsnegotiation", "SOA", O], &["status: BADVERS", "NOERROR 0"], &["could not be validated"]),
    case("8945 5.2: without EDNS", &["-y", KEY, "+noedns", "A", "nobody.pbft.fabric.internal"], &["status: NXDOMAIN", "NOERROR 0"], &["could not be validated"]),
    case("8945 5.2.1: an unknown key", &["-y", "hmac-sha256:nobody:AAECAwQFBgcICQoLDA0ODw==", "SOA", O], &["status: NOTAUTH", "BADKEY"], &["SOA\tns"]),
    case("8945 5.2.1: another algorithm", &["-y", "hmac-sha512:tester:AAECAwQFBgcICQoLDA0ODw==", "SOA", O], &["status: NOTAUTH", "BADKEY"], &["SOA\tns"]),
    case("8945 5.2.2: another secret", &["-y", "hmac-sha256:tester:DwECAwQFBgcICQoLDA0ODw==", "SOA", O], &["status: NOTAUTH", "BADSIG"], &["SOA\tns"]),
    case("8945 5.2.2: no truncation is permitted", &["-y", "hmac-sha256-128:tester:AAECAwQFBgcICQoLDA0ODw==", "SOA", O], &["status: NOTAUTH", "BADSIG"], &["SOA\tns"]),
    case("9619 4", &["+header-only", "+noedns"], &["status: FORMERR"], &[]),
];

#[test]
fn every_case_has_the_outcome_that_the_rfcs_demand() {
    let data = tempfile::tempdir().unwrap();
    let config = zones(&[(
        "c.toml",
        "[identity]\nname = \"here\"\nversion = true\n[keys.tester]\nsecret = \"AAECAwQFBgcICQoLDA0ODw==\"\n",
    )]);
    let path = config.path().join("c.toml");
    let shipped = shipped_zones();
    let mut options = Options::new(&shipped, data.path());
    options.more = vec!["--config".into(), path.to_str().unwrap().into()];
    let service = Service::start_with(&options);
    let mut wrong = Vec::new();
    for case in CASES {
        for transport in ["+notcp", "+tcp"] {
            let says_which = case.arguments.contains(&"+notcp");
            if says_which && transport == "+tcp" {
                continue;
            }
            let answer = service.dig(&[&[transport][..], case.arguments].concat());
            let missing = case.has.iter().filter(|text| !answer.contains(**text));
            let unwanted = case.has_not.iter().filter(|text| answer.contains(**text));
            for text in missing.chain(unwanted) {
                wrong.push(format!("RFC {} {transport}: {text}\n{answer}", case.rfc));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_service_tells_nothing_of_itself_by_default() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    for name in [
        "id.server",
        "version.bind",
        "hostname.bind",
        "version.server",
    ] {
        let answer = service.dig(&[name, "TXT", "CH"]);
        assert!(answer.contains("status: REFUSED"), "{answer}");
    }
    let answer = service.dig(&["+nsid", "SOA", O]);
    assert!(!answer.contains("NSID"), "{answer}");
}

/// The longest reply without a record: all options, a long name, and an extended
/// error.
#[test]
fn no_reply_is_longer_than_the_client_takes() {
    let origin = format!("{}.{}", "o".repeat(55), "p".repeat(62));
    let zone = common::simple_zone("", "").replace("test.internal", &origin);
    let zones = zones(&[("z.toml", &zone)]);
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("paramd.toml");
    let name = "n".repeat(255);
    let text = format!("[access]\nregister = []\n[identity]\nname = \"{name}\"\n");
    std::fs::write(&config, text).unwrap();
    let mut options = Options::new(zones.path(), data.path());
    options.more = vec!["--config".into(), config.to_str().unwrap().into()];
    let service = Service::start_with(&options);
    let host = format!("_env.{}.mixed.{origin}", "h".repeat(63));
    let ask = |octets: &str| {
        service.dig(&[
            "+nsid",
            "+cookie=0102030405060708",
            "+subnet=fd00::5/128",
            "+notcp",
            octets,
            "TXT",
            &host,
        ])
    };
    for (octets, limit) in [("+bufsize=512", 512), ("+bufsize=1232", 1232)] {
        let answer = ask(octets);
        assert!(answer.contains("REFUSED"), "{answer}");
        assert!(answer.contains("may not register"), "{answer}");
        assert_eq!(answer.contains("NSID"), limit > 512, "{answer}");
        let size = answer
            .lines()
            .find_map(|it| it.strip_prefix(";; MSG SIZE  rcvd: "));
        let size: usize = size.unwrap().trim().parse().unwrap();
        assert!(size <= limit, "{answer}");
    }
}
