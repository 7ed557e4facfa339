//! With 3 s until a commit arrives, 2 s until a replica is connected again, and a lease
//! of 5 s.

use std::slice::from_ref;

use super::super::{Rule, sample::*};
use crate::history::{Cut, Operation, Outcome, Request};

fn read(at: f64, host: &str, holder: u8) -> Operation {
    let outcome = Outcome::Address(address(holder));
    op(at, at + 0.1, 8, address_of_host(host), outcome).at(2)
}

fn read_id(at: f64, id: &str, holder: u8) -> Operation {
    let request = Request::AddressOfId(id.to_owned());
    let outcome = Outcome::Address(address(holder));
    op(at, at + 0.1, 8, request, outcome).at(2)
}

fn state_of_id(at: f64, id: &str, epoch: u64, holder: u8) -> Operation {
    let request = Request::StateOfId(id.to_owned());
    op(at, at + 0.1, 8, request, granted(id, epoch, holder)).at(2)
}

fn serial(at: f64, serial: u32) -> Operation {
    op(at, at + 0.1, 8, Request::Serial, Outcome::Serial(serial)).at(2)
}

/// One host, with one holder after another.
fn two_holders() -> [Operation; 2] {
    [
        op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1)),
        op(9.0, 9.1, 2, register("a"), granted("vp0", 2, 2)),
    ]
}

fn with(further: &[Operation]) -> Vec<Operation> {
    [&two_holders(), further].concat()
}

#[test]
fn a_state_that_is_not_too_old() {
    assert_keeps(&with(&[
        read(2.0, "a", 1),
        read(9.2, "a", 2),
        read(12.0, "a", 1).at(1),
        read_id(12.0, "vp0", 1).at(1),
        state_of_id(12.0, "vp0", 1, 1).at(1),
        serial(12.0, 1).at(1),
        read(12.3, "a", 2).at(1),
    ]));
}

#[test]
fn a_state_that_is_too_old() {
    for old in [
        read(12.2, "a", 1),
        read_id(12.2, "vp0", 1),
        state_of_id(12.2, "vp0", 1, 1),
        serial(12.2, 1),
    ] {
        assert_breaks(Rule::Reads, &with(&[old]));
    }
}

#[test]
fn a_replica_that_is_cut_off_shows_an_old_state() {
    let old = |at| with(&[read(at, "a", 1)]);
    let cut = [fault(Some(Cut::Replica(2)), 8.0, 20.0)];
    assert_keeps_during(&cut, &old(22.0));
    assert_breaks_during(&cut, Rule::Reads, &old(22.2));
    // Not because of anything else.
    for other in [Some(Cut::Replica(1)), Some(Cut::Member(0)), None] {
        assert_breaks_during(&[fault(other, 8.0, 20.0)], Rule::Reads, &old(12.2));
    }
    let members = [0, 1].map(|it| fault(Some(Cut::Member(it)), 8.0, 20.0));
    assert_keeps_during(&members, &old(22.0));
}

#[test]
fn a_state_that_never_was() {
    assert_breaks(Rule::Reads, &with(&[read(2.0, "a", 3)]));
    // It was asked before the second one.
    assert_breaks(Rule::Reads, &with(&[read(3.0, "a", 2)]));
    assert_breaks(Rule::Reads, &with(&[read(3.0, "b", 2)]));
    assert_breaks(Rule::Reads, &with(&[read_id(3.0, "vp1", 1)]));
    // Nobody has asked for it.
    assert_breaks(Rule::Reads, &with(&[state_of_id(12.0, "vp1", 3, 3)]));
    let to_other = op(12.0, 12.1, 4, register("b"), granted("vp1", 3, 3));
    assert_breaks(Rule::Reads, &with(&[to_other]));
}

/// A query without an answer may have registered its client.
#[test]
fn a_registration_that_nobody_was_told_of() {
    let returned = lost(15.0, 1, register("a"));
    let and = |it: Operation| with(&[returned.clone(), it]);
    assert_keeps(&and(read(30.0, "a", 1)));
    assert_keeps(&and(read_id(30.0, "vp0", 1)));
    assert_keeps(&and(state_of_id(30.0, "vp0", 3, 1)));
    let to_other = op(30.0, 30.1, 3, register("a"), granted("vp0", 3, 1));
    assert_keeps(&and(to_other));
    // Not before it was asked, and not of another host or sequence.
    assert_breaks(Rule::Reads, &and(read(14.0, "a", 1)));
    assert_breaks(Rule::Reads, &and(read(30.0, "b", 1)));
    assert_breaks(Rule::Reads, &and(read_id(30.0, "nvp0", 1)));
    // Whoever was refused is not registered.
    let refused = op(15.0, 15.1, 3, register("a"), refused("another role"));
    assert_breaks(Rule::Reads, &with(&[refused, read(30.0, "a", 3)]));
    // Another holder came after it.
    let third = op(50.0, 50.1, 3, register("a"), granted("vp0", 5, 3));
    let late = read(54.0, "a", 1);
    assert_breaks(Rule::Reads, &with(&[returned, third, late]));
}

#[test]
fn a_replica_that_goes_back() {
    let second = || state_of_id(9.3, "vp0", 2, 2);
    for earlier in [
        read(9.5, "a", 1),
        read_id(9.5, "vp0", 1),
        state_of_id(9.5, "vp0", 1, 1),
        serial(9.5, 1),
    ] {
        assert_breaks(Rule::Reads, &with(&[second(), earlier.clone()]));
        if earlier.request != Request::Serial {
            assert_breaks(Rule::Reads, &with(&[serial(9.3, 2), earlier.clone()]));
        }
        // It is another replica, or both are answered at a time.
        assert_keeps(&with(&[second(), earlier.clone().at(1)]));
        let both = Operation {
            sent: second().done,
            ..earlier
        };
        assert_keeps(&with(&[second(), both]));
    }
    assert_breaks(Rule::Serials, &with(&[serial(9.3, 4), serial(9.5, 3)]));
}

/// Whatever was shown before excludes the states of the read in between.
#[test]
fn reads_that_no_order_explains() {
    let other = op(5.0, 5.1, 3, register("b"), granted("vp1", 4, 3));
    let back = op(9.0, 9.1, 2, register("a"), granted("vp0", 6, 2));
    let first = op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1));
    let history = |reads: &[Operation]| {
        let writes = [first.clone(), other.clone(), back.clone()];
        [&writes[..], reads].concat()
    };
    // The state without b is older than the one in which 2 has a.
    let unknown = op(9.4, 9.5, 8, address_of_host("b"), Outcome::NoName).at(1);
    assert_breaks(Rule::Reads, &history(from_ref(&unknown)));
    let early = |it: Operation, at: f64| op(at, at + 0.1, 8, it.request, it.outcome).at(1);
    assert_keeps(&history(&[
        early(unknown.clone(), 6.0),
        read(9.4, "a", 2).at(1),
    ]));
    assert_breaks(
        Rule::Reads,
        &history(&[early(read(0.0, "b", 3), 5.2), early(unknown, 5.5)]),
    );
}

#[test]
fn a_write_that_is_earlier_than_what_was_shown() {
    let late = op(2.0, 2.1, 2, register("b"), granted("vp1", 3, 2));
    let first = op(1.0, 1.1, 1, register("a"), granted("vp0", 1, 1));
    assert_keeps(&[first.clone(), serial(1.5, 2), late.clone()]);
    assert_breaks(Rule::Epochs, &[first, serial(1.5, 3), late]);
}

#[test]
fn a_host_that_was_released() {
    let released = op(20.0, 20.1, 9, release("a"), Outcome::Released);
    let and = |further: &[Operation]| with(&[from_ref(&released), further].concat());
    assert_keeps(&and(&[read(23.0, "a", 2)]));
    assert_breaks(Rule::Reads, &and(&[read(23.2, "a", 2)]));
    // The replica has shown a later state.
    let later = op(21.0, 21.1, 3, register("b"), granted("vp1", 5, 3));
    let shows = |at| [later.clone(), serial(at, 5), read(22.0, "a", 2)];
    assert_keeps(&and(&shows(22.2)));
    assert_breaks(Rule::Reads, &and(&shows(21.5)));
    // What registers is answered by who knows of it.
    for client in [2, 3] {
        let again = op(20.2, 20.3, client, register("a"), granted("vp0", 2, 2));
        assert_breaks(Rule::Reads, &and(&[again]));
        let new = op(20.2, 20.3, client, register("a"), granted("vp0", 5, client));
        assert_keeps(&and(&[new]));
    }
}

#[test]
fn a_holder_that_has_left() {
    let left = op(20.0, 20.1, 2, leave("a"), left("vp0"));
    let and = |further: &[Operation]| with(&[from_ref(&left), further].concat());
    assert_keeps(&and(&[read(23.0, "a", 2)]));
    assert_breaks(Rule::Reads, &and(&[read(23.2, "a", 2)]));
    assert_keeps(&and(&[lost(20.5, 2, register("a")), read(23.2, "a", 2)]));
    let unknown = lost(20.0, 2, leave("a"));
    assert_keeps(&with(&[unknown, read(28.0, "a", 2)]));
}

#[test]
fn a_host_that_is_not_known() {
    let unknown = |at: f64| op(at, at + 0.1, 8, address_of_host("a"), Outcome::NoName).at(2);
    assert_keeps(&with(&[unknown(4.0)]));
    assert_breaks(Rule::Reads, &with(&[unknown(4.2)]));
    assert_breaks(Rule::Reads, &with(&[read(2.0, "a", 1), unknown(2.2)]));
    assert_keeps(&with(&[lost(10.0, 9, release("a")), unknown(15.0)]));
    let no_id = |at: f64| {
        let request = Request::StateOfId("vp0".into());
        op(at, at + 0.1, 8, request, Outcome::NoName).at(2)
    };
    assert_keeps(&with(&[no_id(4.0)]));
    assert_breaks(Rule::Reads, &with(&[no_id(4.2)]));
}

#[test]
fn a_host_that_has_no_address() {
    let beats = |until: u32| {
        let beat = |at: u32| {
            let at = f64::from(at);
            op(at, at + 0.1, 1, register("a"), granted("vp0", 1, 1))
        };
        (1..=until).map(beat).collect::<Vec<_>>()
    };
    let none = |at: f64| op(at, at + 0.1, 8, address_of_host("a"), Outcome::NoAddress).at(2);
    assert_keeps(&[beats(7), vec![none(12.0)]].concat());
    assert_breaks(Rule::Reads, &[beats(8), vec![none(12.0)]].concat());
    let left = op(8.5, 8.6, 1, leave("a"), left("vp0"));
    assert_keeps(&[beats(8), vec![left, none(12.0)]].concat());
    // It was not registered yet.
    assert_breaks(Rule::Reads, &[beats(1), vec![none(0.5)]].concat());
}

#[test]
fn a_number_of_peers() {
    let summary = |at: f64, peers, live| {
        let outcome = Outcome::Summary { peers, live };
        op(at, at + 0.1, 8, Request::Summary, outcome)
    };
    let second = lost(9.5, 2, register("b"));
    let and = |it: Operation| with(&[second.clone(), it]);
    assert_keeps(&and(summary(9.6, 2, 1)));
    assert_keeps(&and(summary(9.2, 1, 1)));
    assert_breaks(Rule::Reads, &and(summary(9.2, 2, 1)));
    assert_breaks(Rule::Reads, &and(summary(9.6, 1, 2)));
    assert_keeps(&and(summary(4.0, 0, 0)));
    assert_breaks(Rule::Reads, &and(summary(4.2, 0, 0)));
}
