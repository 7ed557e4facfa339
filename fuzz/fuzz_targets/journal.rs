//! Any octets as a segment of the journal: nothing of it may be relied on but its
//! checksums, which the target makes for lines that begin with `+`. What is read
//! is read again when it is written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use param_daemon::store::journal::{self, Item, Segment};

fuzz_target!(|input: &[u8]| {
    let octets = summed(input);
    let Ok(segment) = Segment::parse(&octets) else {
        return;
    };
    assert!(segment.end <= octets.len());
    let mut last = segment.head.as_ref().map_or(0, |head| head.after);
    let mut written = Vec::new();
    if let Some(head) = &segment.head {
        written = journal::head_line(head).expect("a head can be written");
    }
    let mut read = 0;
    for item in &segment.items {
        match item {
            Item::Record(record) => {
                assert!(record.number > last, "the numbers rise");
                last = record.number;
                let line = journal::record_line(record.number, &record.writes);
                written.extend(line.expect("a commit can be written"));
                read += 1;
            }
            Item::Damage(range) => {
                assert!(!range.is_empty() && range.end <= octets.len());
            }
        }
    }
    assert_eq!(segment.last(), last);
    // Not octet by octet: JSON can be written in several ways.
    let again = Segment::parse(&written).expect("it is of this release");
    assert_eq!(again.head, segment.head);
    assert_eq!(again.records().count(), read);
    let commits = |segment: &Segment| -> Vec<_> {
        let records = segment.records();
        records.map(|it| (it.number, it.writes.clone())).collect()
    };
    assert_eq!(commits(&again), commits(&segment), "read as it was written");
    assert!(!again.is_torn());
    assert_eq!(again.end, written.len());
});

fn summed(input: &[u8]) -> Vec<u8> {
    let lines = input.split_inclusive(|octet| *octet == b'\n');
    let lines = lines.map(|line| match line.strip_prefix(b"+") {
        Some(rest) => journal::frame(rest.strip_suffix(b"\n").unwrap_or(rest)),
        None => line.to_vec(),
    });
    lines.collect::<Vec<_>>().concat()
}
