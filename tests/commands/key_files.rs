//! The files of TSIG keys that `tsig-keygen` writes.

use std::fs;

use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use param_daemon::{
    keys::{self, Key},
    settings::Problem,
};

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn parse(text: &str) -> Result<Vec<Key>, Problem> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    fs::write(&path, text).unwrap();
    keys::read(&path).map_err(|problems| {
        let [problem] = problems
            .try_into()
            .expect("only the first mistake is reported");
        problem
    })
}

#[test]
fn a_file_of_tsig_keygen_is_read() {
    let text = format!(
        "# two keys\nkey \"Peers\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n\
         // and\n/* an\nother */ key admin.example. {{ secret {SECRET}; algorithm HMAC-SHA512; }};"
    );
    let keys = parse(&text).unwrap();
    let names: Vec<String> = keys.iter().map(|key| key.name.to_string()).collect();
    assert_eq!(names, ["peers.", "admin.example."]);
    let algorithms: Vec<_> = keys.iter().map(|key| key.signer.algorithm()).collect();
    assert_eq!(
        algorithms,
        [&TsigAlgorithm::HmacSha256, &TsigAlgorithm::HmacSha512]
    );
    assert_eq!(keys[0].signer.key(), (0..32).collect::<Vec<u8>>());
}

#[test]
fn mistakes_are_reported_with_their_line() {
    for (text, line, expected) in [
        ("", 1, "there is no key"),
        (
            "key \"a\" {\n algorithm hmac-md5;\n secret \"SECRET\"; };",
            1,
            "unknown algorithm",
        ),
        (
            "\nkey \"a\" { algorithm hmac-sha256; secret \"???\"; };",
            2,
            "base64",
        ),
        (
            "\n\nkey \"a\" { algorithm hmac-sha256; secret \"AAAA\"; };",
            3,
            "bytes",
        ),
        ("key \"a\" {\n algorithm hmac-sha256;\n};", 1, "lacks its"),
        (
            "key \"a\" {\n algorithm hmac-sha256\n secret",
            3,
            "expected `;`",
        ),
        ("key \"a\" {\n", 1, "ends within"),
        ("options {\n};", 1, "expected `key`"),
        ("key \"a", 1, "not closed"),
        ("\n/* key", 2, "not closed"),
        ("key \"a\" { name x; };", 1, "unknown statement"),
    ] {
        let text = text.replace("SECRET", SECRET);
        let mistake = parse(&text).unwrap_err();
        assert!(
            mistake.line == Some(line) && mistake.message.contains(expected),
            "{text}: {mistake:?}"
        );
    }
    let key = format!("key a {{ algorithm hmac-sha256; secret {SECRET}; }};\n");
    let Problem { line, message, .. } = parse(&key.repeat(2)).unwrap_err();
    assert!(line == Some(2) && message.contains("twice"), "{message}");
}
