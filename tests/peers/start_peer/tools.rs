//! The tools that an image has: too old ones, broken ones, and those that
//! `Dockerfile.peer` adds.

use std::fs;
use std::process::Command;

use hickory_proto::op::ResponseCode;

use super::NETWORK;
use super::older_tools::{old_curl, old_dig};
use super::responder::{Answer, Peer, Responder};
use super::script::{Script, Shell, fake, seconds, until};

under_both_shells! {
    an_old_dig_is_named_at_once
    an_old_curl_is_named_where_a_network_is_to_be_joined
    no_network_is_joined_where_the_address_is_set
    a_broken_tool_is_named_at_once
    whatever_dig_says_instead_of_an_answer_is_told
    nothing_from_the_network_controls_the_terminal
    the_tools_of_the_folder_come_first
}

/// The one line that it says before it ends with status 1.
pub fn only_line(script: &mut Script) -> String {
    assert_eq!(script.end(), Some(1));
    let said = script.read("err");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!script.has("ran"));
    said
}

fn an_old_dig_is_named_at_once(shell: Shell) {
    let service = Responder::start(Peer::held_by(super::MINE));
    let dig = old_dig();
    let mut script = Script::start_among(shell, Some(&dig), service.port, "touch ran", &[]);
    let said = only_line(&mut script);
    assert!(script.started.elapsed() < seconds(5), "it waits");
    for part in [
        "DiG 9.9.5-3ubuntu0.19-Ubuntu",
        "+subnet",
        "BIND 9.10",
        "Dockerfile.peer",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(service.count("_env.h1"), 0);
}

fn an_old_curl_is_named_where_a_network_is_to_be_joined(shell: Shell) {
    let service = Responder::start(Peer::held_by(super::MINE));
    let curl = old_curl();
    let weave = [(NETWORK, "weave"), ("PARAM_ADDRESS", "")];
    let mut script = Script::start_among(shell, Some(&curl), service.port, "touch ran", &weave);
    let said = only_line(&mut script);
    for part in [
        "curl 7.35.0",
        "--unix-socket",
        "curl 7.40",
        "Dockerfile.peer",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let mut script = Script::start_among(shell, Some(&curl), service.port, "exit 5", &[]);
    assert_eq!(script.end(), Some(5), "{}", script.read("err"));
}

fn no_network_is_joined_where_the_address_is_set(shell: Shell) {
    let service = Responder::start(Peer::held_by(super::MINE));
    let weave = [(NETWORK, "weave"), ("PARAM_DOCKER_SOCKET", "/nowhere")];
    let mut script = Script::start(shell, service.port, "exit 5", &weave);
    assert_eq!(script.end(), Some(5), "{}", script.read("err"));
}

fn a_broken_tool_is_named_at_once(shell: Shell) {
    let complaint = "dig: error while loading shared libraries: libdns.so.100: \
        cannot open shared object file: No such file or directory";
    let dig = fake("dig", &format!("echo '{complaint}' >&2; exit 127"));
    let mut script = Script::start_among(shell, Some(&dig), 1, "touch ran", &[]);
    let said = only_line(&mut script);
    assert!(said.contains(complaint), "{said}");
    assert!(script.started.elapsed() < seconds(5), "it waits");
}

fn whatever_dig_says_instead_of_an_answer_is_told(shell: Shell) {
    for (words, told) in [
        ("printf '\\n\\tBus error\\033[2J\\n'", ".Bus error.[2J"),
        ("printf ';; a\\n;; b\\n'", "a"),
        ("exit 9", "dig says nothing"),
    ] {
        let text = format!("case \" $* \" in *' -v '*) exec REAL \"$@\" ;; esac\n{words}");
        let dig = fake("dig", &text);
        let once = [("PARAM_TIMEOUT", "0")];
        let mut script = Script::start_among(shell, Some(&dig), 1, "touch ran", &once);
        let said = only_line(&mut script);
        let expected = format!("giving up after 0 s: no answer from 127.0.0.1: {told}\n");
        assert!(said.ends_with(&expected), "{said}");
    }
}

/// Control characters of ASCII, and those of ISO 8859-1 in UTF-8.
fn nothing_from_the_network_controls_the_terminal(shell: Shell) {
    let evil = "a\u{1b}[2Jb\u{9b}2Jc\rd\u{7f}e\u{8}f";
    let service = Responder::start(Answer::Code(ResponseCode::Refused, evil));
    let mut script = Script::start(shell, service.port, "touch ran", &[]);
    until("it is refused", || script.said("REFUSED: a") == 1);
    service.say(Peer::held_by(evil));
    until("it is told no holder", || script.said("does not tell") == 1);
    service.say(Answer::Code(ResponseCode::NXDomain, evil));
    assert_eq!(script.end(), Some(1));
    assert_eq!(script.said("knows no h1.noops.fabric.internal (a"), 1);

    let variables = [format!("B{evil}=x").into_bytes(), b"CORE_A=b".to_vec()];
    let service = Responder::start(Peer::with(variables.to_vec()));
    let mut second = Script::start(shell, service.port, "exit 0", &[]);
    assert_eq!(second.end(), Some(0));
    assert_eq!(second.said("left out Ba"), 1);
    for script in [script, second] {
        let said = fs::read(script.dir.path().join("err")).unwrap();
        let printable = |byte: &u8| *byte == b'\n' || (b' '..=b'~').contains(byte);
        assert!(said.iter().all(printable), "{}", said.escape_ascii());
    }
}

fn the_tools_of_the_folder_come_first(shell: Shell) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/bundle_tools.sh");
    let made = folder.path().join("made");
    let status = Command::new(bundle)
        .arg(&made)
        .args(["dig", "curl"])
        .status();
    assert!(status.unwrap().success());
    let moved = folder.path().join("moved");
    fs::rename(made, &moved).unwrap();

    let service = Responder::start(Peer::held_by(super::MINE));
    let settings = [("PARAM_TOOLS", moved.to_str().unwrap())];
    let peer = "printf %s \"$PATH\"; exit 5";
    let dig = old_dig();
    let mut script = Script::start_among(shell, Some(&dig), service.port, peer, &settings);
    assert_eq!(script.end(), Some(5), "{}", script.read("err"));
    assert_eq!(script.read("out"), script.path);
    assert_eq!(service.stated(), ["10.0.1.5/32"]);
    let curl = Command::new(moved.join("bin/curl"))
        .arg("--version")
        .output();
    assert!(curl.unwrap().stdout.starts_with(b"curl "));
}
