//! The health check, and terminal output of data from a malicious server.

use std::{fs, io::Read as _, io::Write as _, net::TcpListener, thread};

use crate::common::{
    self, Options, PARAMD, Service, attempt, fails_with, run, shipped_zones, signal, simple_zone,
    zones,
};
use hickory_proto::{
    op::{Edns, Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::opt::EdnsOption,
        rdata::{SOA, TXT},
    },
};

/// Docker kills a service whose health check fails, so no access list and no
/// limit may make it fail.
#[test]
fn it_passes_whatever_the_lists_say_while_the_service_answers() {
    let zones = shipped_zones();
    let data = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("paramd.toml");
    let limits = "[limits]\nresponses_per_second = 1\nslip = 0\n";
    fs::write(
        &config,
        format!("[access]\nquery = [\"10.0.0.0/8\"]\n{limits}"),
    )
    .unwrap();
    let mut options = Options::new(&zones, data.path());
    options.more = vec!["--config".into(), config.to_str().unwrap().into()];
    let service = Service::start_with(&options);
    let path = data.path().to_str().unwrap();
    for _ in 0..20 {
        run(PARAMD, &["health", "--data", path]);
    }
    signal(service.child.id(), "STOP");
    let said = fails_with(1, PARAMD, &["health", "--data", path]);
    assert!(said.contains("does not respond"), "{said}");
    signal(service.child.id(), "CONT");
    common::eventually(
        std::time::Duration::from_secs(5),
        "it answers again",
        || {
            attempt(PARAMD, &["health", "--data", path])
                .status
                .success()
        },
    );
    service.kill();
    let said = fails_with(1, PARAMD, &["health", "--data", path]);
    assert!(said.contains("is it running?"), "{said}");
    let said = fails_with(1, PARAMD, &["health", "--data", "/nowhere"]);
    assert!(said.contains("there is no data directory"), "{said}");
}

#[test]
fn check_warns_where_the_lists_shut_a_health_check_by_dns_out() {
    let zones = shipped_zones();
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("paramd.toml");
    let check = |access: &str| {
        fs::write(&config, format!("[access]\n{access}\n")).unwrap();
        let [zones, config] = [&zones, &config].map(|path| path.to_str().unwrap());
        let arguments = ["check", "--zones", zones, "--config", config];
        let output = attempt(PARAMD, &arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for access in ["", "query = [\"127.0.0.0/8\"]", "register = []"] {
        assert_eq!(check(access), "", "{access}");
    }
    for access in ["query = [\"10.0.0.0/8\"]", "query = []"] {
        let said = check(access);
        assert!(
            said.contains("paramd.toml: warning: `query` in [access] does not allow 127.0.0.1"),
            "{said}"
        );
    }
}

#[test]
fn only_the_signals_that_should_end_the_service_do() {
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(&shipped_zones(), data.path());
    for name in ["HUP", "QUIT", "USR1", "USR2"] {
        signal(service.child.id(), name);
        common::eventually(std::time::Duration::from_secs(5), "the log says it", || {
            service.log().contains(&format!("SIG{name} is ignored"))
        });
    }
    assert_eq!(service.short(&["TXT", "pbft.fabric.internal"]).len(), 1);
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn a_host_changes_only_so_often() {
    let zones = zones(&[("t.toml", &simple_zone("", ""))]);
    let data = tempfile::tempdir().unwrap();
    let service = Service::start(zones.path(), data.path());
    let ask = |name: &str, address: usize| {
        let subnet = format!("+subnet=10.0.0.{address}/32");
        service.dig(&["TXT", &format!("{name}.test.internal"), &subnet])
    };
    let mut refused = String::new();
    for round in 1..30 {
        let registered = ask("restless", round);
        let left = ask("_leave.restless", round);
        refused = [registered, left].concat();
        if refused.contains("REFUSED") {
            assert!(round > 10, "too soon: {refused}");
            break;
        }
    }
    assert!(
        refused.contains("too often: it may do so once every 5s"),
        "{refused}"
    );
    // Another host is not affected, and its heartbeats are not changes.
    for _ in 0..50 {
        assert!(ask("calm", 99).contains("id=vp1"));
    }
}

/// A TCP server that sends terminal escapes wherever possible.
fn hostile_server(refuses: bool) -> String {
    const ESCAPE: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\nparamd: forged";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            let query = Message::from_vec(&query).unwrap();
            let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
            reply.metadata.message_type = MessageType::Response;
            reply.add_query(query.queries[0].clone());
            let origin = query.queries[0].name().clone();
            if refuses {
                reply.metadata.response_code = ResponseCode::Refused;
                let mut edns = Edns::new();
                let text = [&[0, 0], ESCAPE.as_bytes()].concat();
                edns.options_mut().insert(EdnsOption::Unknown(15, text));
                reply.set_edns(edns);
            } else {
                let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 1);
                let soa = Record::from_rdata(origin.clone(), 0, RData::SOA(soa));
                let strings = ["sequence=vp", "number=0", "role=mixed", "source=10.0.0.1"];
                let more = ["address=10.0.0.1", "state=live", "heard=1", "epoch=1"];
                for (host, role) in [(ESCAPE, "role=mixed"), ("host", "role=\u{1b}[31m")] {
                    let strings = strings.iter().chain(&more);
                    let strings = strings.map(|it| if it.starts_with("role=") { role } else { it });
                    let owner = origin.prepend_label(host.as_bytes()).unwrap();
                    let txt = TXT::new(strings.map(|it| it.to_string()).collect());
                    reply.add_answer(soa.clone());
                    reply.add_answer(Record::from_rdata(owner, 0, RData::TXT(txt)));
                }
                reply.add_answer(soa);
            }
            let octets = reply.to_vec().unwrap();
            let length = (octets.len() as u16).to_be_bytes();
            stream.write_all(&[&length[..], &octets].concat()).unwrap();
        }
    });
    address
}

#[test]
fn nothing_that_a_server_says_reaches_a_terminal_unescaped() {
    let zones = shipped_zones();
    let zones = zones.to_str().unwrap();
    for refuses in [true, false] {
        let server = hostile_server(refuses);
        for command in [
            &["peers", "pbft.fabric.internal"][..],
            &["dump", "pbft.fabric.internal"],
            &["dump", "pbft.fabric.internal", "--format", "json"],
            &["release", "pbft.fabric.internal", "host"],
        ] {
            let arguments = [command, &["--zones", zones, "--server", &server]].concat();
            let output = attempt(PARAMD, &arguments);
            let shown = [output.stdout, output.stderr].concat();
            let shown = String::from_utf8(shown).unwrap();
            let control = shown
                .chars()
                .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
            assert_eq!(control, None, "{command:?}: {shown:?}");
            assert!(!shown.contains("\nparamd: forged"), "{command:?}: {shown}");
        }
    }
}
