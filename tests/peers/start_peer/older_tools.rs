//! Tools of earlier releases: each is the real one behind a script that ends, as that
//! release does, at every option which it does not know.
//!
//! An option that the start script begins to use is refused here until somebody has
//! looked up when it came, and has added it to a list.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use hickory_proto::op::ResponseCode;
use tempfile::TempDir;

use super::responder::{Answer, Peer, Responder};
use super::script::{SCRIPT, Script, Shell, fake, seconds};
use super::tools::only_line;
use crate::common::namespaces::{Network, dig, service_in};
use crate::common::{self, eventually, simple_zone, zones};

under_both_shells! {
    they_refuse_what_they_do_not_know
    tells_the_extended_errors_of_older_digs
    an_older_dig_goes_on_to_the_next_server
    an_older_dig_registers_renews_leaves_and_is_told_that_a_zone_is_full
}

/// The options of dig that the start script uses, and that BIND 9.9.5 has: patterns of
/// a shell.
const SINCE_9_9: &str = "-k | -p | -q | -t | +time=* | +tries=* | +nobesteffort | +noall | \
    +comments | +answer | +additional | +tcp | +search | +short";
/// And those that came with BIND 9.10.
const SINCE_9_10: &str = "+subnet=*";
/// The options of curl that the start script uses, and that curl 7.35 has.
const SINCE_7_35: &str = "--disable | --silent | --show-error | --noproxy | --max-time | \
    --request | --header | --data | --write-out";

/// A release of dig that knows these options. It runs `rest` after it has looked at its
/// arguments.
fn dig_of(version: &str, known: &str, rest: &str) -> TempDir {
    let text = r#"for argument; do
    case $argument in
        KNOWN) ;;
        -v)
            echo 'DiG VERSION' >&2
            exit 0
            ;;
        [+-]*)
            printf 'Invalid option: %s\n' "$argument" >&2
            cat >&2 <<'USAGE'
Usage:  dig [@global-server] [domain] [q-type] [q-class] {q-opt}
            {global-d-opt} host [@local-server] {local-d-opt}
            [ host [@local-server] {local-d-opt} [...]]

Use "dig -h" (or "dig -h | more") for complete list of options
USAGE
            exit 1
            ;;
    esac
done
"#;
    let text = text.replace("VERSION", version).replace("KNOWN", known);
    fake("dig", &(text + rest))
}

/// dig of BIND 9.9.5, as in Ubuntu 14.04.
pub fn old_dig() -> TempDir {
    let version = "9.9.5-3ubuntu0.19-Ubuntu";
    dig_of(version, SINCE_9_9, r#"exec REAL "$@""#)
}

/// curl 7.35, as in Ubuntu 14.04.
pub fn old_curl() -> TempDir {
    let text = r#"for argument; do
    case $argument in
        KNOWN) ;;
        -V | --version)
            echo 'curl 7.35.0 (x86_64-pc-linux-gnu) libcurl/7.35.0 OpenSSL/1.0.1f zlib/1.2.8'
            exit 0
            ;;
        -*)
            echo "curl: option $argument: is unknown" >&2
            echo "curl: try 'curl --help' or 'curl --manual' for more information" >&2
            exit 2
            ;;
    esac
done
exec REAL "$@""#;
    fake("curl", &text.replace("KNOWN", SINCE_7_35))
}

/// dig of BIND 9.10. Up to 9.16.9 it knows the option of extended errors only by its
/// number, and calls silence by another name. Some print the octets of the option. It
/// sends no cookie by itself.
fn older_dig(prints_octets: bool) -> TempDir {
    let octets = if prints_octets { "$octets" } else { "" };
    let rest = r#"REAL +nocookie "$@" | while IFS= read -r line; do
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
done"#;
    let known = format!("{SINCE_9_9} | {SINCE_9_10}");
    let rest = rest.replace("OCTETS", octets);
    dig_of("9.10.3-P4-Ubuntu", &known, &rest)
}

fn they_refuse_what_they_do_not_know(_: Shell) {
    for (folder, program, arguments, known) in [
        (old_dig(), "dig", ["+subnet=192.0.2.1/32", "-v"], false),
        (old_dig(), "dig", ["+noall", "-v"], true),
        (older_dig(true), "dig", ["+subnet=192.0.2.1/32", "-v"], true),
        (older_dig(true), "dig", ["+nocookie", "-v"], false),
        (older_dig(true), "dig", ["-r", "-v"], false),
        (old_curl(), "curl", ["--unix-socket", "--version"], false),
        (old_curl(), "curl", ["--silent", "--version"], true),
    ] {
        let program = folder.path().join(program);
        let output = common::attempt(program.to_str().unwrap(), &arguments);
        assert_eq!(output.status.success(), known, "{arguments:?}");
    }
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

/// A run of the script in a namespace, with its output in a file.
struct InNamespace {
    script: Child,
    folder: TempDir,
}

impl InNamespace {
    fn start(network: &Network, host: usize, shell: Shell, dig: &Path, timeout: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = fs::File::create(folder.path().join("said")).unwrap();
        let [program, arguments @ ..] = shell.command() else {
            unreachable!()
        };
        assert!(arguments.contains(&SCRIPT));
        let script = network
            .command(host, program)
            .args(arguments)
            .arg("10.77.0.1")
            .env("PATH", shell.path(Some(dig)))
            .env("PARAM_HOST", format!("peer-{host}"))
            .env("PARAM_ZONE", "test.internal")
            .env("PARAM_TOOLS", "/nowhere")
            .env(
                "PARAM_EXEC",
                "echo \"runs as $CORE_PEER_ID\"; exec sleep 100",
            )
            .env("PARAM_RENEW", "1")
            .env("PARAM_TIMEOUT", timeout)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { script, folder }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap()
    }
}

impl Drop for InNamespace {
    fn drop(&mut self) {
        // It may have ended already. The script ends its peer.
        let _ = common::attempt("kill", &["-s", "TERM", &self.script.id().to_string()]);
        let _ = self.script.wait();
    }
}

/// Without cookies, the service tells it by a truncated answer to use TCP.
fn an_older_dig_registers_renews_leaves_and_is_told_that_a_zone_is_full(shell: Shell) {
    let network = Network::new(2);
    let head = "lease = \"4s\"\nreclaim = \"never\"";
    let zones = zones(&[("t.toml", &simple_zone(head, "limit = 1"))]);
    let data = tempfile::tempdir().unwrap();
    let _service = service_in(&network, zones.path(), data.path());
    let older = older_dig(true);
    let start = |host, timeout| InNamespace::start(&network, host, shell, older.path(), timeout);
    let leads_to = || {
        let name = "vp0.test.internal";
        dig(&network, 0, &["@10.77.0.1", "+short", "A", name])
    };

    let mut first = start(1, "60");
    eventually(seconds(20), "it is registered", || {
        first.said().contains("runs as vp0")
    });
    // For longer than a lease.
    for _ in 0..6 {
        assert_eq!(leads_to(), "10.77.0.11\n", "{}", first.said());
        std::thread::sleep(seconds(1));
    }

    let mut second = start(2, "0");
    assert_eq!(second.script.wait().unwrap().code(), Some(1));
    let said = second.said();
    assert!(
        said.contains("REFUSED: all 1 numbers of vp are assigned"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");

    common::signal(first.script.id(), "TERM");
    assert_eq!(first.script.wait().unwrap().code(), Some(143));
    assert_eq!(leads_to(), "", "it has left: {}", first.said());
}
