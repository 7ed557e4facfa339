//! The tools that an image has: old ones, broken ones, and those that
//! `Dockerfile.peer` adds.

use std::fs;
use std::process::Command;

use hickory_proto::op::ResponseCode;
use tempfile::TempDir;

use super::NETWORK;
use super::responder::{Answer, Peer, Responder};
use super::script::{Script, Shell, fake, seconds, until};

under_both_shells! {
    an_old_dig_is_named_at_once
    an_old_curl_is_named_where_a_network_is_to_be_joined
    no_network_is_joined_where_the_address_is_set
    a_broken_tool_is_named_at_once
    whatever_dig_says_instead_of_an_answer_is_told
    nothing_from_the_network_controls_the_terminal
    tells_the_extended_errors_of_older_digs
    an_older_dig_goes_on_to_the_next_server
    the_tools_of_the_folder_come_first
}

/// dig of BIND 9.9.5, as in Ubuntu 14.04, where `+subnet` is concerned.
fn old_dig() -> TempDir {
    fake(
        "dig",
        r#"for argument; do
    case $argument in
        +subnet=*)
            printf 'Invalid option: %s\n' "$argument" >&2
            cat >&2 <<'USAGE'
Usage:  dig [@global-server] [domain] [q-type] [q-class] {q-opt}
            {global-d-opt} host [@local-server] {local-d-opt}
            [ host [@local-server] {local-d-opt} [...]]

Use "dig -h" (or "dig -h | more") for complete list of options
USAGE
            exit 1
            ;;
        -v)
            echo 'DiG 9.9.5-3ubuntu0.19-Ubuntu' >&2
            exit 0
            ;;
    esac
done
exec REAL "$@""#,
    )
}

/// curl 7.35, as in Ubuntu 14.04.
fn old_curl() -> TempDir {
    fake(
        "curl",
        r#"for argument; do
    case $argument in
        --unix-socket)
            echo 'curl: option --unix-socket: is unknown' >&2
            echo "curl: try 'curl --help' or 'curl --manual' for more information" >&2
            exit 2
            ;;
        -V | --version)
            echo 'curl 7.35.0 (x86_64-pc-linux-gnu) libcurl/7.35.0 OpenSSL/1.0.1f zlib/1.2.8'
            exit 0
            ;;
    esac
done
exec REAL "$@""#,
    )
}

/// The one line that it says before it ends with status 1.
fn only_line(script: &mut Script) -> String {
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

/// dig of BIND 9.10 to 9.16.9, which knows the option of extended errors only by its
/// number, and calls silence by another name. Some print the octets of the option.
fn older_dig(prints_octets: bool) -> TempDir {
    let octets = if prints_octets { "$octets" } else { "" };
    fake(
        "dig",
        &r#"case " $* " in *' -v '*) exec REAL "$@" ;; esac
REAL "$@" | while IFS= read -r line; do
    case $line in
        '; EDE: '*)
            text=${line#*: (}
            text=${text%?}
            octets=$(printf '\0\22%s' "$text" | od -An -v -tx1 | tr -d '\n')
            printf '; OPT=15:%s ("..%s")\n' "OCTETS" "$text"
            ;;
        ';; communications error '*) ;;
        ';; no servers could be reached')
            echo ';; connection timed out; no servers could be reached'
            ;;
        *) printf '%s\n' "$line" ;;
    esac
done"#
            .replace("OCTETS", octets),
    )
}

fn tells_the_extended_errors_of_older_digs(shell: Shell) {
    let why = "all \"4\" numbers (vp) are taken; the next is free in 17 s";
    for prints_octets in [true, false] {
        let dig = older_dig(prints_octets);
        let service = Responder::start(Answer::Code(ResponseCode::Refused, why));
        let once = [("PARAM_TIMEOUT", "0")];
        let mut script = Script::start_among(shell, Some(&dig), service.port, "touch ran", &once);
        let said = only_line(&mut script);
        let expected = format!(": 127.0.0.1 answers REFUSED: {why}\n");
        assert!(said.ends_with(&expected), "{said}");
    }
}

fn an_older_dig_goes_on_to_the_next_server(shell: Shell) {
    let failing = Answer::Code(ResponseCode::ServFail, "no quorum");
    for (answer, why) in [
        (failing, "127.0.0.1 answers SERVFAIL: no quorum"),
        (
            Answer::Silence,
            "no answer from 127.0.0.1: connection timed out; no servers could be reached",
        ),
    ] {
        let [first, second] = Responder::several([answer, Peer::held_by(super::MINE)]);
        let (dig, at) = (older_dig(true), ("127.0.0.1,127.0.0.2", first.port));
        let mut script = Script::start_with(shell, Some(&dig), at, "exit 5", &[]);
        assert_eq!(script.end(), Some(5), "{}", script.read("err"));
        let why = format!("going on with 127.0.0.2: {why}\n");
        assert_eq!(script.said(&why), 1, "{}", script.read("err"));
        assert_eq!((first.queries(), second.count("_leave.h1")), (1, 1));
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
