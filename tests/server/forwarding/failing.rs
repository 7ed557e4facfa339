//! Upstreams that are slow, silent, wrong or broken.

use std::time::Duration;

use super::{
    Field,
    messages::{POINTER, Parts, has_edns, opt, option, question, record, text},
    upstream::{Act, Seen, Upstream},
};

const SLOW: Duration = Duration::from_millis(2_500);

/// An upstream that answers correctly.
fn good() -> Upstream {
    Upstream::always(|query| Parts::address().reply(query))
}

/// An upstream that returns only a code.
fn saying(code: u8) -> Upstream {
    Upstream::always(move |query| Parts::code(code).reply(query))
}

fn slow() -> Upstream {
    Upstream::start(|seen| {
        vec![
            Act::Wait(SLOW),
            Act::Send(Parts::address().reply(&seen.packet)),
        ]
    })
}

fn assert_answered(answer: &str) {
    assert!(answer.contains("status: NOERROR"), "{answer}");
    assert!(answer.contains("192.0.2.7"), "{answer}");
    assert!(!answer.contains("EDE"), "{answer}");
}

#[test]
fn the_only_upstream_has_all_the_time_there_is() {
    let upstream = slow();
    let field = Field::new(&[upstream.address]);
    assert_answered(&field.dig(&["a.example"]));
}

#[test]
fn a_slow_upstream_is_heard_while_others_that_are_silent_are_asked() {
    let (first, second, third) = (slow(), Upstream::silent(), Upstream::silent());
    let field = Field::new(&[first.address, second.address, third.address]);
    assert_answered(&field.dig(&["a.example"]));
    assert!(!second.seen().is_empty());
}

#[test]
fn a_query_that_was_lost_is_sent_again() {
    let upstream = Upstream::start(|seen| match seen.before {
        0 => Vec::new(),
        _ => vec![Act::Send(Parts::address().reply(&seen.packet))],
    });
    let field = Field::new(&[upstream.address]);
    assert_answered(&field.dig(&["a.example"]));
}

#[test]
fn an_upstream_that_knows_no_edns_is_asked_without() {
    for code in [1, 4] {
        let upstream = Upstream::always(move |query| match has_edns(query) {
            true => Parts::code(code).message(query),
            false => Parts::address().message(query),
        });
        let field = Field::new(&[upstream.address]);
        assert_answered(&field.dig(&["+dnssec", "a.example"]));
        let seen = upstream.seen();
        let with_edns = seen.iter().map(|seen| has_edns(&seen.packet));
        let mut with_edns: Vec<bool> = with_edns.collect();
        // On a slow machine a query may have been repeated.
        with_edns.dedup();
        assert_eq!(with_edns, [true, false], "code {code}");
    }
}

#[test]
fn an_error_may_come_without_the_question() {
    let upstream = Upstream::always(|query| match has_edns(query) {
        true => [&query[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
        false => Parts::address().message(query),
    });
    let field = Field::new(&[upstream.address]);
    assert_answered(&field.dig(&["a.example"]));
}

#[test]
fn what_is_truncated_is_asked_for_by_tcp() {
    let whole = |query: &[u8]| {
        let mut parts = Parts::address();
        parts.answers = (0..60).map(|it| text(&format!("{it:0100}"))).collect();
        parts.reply(query)
    };
    let upstream = Upstream::start(move |seen: &Seen| {
        let reply = match seen.tcp {
            true => whole(&seen.packet),
            false => {
                let mut truncated = Parts::code(0);
                truncated.flags |= 2;
                truncated.reply(&seen.packet)
            }
        };
        vec![Act::Send(reply)]
    });
    let field = Field::new(&[upstream.address]);
    for arguments in [&["TXT", "a.example"][..], &["+tcp", "TXT", "a.example"]] {
        let answer = field.dig(arguments);
        assert!(answer.contains("ANSWER: 60,"), "{answer}");
        assert!(answer.contains(&format!("{:0100}", 59)), "{answer}");
    }
    // The client accepts no more, and gets a truncated response.
    let ignored = field.dig(&["+ignore", "TXT", "a.example"]);
    assert!(ignored.contains(" tc "), "{ignored}");
    assert!(ignored.contains("ANSWER: 0,"), "{ignored}");
}

/// None of these is a response to the query, whoever sent it.
#[test]
fn only_what_answers_the_query_is_taken() {
    type Wrong = fn(&[u8]) -> Act;
    let wrong: [(&str, Wrong); 9] = [
        ("another ID", |query| {
            let mut reply = poisoned(query);
            reply[0] ^= 1;
            Act::Send(reply)
        }),
        ("another spelling", |query| {
            let mut reply = poisoned(query);
            reply[13] ^= 0x20;
            Act::Send(reply)
        }),
        ("another name", |query| {
            let mut reply = poisoned(query);
            reply[13] ^= 1;
            Act::Send(reply)
        }),
        ("another type", |query| {
            let mut reply = poisoned(query);
            let end = 12 + question(query).len();
            reply[end - 3] ^= 0x10;
            Act::Send(reply)
        }),
        ("another port", |query| {
            Act::SendFromElsewhere(poisoned(query))
        }),
        ("a query", |query| Act::Send(query.to_vec())),
        ("less than a header", |query| Act::Send(query[..7].to_vec())),
        ("a denial without a question", |query| {
            Act::Send([&query[..2], &[0x81, 0x83, 0, 0, 0, 0, 0, 0, 0, 0]].concat())
        }),
        ("no question", |query| {
            let mut reply = [&query[..2], &[0x81, 0x80, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
            reply.extend(record(&[0], 1, 300, &[192, 0, 2, 66]));
            Act::Send(reply)
        }),
    ];
    for (what, wrong) in wrong {
        let upstream = Upstream::start(move |seen| {
            vec![
                wrong(&seen.packet),
                Act::Wait(Duration::from_millis(100)),
                Act::Send(Parts::address().reply(&seen.packet)),
            ]
        });
        let field = Field::new(&[upstream.address]);
        let answer = field.dig(&["SpElt.example"]);
        assert!(!answer.contains("192.0.2.66"), "{what}: {answer}");
        assert!(answer.contains("SpElt.example."), "{what}: {answer}");
        assert_answered(&answer);
    }
}

/// A response with an answer that must not be returned to the client.
fn poisoned(query: &[u8]) -> Vec<u8> {
    let mut parts = Parts::address();
    parts.answers = vec![record(&POINTER, 1, 300, &[192, 0, 2, 66])];
    parts.reply(query)
}

/// An attacker has few attempts: then the query is sent by TCP.
#[test]
fn a_flood_of_wrong_replies_ends_in_tcp() {
    let upstream = Upstream::start(|seen| {
        let mut acts = Vec::new();
        if !seen.tcp {
            for guess in 0..=255 {
                let mut reply = poisoned(&seen.packet);
                // All IDs except the right one.
                reply[1] = guess;
                if reply[1] != seen.packet[1] {
                    acts.push(Act::Send(reply));
                }
            }
            acts.push(Act::Send(poisoned(&seen.packet)));
        } else {
            acts.push(Act::Send(Parts::address().reply(&seen.packet)));
        }
        acts
    });
    let field = Field::new(&[upstream.address]);
    assert_answered(&field.dig(&["a.example"]));
}

#[test]
fn the_next_upstream_is_asked_when_one_fails_or_is_broken() {
    type Broken = fn(&[u8]) -> Vec<u8>;
    let broken: [(&str, Broken); 9] = [
        ("SERVFAIL", |query| Parts::code(2).reply(query)),
        ("REFUSED", |query| Parts::code(5).reply(query)),
        ("NOTAUTH", |query| Parts::code(9).reply(query)),
        ("BADVERS", |query| {
            let mut parts = Parts::code(0);
            parts.additional.push(opt(1, &[]));
            parts.message(query)
        }),
        ("a record that ends too early", |query| {
            let mut reply = Parts::address().message(query);
            reply.pop();
            reply
        }),
        ("octets behind the end", |query| {
            let mut reply = Parts::address().message(query);
            reply.push(0);
            reply
        }),
        ("fewer records than it says", |query| {
            let mut reply = Parts::address().message(query);
            reply[7] = 9;
            reply
        }),
        ("two OPT records", |query| {
            let mut parts = Parts::address();
            parts.additional = vec![opt(0, &[]), opt(0, &[])];
            parts.message(query)
        }),
        ("a signature that nobody asked for", |query| {
            let mut parts = Parts::address();
            parts.additional = vec![record(&[0], 250, 0, &[0; 32])];
            parts.message(query)
        }),
    ];
    for (what, make) in broken {
        let (first, second) = (Upstream::always(make), good());
        let field = Field::new(&[first.address, second.address]);
        let answer = field.dig(&["a.example"]);
        assert!(answer.contains("192.0.2.7"), "{what}: {answer}");
        assert!(!first.seen().is_empty(), "{what}");
    }
}

#[test]
fn an_upstream_that_is_gone_does_not_keep_the_client_waiting() {
    let gone = Upstream::silent().address;
    let second = good();
    let field = Field::new(&[gone, second.address]);
    assert_answered(&field.dig(&["a.example"]));
    let alone = Field::new(&[gone]);
    let answer = alone.dig(&["a.example"]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    let why = format!("EDE: 23 (Network Error): ({gone} gave no answer: Connection refused");
    assert!(answer.contains(&why), "{answer}");
}

#[test]
fn whoever_answered_last_is_asked_first() {
    let (first, second) = (Upstream::silent(), good());
    let field = Field::new(&[first.address, second.address]);
    assert_answered(&field.dig(&["a.example"]));
    let asked = first.seen().len();
    assert!(asked > 0);
    for _ in 0..5 {
        assert_answered(&field.dig(&["b.example"]));
    }
    assert_eq!(first.seen().len(), asked);
}

#[test]
fn who_said_what_is_told_where_nobody_has_an_answer() {
    let (silent, refusing, failing) = (Upstream::silent(), saying(5), saying(2));
    let other = saying(5);
    let all = |upstreams: &[&Upstream]| {
        let addresses: Vec<_> = upstreams.iter().map(|it| it.address).collect();
        Field::new(&addresses).dig(&["a.example"])
    };
    let answer = all(&[&silent]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    let why = format!(
        "EDE: 22 (No Reachable Authority): ({} did not answer within 4.5 s)",
        silent.address
    );
    assert!(answer.contains(&why), "{answer}");

    let answer = all(&[&refusing, &other]);
    assert!(answer.contains("status: REFUSED"), "{answer}");
    let why = format!(
        "EDE: 0 (Other): ({} answered REFUSED, {} answered REFUSED)",
        refusing.address, other.address
    );
    assert!(answer.contains(&why), "{answer}");

    // SERVFAIL is more informative: that upstream has tried.
    for upstreams in [
        [&refusing, &silent, &failing],
        [&failing, &refusing, &silent],
    ] {
        let answer = all(&upstreams);
        assert!(answer.contains("status: SERVFAIL"), "{answer}");
        for (upstream, said) in [
            (&refusing, "answered REFUSED"),
            (&failing, "answered SERVFAIL"),
            (&silent, "did not answer within"),
        ] {
            let said = format!("{} {said}", upstream.address);
            assert!(answer.contains(&said), "{answer}");
        }
    }
}

#[test]
fn what_an_upstream_says_of_its_failure_arrives() {
    let upstream = Upstream::always(|query| {
        let mut parts = Parts::code(2);
        let error = [&[0, 6][..], b"the chain of trust is broken"].concat();
        parts.additional.push(opt(0, &option(15, &error)));
        parts.message(query)
    });
    let field = Field::new(&[upstream.address]);
    let answer = field.dig(&["a.example"]);
    assert!(answer.contains("status: SERVFAIL"), "{answer}");
    for error in [
        "EDE: 6 (DNSSEC Bogus): (the chain of trust is broken)".to_owned(),
        format!("EDE: 0 (Other): ({} answered SERVFAIL)", upstream.address),
    ] {
        assert!(answer.contains(&error), "{answer}");
    }
}
