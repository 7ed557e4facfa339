//! Signed messages (TSIG, RFC 8945), from another host, with the usual tools.

use std::{fs, path::PathBuf};

use crate::common::namespaces::Network;
use crate::common::{Options, PARAMD, Service, pipe, run, simple_zone, value_in, zones};

/// A service in namespace 0. It knows the keys `peers` and `admin` by their files
/// and `other` by its configuration; `keyed.internal` requires `peers` for
/// registration, and `admin` may transfer.
struct Field {
    service: Service,
    network: Network,
    directory: tempfile::TempDir,
    _zones: tempfile::TempDir,
    _data: tempfile::TempDir,
}

const OTHER: &str = "hmac-sha512:other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

impl Field {
    fn new() -> Self {
        let network = Network::new(2);
        let open = simple_zone("", "");
        let keyed = simple_zone("register_keys = [\"peers\"]", "");
        let zones = zones(&[
            ("open.toml", &open),
            (
                "keyed.toml",
                &keyed.replace("test.internal", "keyed.internal"),
            ),
        ]);
        let directory = tempfile::tempdir().unwrap();
        for (name, algorithm) in [("peers", "hmac-sha256"), ("admin", "hmac-sha384")] {
            let key = run("tsig-keygen", &["-a", algorithm, name]);
            fs::write(directory.path().join(name), key).unwrap();
        }
        // The same name with another secret.
        let forged = run("tsig-keygen", &["-a", "hmac-sha256", "peers"]);
        fs::write(directory.path().join("forged"), forged).unwrap();
        let stranger = run("tsig-keygen", &["stranger"]);
        fs::write(directory.path().join("stranger"), stranger).unwrap();
        let (_, secret) = OTHER.rsplit_once(':').unwrap();
        let config = directory.path().join("paramd.toml");
        let text = format!(
            "[keys]\nfiles = [\"peers\", \"admin\"]\n\
             [keys.other]\nalgorithm = \"hmac-sha512\"\nsecret = \"{secret}\"\n\
             [access]\ntransfer = [\"key:admin\"]\nquery = [\"10.77.0.11\", \"key:peers\", \"key:admin\"]\n"
        );
        fs::write(&config, text).unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec!["0.0.0.0:53".into()];
        options.more = vec!["--config".into(), config.to_str().unwrap().into()];
        let service = Service::start_with(&options);
        Self {
            service,
            network,
            directory,
            _zones: zones,
            _data: data,
        }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// `dig` from a host, by UDP only and without a cookie, so that only the
    /// signature verifies the source.
    fn dig(&self, host: usize, arguments: &[&str]) -> String {
        let base = [
            "dig",
            "@10.77.0.1",
            "+tries=1",
            "+time=3",
            "+ignore",
            "+nocookie",
        ];
        self.network.run(host, &[&base[..], arguments].concat())
    }

    fn peers(&self, zone: &str) -> String {
        let answer = self.dig(1, &["+short", "TXT", zone]);
        value_in(&answer, "peers").unwrap()
    }
}

/// Whether the answer is signed, and `dig` accepts the signature.
fn is_signed(answer: &str) -> bool {
    answer.contains("TSIG PSEUDOSECTION")
        && !answer.contains("Couldn't verify signature")
        && !answer.contains("Some TSIG could not be validated")
}

#[test]
fn a_good_signature_proves_the_source_and_signs_the_answer() {
    let field = Field::new();
    let peers = field.file("peers");
    let answer = field.dig(1, &["-k", &peers, "TXT", "a.test.internal"]);
    assert!(is_signed(&answer), "{answer}");
    assert!(
        answer.contains("(UDP)") && answer.contains("id=vp0"),
        "{answer}"
    );
    let answer = field.dig(1, &["-y", OTHER, "TXT", "b.test.internal"]);
    assert!(is_signed(&answer) && answer.contains("id=vp1"), "{answer}");
    // Reads, refusals and negative answers are signed as well.
    for (arguments, has) in [
        (["A", "vp0.test.internal"], "10.77.0.11"),
        (["A", "nobody.test.internal"], "NXDOMAIN"),
        (["A", "example.com"], "REFUSED"),
        (["TXT", "b.keyed.internal"], "REFUSED"),
    ] {
        let answer = field.dig(1, &[&["-y", OTHER][..], &arguments].concat());
        assert!(is_signed(&answer) && answer.contains(has), "{answer}");
    }
    // An unknown version, an unknown opcode, a flag without meaning.
    for option in ["+edns=7", "+opcode=9", "+zflag", "+ednsflags=0x100"] {
        let answer = field.dig(
            1,
            &["-y", OTHER, "+noednsneg", option, "SOA", "test.internal"],
        );
        assert!(is_signed(&answer), "{option}: {answer}");
    }
    let secret = fs::read_to_string(&peers).unwrap();
    let secret = secret.split('"').nth(3).unwrap().to_owned();
    let key = format!("hmac-sha256:peers:{secret}");
    let kdig = ["kdig", "@10.77.0.1", "-y", &key, "TXT", "c.test.internal"];
    let answer = field.network.run(1, &kdig);
    assert!(
        answer.contains("id=vp2") && !answer.contains("WARNING"),
        "{answer}"
    );
    // Both at once: a network that may not query may do so with a key.
    let answer = field.dig(2, &["TXT", "d.test.internal"]);
    assert!(answer.contains("REFUSED"), "{answer}");
    let answer = field.dig(2, &["-k", &peers, "TXT", "d.test.internal"]);
    assert!(is_signed(&answer) && answer.contains("id=vp3"), "{answer}");
}

#[test]
fn a_signature_that_is_not_good_is_refused_as_the_rfc_says() {
    let field = Field::new();
    let name = "a.test.internal";
    for (arguments, error) in [
        (vec!["-k", "stranger"], "BADKEY"),
        // The right name and secret, another algorithm.
        (
            vec![
                "-y",
                "hmac-sha256:other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            ],
            "BADKEY",
        ),
        (
            vec![
                "-y",
                "hmac-md5:other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            ],
            "BADKEY",
        ),
        (vec!["-k", "forged"], "BADSIG"),
        // The same key with a truncated MAC.
        (
            vec![
                "-y",
                "hmac-sha512-256:other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            ],
            "BADSIG",
        ),
    ] {
        let path = field.file(arguments[1]);
        let value = if arguments[0] == "-k" {
            &path
        } else {
            arguments[1]
        };
        for transport in ["+notcp", "+tcp"] {
            let answer = field.dig(1, &[arguments[0], value, transport, "TXT", name]);
            assert!(answer.contains("status: NOTAUTH"), "{error}: {answer}");
            assert!(answer.contains(error), "{error}: {answer}");
            assert!(!answer.contains("id="), "{answer}");
        }
    }
    // Clocks that differ too much, and clocks that do not.
    for (offset, error) in [
        ("-400s", "BADTIME"),
        ("+400s", "BADTIME"),
        ("-200s", ""),
        ("+200s", ""),
    ] {
        // kdig, since dig does not run under libfaketime.
        let kdig = [
            "faketime",
            "-f",
            offset,
            "kdig",
            "@10.77.0.1",
            "-y",
            OTHER,
            "TXT",
            name,
        ];
        let answer = field.network.run(1, &kdig);
        match error {
            "" => assert!(answer.contains("id=vp0"), "{answer}"),
            error => {
                assert!(answer.contains(error), "{answer}");
                assert!(answer.contains("ANSWER: 0"), "{answer}");
            }
        }
    }
    assert_eq!(field.peers("test.internal"), "1");
}

#[test]
fn a_zone_registers_only_who_signs_with_its_key() {
    let field = Field::new();
    let name = "a.keyed.internal";
    // By TCP as well, which verifies the source, and with another key.
    for arguments in [vec!["+tcp"], vec!["-y", OTHER], vec!["+tcp", "-y", OTHER]] {
        let answer = field.dig(1, &[&arguments[..], &["TXT", name]].concat());
        assert!(answer.contains("status: REFUSED"), "{answer}");
        assert!(answer.contains("EDE: 18 (Prohibited)"), "{answer}");
        assert!(answer.contains("a signature with its key"), "{answer}");
    }
    assert_eq!(field.peers("keyed.internal"), "0");
    let peers = field.file("peers");
    let answer = field.dig(1, &["-k", &peers, "TXT", name]);
    assert!(is_signed(&answer) && answer.contains("id=vp0"), "{answer}");
    assert_eq!(field.peers("keyed.internal"), "1");
}

#[test]
fn a_transfer_is_signed_message_by_message() {
    let field = Field::new();
    let dump: Vec<String> = (0..800)
        .map(|host| format!("update add pin-{host}.test.internal 0 TXT \"id=vp{host}\""))
        .collect();
    let commands = format!(
        "server 127.0.0.1\nzone test.internal\n{}\nsend\n",
        dump.join("\n")
    );
    let namespace = ["netns", "exec", field.network.name(0), "nsupdate", "-v"];
    let update = pipe("ip", &namespace, &commands);
    assert!(update.status.success(), "{update:?}");
    let admin = field.file("admin");
    let axfr = ["-t", "AXFR", "test.internal"];
    let answer = field.dig(1, &[&["-k", &admin][..], &axfr].concat());
    assert!(answer.contains("TSIG\thmac-sha384."), "{answer}");
    assert!(!answer.contains("Couldn't verify"), "{answer}");
    assert!(
        answer.contains("vp799") && answer.contains("XFR size"),
        "{answer}"
    );
    let messages = answer.split("messages ").nth(1).unwrap();
    let messages: u32 = messages.split(',').next().unwrap().parse().unwrap();
    assert!(messages > 1, "{messages}");
    let answer = field.dig(1, &[&["-y", OTHER][..], &axfr].concat());
    assert!(answer.contains("Transfer failed"), "{answer}");
    let answer = field.dig(1, &axfr);
    assert!(answer.contains("Transfer failed"), "{answer}");
    // The commands of the service sign as well, and verify the responses.
    for arguments in [
        vec!["dump", "test.internal"],
        vec!["dump", "test.internal", "--format", "json"],
        vec!["peers", "test.internal"],
    ] {
        let server = ["--server", "10.77.0.1", "--key", &admin];
        let all = [&[PARAMD][..], &arguments, &server].concat();
        assert!(field.network.run(1, &all).contains("pin-799"));
    }
    for (file, says) in [("stranger", "BADKEY"), ("peers", "may not transfer")] {
        let file = field.file(file);
        let mut command = field.network.command(1, PARAMD);
        let arguments = [
            "peers",
            "test.internal",
            "--server",
            "10.77.0.1",
            "--key",
            &file,
        ];
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(says), "{said}");
    }
    assert!(field.service.log().is_empty() || !field.service.log().contains("ERROR"));
}

#[test]
fn the_start_script_signs_with_its_key() {
    let field = Field::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/start_peer.sh");
    let start = |key: Option<&str>| {
        let mut command = field.network.command(1, "env");
        command.args([
            "PARAM_ZONE=keyed.internal",
            "PARAM_HOST=peer-1",
            "PARAM_TIMEOUT=2",
        ]);
        command.arg("PARAM_EXEC=echo started as $CORE_PEER_ID at $CORE_PEER_ADDRESS");
        if let Some(key) = key {
            command.arg(format!("PARAM_KEY_FILE={}", field.file(key)));
        }
        let output = command.args([script, "10.77.0.1"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), printed, said)
    };
    for (key, why) in [
        (None, "a signature with its key"),
        (Some("stranger"), "NOTAUTH"),
        (Some("forged"), "NOTAUTH"),
        (Some("admin"), "a signature with its key"),
        (Some("not-there"), "cannot read the key"),
    ] {
        let (status, printed, said) = start(key);
        assert_eq!(status, Some(1), "{key:?}: {said}");
        assert!(said.contains(why) && printed.is_empty(), "{key:?}: {said}");
    }
    let (status, printed, said) = start(Some("peers"));
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(printed, "started as vp0 at 10.77.0.11:7051\n", "{said}");
}
