//! A peer that has lost its lease, or may have, is stopped: no two run under
//! one ID. And a host that is named like an ID starts none.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;

use super::responder::{Answer, Peer, Responder};
use super::script::{Script, Shell, kill, seconds, until};
use super::{ANOTHER, LIVES};

under_both_shells! {
    a_peer_whose_lease_is_lost_is_stopped
    a_peer_that_ignores_sigterm_is_killed
    what_proves_nothing_stops_no_peer
    strict_stops_a_peer_before_its_lease_can_have_run_out
    strict_leaves_a_peer_alone_whose_lease_is_renewed
    strict_kills_at_once_after_standing_still
    strict_refuses_settings_that_leave_no_time
    a_host_that_is_named_like_an_id_starts_nothing
}

/// A peer that writes down when it gets SIGTERM, and stays.
const STAYS: &str = "trap 'echo TERM' TERM; echo $$ >pid
    i=0; while [ $i -lt 600 ]; do sleep 0.05; i=$((i + 1)); done";
/// The shortest lease for a renewal every second and two seconds to stop in.
const STRICT: [(&str, &str); 4] = [
    ("PARAM_FENCE", "strict"),
    ("PARAM_RENEW", "1"),
    ("PARAM_STOP_GRACE", "2"),
    ("PARAM_LEASE", "9"),
];
const LEASE: Duration = Duration::from_secs(9);

fn runs(process: &str) -> bool {
    // A process that has ended may not have been waited for.
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn a_peer_whose_lease_is_lost_is_stopped(shell: Shell) {
    for (answer, why) in [
        (Peer::held_by(ANOTHER), "h1 is held by 10.0.1.9"),
        (
            Peer::id("vp2"),
            "h1 has become vp2, but the peer runs as vp1",
        ),
        (
            Peer::saying("epoch=10"),
            "another holder since (epoch 10, the peer has 9)",
        ),
    ] {
        let service = Responder::start(Peer::saying("epoch=9"));
        let mut script = Script::start(shell, service.port, LIVES, &[]);
        let peer = script.peer();
        until("it renews", || service.count("h1") == 2);
        assert!(runs(&peer));
        service.say(answer);
        assert_eq!(script.end(), Some(75), "{why}");
        assert!(!runs(&peer));
        let said = script.read("err");
        assert_eq!(script.said(why), 1, "{said}");
        assert_eq!(script.said("stopping the peer"), 1, "{said}");
        assert_eq!(script.said("ended with status 143"), 1, "{said}");
        assert_eq!(service.count("_leave.h1"), 0);
        assert_eq!(script.writers(), 0);
    }
}

fn a_peer_that_ignores_sigterm_is_killed(shell: Shell) {
    let service = Responder::start(Peer::held_by(super::MINE));
    let grace = [("PARAM_STOP_GRACE", "2")];
    let mut script = Script::start(shell, service.port, STAYS, &grace);
    let peer = script.peer();
    service.say(Peer::held_by(ANOTHER));
    until("it gets SIGTERM", || script.read("out") == "TERM\n");
    let warned = Instant::now();
    thread::sleep(Duration::from_millis(500));
    assert!(runs(&peer), "it has no time to end");
    assert_eq!(script.end(), Some(75));
    assert!(warned.elapsed() < seconds(6));
    assert_eq!(script.said("ended with status 137"), 1);
}

/// Neither a service that is older, or behind, or broken, nor one that refuses.
fn what_proves_nothing_stops_no_peer(shell: Shell) {
    let service = Responder::start(Peer::saying("epoch=9"));
    let mut script = Script::start(shell, service.port, LIVES, &[]);
    let peer = script.peer();
    for answer in [
        Peer::saying(""),
        Peer::saying("epoch=8"),
        Peer::saying("epoch=x10"),
        Peer::id(""),
        Peer::held_by("nonsense"),
        Answer::Code(ResponseCode::Refused, "all 4 numbers are taken"),
        Answer::Code(ResponseCode::ServFail, "the disk is full"),
    ] {
        service.say(answer);
        let before = service.count("h1");
        until("it has judged an answer", || {
            service.count("h1") >= before + 2
        });
    }
    assert!(runs(&peer));
    let said = script.read("err");
    for why in [
        "answers from the past (epoch 8",
        "does not tell",
        "REFUSED",
        "the disk is full",
    ] {
        assert_eq!(script.said(why), 1, "{why}: {said}");
    }
    assert_eq!(script.said("stopping"), 0, "{said}");
    kill("TERM", &peer);
    assert_eq!(script.end(), Some(143));
    assert_eq!(service.count("_leave.h1"), 1);
}

fn strict_stops_a_peer_before_its_lease_can_have_run_out(shell: Shell) {
    let garbled = Peer::id("");
    let refusal = Answer::Code(ResponseCode::Refused, "the lists have changed");
    for answer in [Answer::Silence, garbled, refusal] {
        let answers = !matches!(answer, Answer::Silence);
        let service = Responder::start(Peer::saying("epoch=9"));
        let mut script = Script::start(shell, service.port, STAYS, &STRICT);
        let peer = script.peer();
        until("it renews", || service.count("h1") >= 2);
        let renewed = service.heard();
        service.say(answer);
        let unheard = Instant::now();
        until("it gets SIGTERM", || script.read("out") == "TERM\n");
        assert!(runs(&peer), "it has no time to end");
        until("it is dead", || !runs(&peer));
        // What is only heard, and not a renewal, gives it no more time.
        assert!(renewed.elapsed() < LEASE, "{:?}", renewed.elapsed());
        assert!(unheard.elapsed() > seconds(4), "{:?}", unheard.elapsed());
        assert_eq!(script.end(), Some(75));
        let said = script.read("err");
        assert_eq!(
            script.said("its lease of 9 s was last renewed"),
            1,
            "{said}"
        );
        assert_eq!(service.count("_leave.h1"), 0);
        assert_eq!(script.said("lease not renewed"), 1, "{said}");
        assert!(service.count("h1") > 3 || !answers, "it asks no more");
    }
}

/// The service says how long the lease is; the setting is for one that does not.
fn strict_leaves_a_peer_alone_whose_lease_is_renewed(shell: Shell) {
    let service = Responder::start(Peer::saying("lease=9 epoch=9"));
    let mut settings = STRICT;
    settings[3] = ("PARAM_LEASE", "1");
    let mut script = Script::start(shell, service.port, STAYS, &settings);
    let peer = script.peer();
    thread::sleep(LEASE + seconds(3));
    assert!(runs(&peer));
    assert_eq!(script.said("lease"), 0, "{}", script.read("err"));
    // Only the last renewal counts.
    let renewed = service.heard();
    service.say(Answer::Silence);
    until("it is dead", || !runs(&peer));
    assert!(renewed.elapsed() < LEASE, "{:?}", renewed.elapsed());
    assert_eq!(script.end(), Some(75));
}

/// As after `docker pause`, which stops the peer too, or a machine that sleeps.
fn strict_kills_at_once_after_standing_still(shell: Shell) {
    let service = Responder::start(Peer::saying("epoch=9"));
    let mut script = Script::start(shell, service.port, STAYS, &STRICT);
    let peer = script.peer();
    until("it renews", || service.count("h1") >= 2);
    script.freeze();
    let before = service.count("h1");
    thread::sleep(LEASE);
    let woken = Instant::now();
    script.thaw();
    until("it is dead", || !runs(&peer));
    assert!(woken.elapsed() < seconds(2), "{:?}", woken.elapsed());
    assert_eq!(script.end(), Some(75));
    assert_eq!(
        script.read("out"),
        "",
        "it was asked to end, and had time to"
    );
    assert!(service.count("h1") <= before + 1, "it asks first");
    assert_eq!(service.count("_leave.h1"), 0);
}

fn strict_refuses_settings_that_leave_no_time(shell: Shell) {
    for (more, settings) in [
        (
            "",
            vec![STRICT[0], ("PARAM_LEASE", "25"), ("PARAM_RENEW", "10")],
        ),
        ("lease=8", STRICT.to_vec()),
        ("", vec![STRICT[0], ("PARAM_RENEW", "15")]),
    ] {
        let service = Responder::start(Peer::saying(more));
        let mut script = Script::start(shell, service.port, "touch ran", &settings);
        assert_eq!(script.end(), Some(1), "{settings:?}");
        assert_eq!(script.said("too short for PARAM_FENCE=strict"), 1);
        assert!(!script.has("ran"));
        assert_eq!(service.count("_leave.h1"), 1);
    }
}

fn a_host_that_is_named_like_an_id_starts_nothing(shell: Shell) {
    for name in ["vp1", "VP1"] {
        let service = Responder::start(Peer::held_by(super::MINE));
        let host = [("PARAM_HOST", name)];
        let mut script = Script::start(shell, service.port, "touch ran", &host);
        assert_eq!(script.end(), Some(1));
        let why = format!("the host name {name} is an ID in noops.fabric.internal");
        assert_eq!(script.said(&why), 1, "{}", script.read("err"));
        assert!(script.started.elapsed() < seconds(5), "it waits");
        assert!(!script.has("ran"));
        assert_eq!(service.count(&format!("_leave.{name}")), 0);
    }
}
