//! EDNS options beside those that registering needs: questions for a cookie alone,
//! how long a connection may be idle, padding.

use std::fs;

use crate::common::certificates::Certificates;
use crate::common::{Options, Service, attempt, simple_zone, zones};
use tempfile::TempDir;

struct Field {
    service: Service,
    certificates: Certificates,
    _zones: TempDir,
    _data: TempDir,
}

impl Field {
    /// A service that answers by UDP, TCP and TLS.
    fn new() -> Self {
        let certificates = Certificates::new();
        certificates.authority("ours");
        certificates.issue("server", "ours", "dns.test.internal");
        fs::write(
            certificates.file("c.toml"),
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
             listen = [\"127.0.0.1:0\"]\n[keys.admin]\nalgorithm = \"hmac-sha256\"\n\
             secret = \"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYw==\"\n",
        )
        .unwrap();
        let zones = zones(&[("t.toml", &simple_zone("", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.more = vec!["--config".into(), certificates.path("c.toml")];
        Self {
            service: Service::start_with(&options),
            certificates,
            _zones: zones,
            _data: data,
        }
    }

    /// `dig` by TLS.
    fn dig_by_tls(&self, arguments: &[&str]) -> String {
        let port = self.service.tls[0].port().to_string();
        let authority = format!("+tls-ca={}", self.certificates.path("ours.pem"));
        let name = "+tls-hostname=dns.test.internal";
        let base = ["@127.0.0.1", "-p", &port, "+tls", &authority, name];
        let output = attempt("dig", &[&base[..], arguments].concat());
        String::from_utf8(output.stdout).unwrap()
    }
}

/// How many octets `dig` has received.
fn size(answer: &str) -> usize {
    let (_, rest) = answer.split_once("MSG SIZE  rcvd: ").expect(answer);
    rest.lines().next().unwrap().trim().parse().unwrap()
}

/// The cookie that `dig` has received: 16 digits of its own, and the server's.
fn cookie(answer: &str) -> String {
    let (_, rest) = answer.split_once("; COOKIE: ").expect(answer);
    rest.split_whitespace().next().unwrap().to_owned()
}

/// RFC 7873, section 5.4.
#[test]
fn a_message_without_a_question_asks_for_a_cookie() {
    let field = Field::new();
    let ask = |options: &[&str]| {
        let base = ["+header-only", "+nobadcookie"];
        field.service.dig(&[&base[..], options].concat())
    };
    let answer = ask(&["+cookie"]);
    assert!(answer.contains("status: NOERROR"), "{answer}");
    assert!(answer.contains("(good)"), "{answer}");
    assert!(answer.contains("QUERY: 0, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1"));
    let given = cookie(&answer);
    assert_eq!(given.len(), 48, "{answer}");
    let answer = ask(&[&format!("+cookie={given}")]);
    assert!(answer.contains("status: NOERROR"), "{answer}");
    // One that the service has not made.
    let wrong = format!("+cookie={}{}", &given[..16], "0".repeat(32));
    let answer = ask(&[&wrong]);
    assert!(answer.contains("status: BADCOOKIE"), "{answer}");
    assert_eq!(cookie(&answer).len(), 48, "{answer}");
    // Without a cookie it asks for nothing.
    let answer = ask(&["+nocookie"]);
    assert!(answer.contains("status: FORMERR"), "{answer}");
}

/// RFC 7828.
#[test]
fn a_connection_is_told_how_long_it_may_be_idle() {
    let field = Field::new();
    let told = "; TCP KEEPALIVE: 10.0 secs";
    // Also in an answer that registers, and in an error.
    for name in ["test.internal", "a.test.internal", "a.elsewhere.internal"] {
        let answer = field.service.dig(&["+tcp", "+keepalive", "TXT", name]);
        assert!(answer.contains(told), "{answer}");
    }
    let answer = field.dig_by_tls(&["+keepalive", "TXT", "test.internal"]);
    assert!(answer.contains(told), "{answer}");
    // Nobody else is told.
    let answer = field.service.dig(&["+tcp", "TXT", "test.internal"]);
    assert!(!answer.contains("KEEPALIVE"), "{answer}");
    let answer = field.service.dig(&["+keepalive", "TXT", "test.internal"]);
    assert!(answer.contains("NOERROR"), "{answer}");
    assert!(!answer.contains("KEEPALIVE"), "{answer}");
}

/// RFC 7830; RFC 8467, section 4.1.
#[test]
fn answers_by_tls_are_padded_where_the_query_is() {
    let field = Field::new();
    let key = "hmac-sha256:admin:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYw==";
    for name in [
        "test.internal",
        "a.test.internal",
        "_env.a.test.internal",
        "b.elsewhere.internal",
    ] {
        for signed in [&[][..], &["-y", key]] {
            let padded = ["+padding=128", "TXT", name];
            let answer = field.dig_by_tls(&[&padded[..], signed].concat());
            assert_eq!(size(&answer) % 468, 0, "{answer}");
            assert!(answer.contains("; PAD: "), "{answer}");
            assert!(!answer.contains("Couldn't verify"), "{answer}");
        }
        let answer = field.dig_by_tls(&["TXT", name]);
        assert!(!answer.contains("PAD: "), "{answer}");
    }
    // In clear text it would be of no use.
    let answer = field
        .service
        .dig(&["+tcp", "+padding=128", "TXT", "a.test.internal"]);
    assert!(answer.contains("NOERROR"), "{answer}");
    assert!(!answer.contains("PAD: "), "{answer}");
}
