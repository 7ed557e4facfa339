//! Several servers: one that is silent, fails or lags behind is left for the next,
//! once, and says nothing about the lease.

use std::thread;
use std::time::Instant;

use hickory_proto::op::ResponseCode;

use super::responder::{Answer, MINE, Peer, Responder};
use super::script::{Script, Shell, seconds, until};
use super::{ANOTHER, LIVES};

under_both_shells! {
    a_dead_server_is_asked_once
    a_server_may_die_between_two_heartbeats
    a_server_that_fails_is_left_with_its_reason
    the_next_server_in_the_list_has_its_turn
    a_refusal_is_an_answer
    a_server_that_is_none_of_the_service_is_left
    an_answer_from_the_past_neither_starts_nor_stops_a_peer
    a_higher_epoch_counts_whoever_tells_it
    leaves_where_a_server_answers
    asks_no_further_server_after_a_signal
    servers_are_separated_by_commas_or_blanks
}

const BOTH: &str = "127.0.0.1,127.0.0.2";
const GOES_ON: &str = "start_peer: going on with 127.0.0.2: ";

fn start(shell: Shell, first: &Responder, peer: &str, settings: &[(&str, &str)]) -> Script {
    Script::start_with(shell, None, (BOTH, first.port), peer, settings)
}

fn failing(why: &'static str) -> Answer {
    Answer::Code(ResponseCode::ServFail, why)
}

fn with_epoch(id: &'static str, holder: &'static str, more: &'static str) -> Answer {
    Answer::Peer(Peer {
        id,
        holder,
        more,
        ..Peer::default()
    })
}

fn a_dead_server_is_asked_once(shell: Shell) {
    // The first is silent. At 127.0.0.9 no port is open.
    for (servers, silent) in [(BOTH, 1), ("127.0.0.9,127.0.0.2", 0)] {
        let [dead, service] = Responder::several([Answer::Silence, Peer::held_by(MINE)]);
        let at = (servers, dead.port);
        let mut script = Script::start_with(shell, None, at, LIVES, &[]);
        script.peer();
        until("it renews", || service.count("h1") >= 4);
        script.kill("TERM");
        assert_eq!(script.end(), Some(143));
        let said = script.read("err");
        assert_eq!(dead.queries(), silent, "{said}");
        assert_eq!(service.count("_leave.h1"), 1, "{said}");
        let first = servers.split(',').next().unwrap();
        let why = format!("{GOES_ON}no answer from {first}: ");
        assert_eq!(script.said(&why), 1, "{said}");
        assert_eq!(said.lines().count(), 3, "{said}");
    }
}

fn a_server_may_die_between_two_heartbeats(shell: Shell) {
    let [first, second] = Responder::several([Peer::saying("epoch=9"), Answer::Silence]);
    let mut script = start(shell, &first, LIVES, &[]);
    script.peer();
    until("it renews", || first.count("h1") >= 2);
    assert_eq!(second.queries(), 0);

    second.say(Peer::saying("epoch=9"));
    first.say(Answer::Silence);
    until("it goes on", || second.count("h1") >= 3);
    let asked = first.queries();
    assert_eq!(
        script.said(&format!("{GOES_ON}no answer from 127.0.0.1: ")),
        1
    );
    until("it stays", || second.count("h1") >= 6);
    assert_eq!(first.queries(), asked);

    // None is left: that is one message, for both of them.
    second.say(Answer::Silence);
    until("it says why", || script.said("lease not renewed: ") == 1);
    let why = "not renewed: no answer from 127.0.0.2: ";
    assert_eq!(script.said(why), 1, "{}", script.read("err"));
    assert_eq!(script.said("; no answer from 127.0.0.1: "), 1);

    first.say(Peer::saying("epoch=9"));
    let asked = first.count("h1");
    until("it goes back", || first.count("h1") >= asked + 3);
    script.kill("TERM");
    assert_eq!(script.end(), Some(143));
    let said = script.read("err");
    assert_eq!(
        script.said("going on with 127.0.0.1: no answer from 127.0.0.2: "),
        1,
        "{said}"
    );
    assert_eq!(script.said("going on with"), 2, "{said}");
    assert_eq!(script.said("stopping"), 0, "{said}");
    assert_eq!(
        (first.count("_leave.h1"), second.count("_leave.h1")),
        (1, 0)
    );
}

fn a_server_that_fails_is_left_with_its_reason(shell: Shell) {
    let [first, second] = Responder::several([failing("no quorum"), failing("no space")]);
    let mut script = start(shell, &first, LIVES, &[]);
    let why =
        "waiting: 127.0.0.1 answers SERVFAIL: no quorum; 127.0.0.2 answers SERVFAIL: no space\n";
    until("it waits for both", || script.said(why) == 1);
    until("it asks again", || second.count("_env.h1") >= 3);
    second.say(Peer::held_by(MINE));
    script.peer();
    let asked = first.queries();
    until("it renews", || second.count("h1") >= 3);
    script.kill("TERM");
    assert_eq!(script.end(), Some(143));
    let why = format!("{GOES_ON}127.0.0.1 answers SERVFAIL: no quorum\n");
    assert_eq!(script.said(&why), 1, "{}", script.read("err"));
    assert_eq!(script.said("SERVFAIL"), 3, "{}", script.read("err"));
    assert_eq!(first.queries(), asked);
}

fn the_next_server_in_the_list_has_its_turn(shell: Shell) {
    let no_quorum = || failing("no quorum");
    let mine = || Peer::held_by(MINE);
    let [first, second, third] = Responder::several([no_quorum(), mine(), mine()]);
    let at = ("127.0.0.1,127.0.0.2,127.0.0.3", first.port);
    let mut script = Script::start_with(shell, None, at, LIVES, &[]);
    script.peer();
    second.say(no_quorum());
    until("the third renews", || third.count("h1") >= 2);
    assert_eq!(first.queries(), 1);
    // After the last, it is the turn of the first again.
    let asked = second.queries();
    first.say(mine());
    third.say(no_quorum());
    until("the first renews", || first.count("h1") >= 2);
    assert_eq!(second.queries(), asked);
    script.kill("TERM");
    assert_eq!(script.end(), Some(143));
}

fn a_refusal_is_an_answer(shell: Shell) {
    let full = Answer::Code(ResponseCode::Refused, "all 4 numbers are taken");
    let [first, second] = Responder::several([full, Peer::held_by(MINE)]);
    let mut script = start(shell, &first, "exit 5", &[]);
    until("it asks again", || first.count("_env.h1") >= 3);
    first.say(Peer::held_by(MINE));
    assert_eq!(script.end(), Some(5));
    let why = "waiting: 127.0.0.1 answers REFUSED: all 4 numbers are taken\n";
    assert_eq!(script.said(why), 1, "{}", script.read("err"));
    assert_eq!(second.queries(), 0);
}

fn a_server_that_is_none_of_the_service_is_left(shell: Shell) {
    for (code, why) in [
        (ResponseCode::Refused, "127.0.0.1 answers REFUSED\n"),
        (
            ResponseCode::NXDomain,
            "127.0.0.1 does not serve noops.fabric.internal: ",
        ),
    ] {
        let [first, second] = Responder::several([Answer::Code(code, ""), Peer::held_by(MINE)]);
        let mut script = start(shell, &first, "exit 5", &[]);
        assert_eq!(script.end(), Some(5));
        let said = script.read("err");
        assert_eq!(script.said(&format!("{GOES_ON}{why}")), 1, "{said}");
        assert_eq!(
            (first.queries(), second.count("_leave.h1")),
            (1, 1),
            "{said}"
        );
    }
}

fn an_answer_from_the_past_neither_starts_nor_stops_a_peer(shell: Shell) {
    let held = with_epoch("vp1", ANOTHER, "epoch=9");
    let [first, second] = Responder::several([held, with_epoch("vp1", MINE, "epoch=8")]);
    let mut script = start(shell, &first, LIVES, &[]);
    until("it waits", || script.said("waiting: h1 is held by") == 1);
    // Only the one that lags behind is left: it once was the holder.
    first.say(failing("no quorum"));
    let why = "; 127.0.0.2 answers from the past (epoch 8, and 9 is known)";
    until("it ignores it", || script.said(why) == 1);
    assert!(!script.has("pid"));
    first.say(Peer::saying("epoch=10"));
    let peer = script.peer();

    for past in [
        with_epoch("vp1", MINE, "epoch=9"),
        with_epoch("vp1", ANOTHER, "epoch=9"),
        with_epoch("vp2", MINE, "epoch=8"),
    ] {
        first.say(Peer::saying("epoch=10"));
        let renewed = first.count("h1");
        until("the first renews", || first.count("h1") >= renewed + 2);
        second.say(past);
        let asked = second.count("h1");
        first.say(failing("no quorum"));
        until("it asks the second", || second.count("h1") >= asked + 3);
    }
    // What it was told does not count, neither does it make 10 a higher epoch.
    first.say(Peer::saying("epoch=10"));
    let renewed = first.count("h1");
    until("the first renews", || first.count("h1") >= renewed + 2);
    super::kill("TERM", &peer);
    assert_eq!(script.end(), Some(143));
    let said = script.read("err");
    assert_eq!(script.said("stopping"), 0, "{said}");
    assert_eq!(script.said("going on with"), 0, "{said}");
    assert!(
        script.said("answers from the past (epoch 9, and 10 is known)") >= 1,
        "{said}"
    );
    assert_eq!(
        (first.count("_leave.h1"), second.count("_leave.h1")),
        (1, 0)
    );
}

fn a_higher_epoch_counts_whoever_tells_it(shell: Shell) {
    for newer in [
        with_epoch("vp1", MINE, "epoch=10"),
        with_epoch("vp1", ANOTHER, "epoch=10"),
        with_epoch("vp2", MINE, "epoch=10"),
    ] {
        let [first, second] = Responder::several([Peer::saying("epoch=9"), newer]);
        let mut script = start(shell, &first, LIVES, &[]);
        script.peer();
        until("it renews", || first.count("h1") >= 2);
        first.say(Peer::saying("epoch=8"));
        assert_eq!(script.end(), Some(75));
        let said = script.read("err");
        let why = format!("{GOES_ON}127.0.0.1 answers from the past (epoch 8, and 9 is known)\n");
        assert_eq!(script.said(&why), 1, "{said}");
        assert_eq!(
            script.said("stopping the peer: it has lost its lease"),
            1,
            "{said}"
        );
        assert_eq!(second.count("_leave.h1"), 0, "{said}");
    }
}

fn leaves_where_a_server_answers(shell: Shell) {
    let [first, second] = Responder::several([Peer::held_by(MINE), Peer::held_by(MINE)]);
    for silent in [false, true] {
        first.say(Peer::held_by(MINE));
        let mut script = start(shell, &first, LIVES, &[("PARAM_RENEW", "100")]);
        script.peer();
        first.say(Answer::Silence);
        if silent {
            second.say(Answer::Silence);
        }
        script.kill("TERM");
        assert_eq!(script.end(), Some(143));
        let said = script.read("err");
        if silent {
            let why = "did not leave, the lease of h1 will run out: no answer from 127.0.0.1: ";
            assert_eq!(script.said(why), 1, "{said}");
            assert_eq!(script.said("; no answer from 127.0.0.2: "), 1, "{said}");
        } else {
            assert_eq!(script.said(GOES_ON), 1, "{said}");
            assert_eq!(script.said("did not leave"), 0, "{said}");
        }
    }
    assert_eq!(second.count("_leave.h1"), 2);
}

/// It would register a peer that nobody starts.
fn asks_no_further_server_after_a_signal(shell: Shell) {
    let [first, second] = Responder::several([Answer::Silence, Peer::held_by(MINE)]);
    let mut script = start(shell, &first, "touch ran", &[]);
    until("it asks", || first.queries() == 1);
    script.kill("TERM");
    let killed = Instant::now();
    assert_eq!(script.end(), Some(143));
    assert!(killed.elapsed() < seconds(1));
    assert_eq!(script.writers(), 0);
    thread::sleep(seconds(3));
    assert_eq!(second.queries(), 0);
}

fn servers_are_separated_by_commas_or_blanks(shell: Shell) {
    let [first, second] = Responder::several([failing("no quorum"), Peer::held_by(MINE)]);
    for servers in [BOTH, "127.0.0.1 127.0.0.2", " ,127.0.0.1 ,,\t127.0.0.2\n,"] {
        let (asked, answered) = (first.queries(), second.count("_env.h1"));
        let at = (servers, first.port);
        let mut script = Script::start_with(shell, None, at, "exit 5", &[]);
        assert_eq!(script.end(), Some(5), "{}", script.read("err"));
        assert_eq!(first.queries(), asked + 1, "{servers:?}");
        assert_eq!(second.count("_env.h1"), answered + 1, "{servers:?}");
    }
    for wrong in [",", " ", "127.0.0.1,a;b", "a,@b", "a -b", "a,+tcp", "a,*"] {
        let mut script = Script::run(shell, &[wrong], &[("PARAM_EXEC", "touch ran")]);
        assert_eq!(script.end(), Some(2), "{wrong:?}");
        assert_eq!(
            script.said("SERVER is no name or address: "),
            1,
            "{wrong:?}"
        );
        assert!(!script.has("ran"));
    }
}
