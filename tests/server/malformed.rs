//! Messages that are malformed, or not queries for this service.

use crate::common::{shipped_service, socket, status, txt_query};
use hickory_proto::op::{Message, ResponseCode};

const O: &str = "pbft.fabric.internal";

#[test]
fn what_is_no_question_for_this_service_gets_the_code_of_the_rfcs() {
    let (service, _data) = shipped_service();
    let name = format!("a.{O}");
    for (arguments, expected) in [
        (vec!["TXT", "example.com"], "REFUSED"),
        (vec!["-c", "CH", "TXT", &name], "REFUSED"),
        (vec!["+opcode=NOTIFY", "SOA", O], "NOTIMP"),
        (vec!["+opcode=STATUS", "SOA", O], "NOTIMP"),
        (vec!["+opcode=15", "SOA", O], "NOTIMP"),
        (
            vec!["+edns=1", "+noednsnegotiation", "TXT", &name],
            "BADVERS",
        ),
        (vec!["+header-only", "+nocookie"], "FORMERR"),
        (vec!["AXFR", "example.com"], "REFUSED"),
    ] {
        let answer = service.dig(&arguments);
        let refused_transfer = expected == "REFUSED" && answer.contains("Transfer failed");
        assert!(
            refused_transfer || status(&answer) == expected,
            "{arguments:?}: {answer}"
        );
    }
}

#[test]
fn malformed_packets_get_formerr_or_nothing() {
    let (service, _data) = shipped_service();
    let socket = socket();
    let mut buffer = [0; 4096];
    let query = txt_query(7, &format!("a.{O}"), None);
    let mut two_questions = query.clone();
    two_questions[5] = 2;
    let mut pointer_loop = query[..12].to_vec();
    pointer_loop.extend([0xc0, 12, 0, 16, 0, 1]);
    let mut cut = query.clone();
    cut.truncate(20);
    for packet in [two_questions, pointer_loop, cut] {
        socket.send_to(&packet, service.address).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        let reply = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
        assert_eq!(reply.metadata.id, 7);
    }
    // Responses and messages shorter than a header are not answered.
    let mut answer = query.clone();
    answer[2] |= 0x80;
    for packet in [query[..11].to_vec(), answer, vec![]] {
        socket.send_to(&packet, service.address).unwrap();
    }
    socket.send_to(&query, service.address).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn malformed_options_are_not_logged() {
    let (service, _data) = shipped_service();
    let socket = socket();
    // An OPT record with an option that is longer than the record.
    let mut query = txt_query(1, &format!("a.{O}"), Some("10.0.0.1"));
    let length = query.len();
    query[length - 9] = 200;
    let before = service.log_of_others();
    let mut buffer = [0; 4096];
    for _ in 0..100 {
        socket.send_to(&query, service.address).unwrap();
        socket.recv(&mut buffer).unwrap();
    }
    let log = service.log_of_others();
    let more = log.lines().count() - before.lines().count();
    assert!(more <= 1, "{log}");
}
