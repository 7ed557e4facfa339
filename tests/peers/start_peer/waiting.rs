//! What the script does until it is the holder.

use std::time::Instant;

use hickory_proto::op::ResponseCode;

use super::responder::{Answer, MINE, Peer, Responder};
use super::script::{Script, Shell, seconds, until};
use super::{ANOTHER, LIVES};

under_both_shells! {
    waits_until_the_service_is_up
    waits_for_its_turn_and_says_why
    asks_by_tcp_where_another_server_answers_by_udp
    gives_up_after_the_timeout
    a_wrong_name_ends_it_at_once
    a_signal_ends_the_waiting_at_once
}

fn waits_until_the_service_is_up(shell: Shell) {
    let service = Responder::start(Answer::Silence);
    let mut script = Script::start(shell, service.port, "exit 7", &[]);
    until("it waits", || {
        script.said("waiting: no answer from 127.0.0.1: ") == 1
    });
    service.say(Peer::held_by(MINE));
    assert_eq!(script.end(), Some(7));
    assert_eq!(script.said("no answer"), 1, "says it more than once");
}

fn waits_for_its_turn_and_says_why(shell: Shell) {
    let service = Responder::start(Peer::held_by(ANOTHER));
    let mut script = Script::start(shell, service.port, "exit 0", &[]);
    until("it asks again", || service.count("_env.h1") == 3);
    service.say(Answer::Code(
        ResponseCode::Refused,
        "all 4 numbers are taken",
    ));
    until("it is refused", || script.said("REFUSED") == 1);
    service.say(Answer::Code(ResponseCode::ServFail, "the disk is full"));
    until("it fails", || script.said("SERVFAIL") == 1);
    service.say(Answer::Code(ResponseCode::NXDomain, ""));
    until("another server answers", || {
        script.said("does not serve") == 1
    });
    service.say(Peer::with(vec![b"CORE_LONG=x".repeat(20); 1000]));
    until("it is cut short", || script.said("truncated") == 1);
    service.say(Peer::held_by(MINE));
    assert_eq!(script.end(), Some(0));
    let expected = "\
        start_peer: waiting: h1 is held by 10.0.1.9, its lease is still running\n\
        start_peer: waiting: 127.0.0.1 answers REFUSED: all 4 numbers are taken\n\
        start_peer: waiting: 127.0.0.1 answers SERVFAIL: the disk is full\n\
        start_peer: waiting: 127.0.0.1 does not serve noops.fabric.internal: \
        is the service up, and is this where it is asked?\n\
        start_peer: waiting: 127.0.0.1 answers a truncated message\n\
        start_peer: h1 is vp1 at 10.0.1.5 in noops.fabric.internal\n\
        start_peer: the peer ended with status 0\n";
    assert_eq!(script.read("err"), expected);
    assert_eq!(service.stated(), ["10.0.1.5/32"]);
}

fn asks_by_tcp_where_another_server_answers_by_udp(shell: Shell) {
    let service = Responder::start(Answer::OthersByUdp(Peer::default()));
    let mut script = Script::start(shell, service.port, LIVES, &[]);
    until("the peer runs", || script.has("pid"));
    until("it renews", || service.count("h1") >= 2);
    // The other way round.
    service.say(Answer::Silence);
    until("no renewal is answered", || {
        script.said("not renewed: no answer") > 0
    });
    let asked = service.count("h1");
    service.say(Answer::OthersByUdp(Peer::default()));
    // The one by UDP is not heard, the one by TCP is.
    until("it goes on", || service.count("h1") >= asked + 3);
    script.kill("TERM");
    assert_eq!(script.end(), Some(143));
    assert_eq!(script.said("waiting: "), 1, "{}", script.read("err"));
    assert_eq!(script.said("did not leave"), 0, "{}", script.read("err"));
}

fn gives_up_after_the_timeout(shell: Shell) {
    let nobody = 1;
    let timeout = [("PARAM_TIMEOUT", "2")];
    let mut script = Script::start(shell, nobody, "touch ran", &timeout);
    assert_eq!(script.end(), Some(1));
    let took = script.started.elapsed();
    assert!(took > seconds(1) && took < seconds(6), "{took:?}");
    assert_eq!(
        script.said("giving up after 2 s: no answer from 127.0.0.1: "),
        1
    );
    assert!(!script.has("ran"));
}

fn a_wrong_name_ends_it_at_once(shell: Shell) {
    let service = Responder::start(Answer::Code(ResponseCode::NXDomain, "no such zone"));
    let mut script = Script::start(shell, service.port, "touch ran", &[]);
    assert_eq!(script.end(), Some(1));
    assert!(script.started.elapsed() < seconds(5));
    assert_eq!(
        script.said("knows no h1.noops.fabric.internal (no such zone)"),
        1
    );
    assert!(!script.has("ran"));
}

fn a_signal_ends_the_waiting_at_once(shell: Shell) {
    let service = Responder::start(Answer::Silence);
    let mut script = Script::start(shell, service.port, "touch ran", &[]);
    until("it asks", || service.count("_env.h1") == 1);
    script.kill("TERM");
    let killed = Instant::now();
    assert_eq!(script.end(), Some(143));
    assert!(killed.elapsed() < seconds(1));
    assert_eq!(script.writers(), 0);
    assert_eq!(service.count("_leave.h1"), 0, "there was no lease");
}
