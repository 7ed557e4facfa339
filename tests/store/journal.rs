//! The journal returns what was committed: everything if it is intact, and
//! nothing that was not committed, however it is damaged.

use std::{fs, path::PathBuf};

use crate::common::unlocked;
use param_daemon::store::{
    Identity, LocalStore, Pin, Registration, Store as _, Write,
    journal::{self, Head, Item, Journal, Segment},
    local::OpenMode,
};
use proptest::prelude::*;

const ORIGINS: [&str; 2] = ["a.internal.", "b."];

fn write() -> impl Strategy<Value = Write> {
    let place = (prop::sample::select(&ORIGINS[..]), 0u32..40, "[a-c]");
    let kind = 0..5;
    (place, kind, any::<std::net::IpAddr>()).prop_map(|((origin, number, host), kind, address)| {
        let origin = origin.into();
        let sequence = "vp".to_owned();
        match kind {
            0 => Write::Put {
                origin,
                registration: Registration {
                    host,
                    sequence,
                    number,
                    role: "mixed".into(),
                    source: address,
                    address,
                    epoch: u64::from(number),
                },
            },
            1 => Write::Delete {
                origin,
                host,
                sequence,
                number,
            },
            2 => Write::Pin {
                origin,
                pin: Pin {
                    host,
                    sequence,
                    number,
                },
            },
            3 => Write::Unpin { origin, host },
            _ => Write::Serial {
                origin,
                serial: u64::from(number) << 20,
            },
        }
    })
}

/// The writes of a commit by zone, as the journal stores them.
fn by_zone(writes: &[Write]) -> Vec<Write> {
    let mut writes = writes.to_vec();
    writes.sort_by(|a, b| a.origin().cmp(b.origin()));
    writes
}

/// A journal of one segment with these commits, one of which was refused.
fn journal(commits: &[Vec<Write>], refused: usize) -> (tempfile::TempDir, Vec<u8>, Vec<u64>) {
    let data = tempfile::tempdir().unwrap();
    let directory = journal::directory(data.path());
    let head = Head::new(Identity::new().unwrap(), 3);
    let mut journal = Journal::begin(&directory, head).unwrap();
    let mut numbers = Vec::new();
    for (place, writes) in commits.iter().enumerate() {
        let number = 4 + place as u64;
        journal.write(number, writes).unwrap();
        journal.wait().unwrap();
        if place == refused {
            journal.undo();
        } else {
            journal.keep(number, writes);
            numbers.push(number);
        }
    }
    let octets = fs::read(only_segment(&directory)).unwrap();
    (data, octets, numbers)
}

fn only_segment(directory: &std::path::Path) -> PathBuf {
    let mut segments = journal::segments(directory).unwrap();
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

/// The numbers of the readable commits, each verified.
fn read(octets: &[u8], commits: &[Vec<Write>]) -> (Vec<u64>, Segment) {
    let segment = Segment::parse(octets).unwrap();
    let mut numbers = Vec::new();
    for record in segment.records() {
        let committed = &commits[(record.number - 4) as usize];
        assert_eq!(record.writes, by_zone(committed), "nothing is invented");
        numbers.push(record.number);
    }
    (numbers, segment)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_read_was_committed_wherever_it_is_cut_or_damaged(
        commits in prop::collection::vec(prop::collection::vec(write(), 0..6), 1..12),
        refused in 0usize..16,
        place in any::<prop::sample::Index>(),
        damage in 1u8..=255,
    ) {
        let (_data, octets, numbers) = journal(&commits, refused);
        let (whole, segment) = read(&octets, &commits);
        prop_assert_eq!(&whole, &numbers);
        prop_assert!(segment.is_whole() && !segment.is_torn());
        prop_assert_eq!(segment.last(), numbers.last().copied().unwrap_or(3));

        // Truncated anywhere, the beginning can be read.
        let cut = place.index(octets.len());
        let (kept, segment) = read(&octets[..cut], &commits);
        prop_assert_eq!(&kept[..], &numbers[..kept.len()]);
        prop_assert!(segment.end <= cut);

        // Damaged anywhere, all but one or two lines can be read, and the rest is
        // reported.
        let mut damaged = octets.clone();
        damaged[cut] ^= damage;
        let (left, segment) = read(&damaged, &commits);
        prop_assert!(left.len() + 2 >= numbers.len(), "{:?} of {:?}", left, numbers);
        let told = segment.items.iter().any(|item| matches!(item, Item::Damage(..)));
        if left.len() < numbers.len() || segment.head.is_none() {
            prop_assert!(told);
        }
        // After the damage the numbers rise as well.
        prop_assert!(left.is_sorted());
    }
}

/// An incomplete line is truncated when the journal is continued.
#[test]
fn a_torn_line_is_cut_off() {
    let data = tempfile::tempdir().unwrap();
    let serial = |serial| {
        [Write::Serial {
            origin: ORIGINS[0].into(),
            serial,
        }]
    };
    for round in 1..4 {
        let mut store = unlocked(|| LocalStore::open(data.path(), OpenMode::Serve)).unwrap();
        for _ in 0..3 {
            store.commit(&serial(round)).unwrap();
        }
        drop(store);
        let path = only_segment(&journal::directory(data.path()));
        let octets = fs::read(&path).unwrap();
        let segment = Segment::parse(&octets).unwrap();
        assert!(segment.is_whole() && !segment.is_torn());
        assert_eq!(segment.records().count() as u64, 3 * round);
        // A line that a power failure has left incomplete.
        let mut torn = octets[..segment.end].to_vec();
        torn.extend_from_slice(&octets[..100.min(segment.end)]);
        torn.extend_from_slice(&[0; 4096]);
        torn.extend_from_slice(b"\"}]}\n");
        fs::write(&path, torn).unwrap();
    }
}

/// Exactly the segments that dumps cover are removed.
#[test]
fn a_segment_goes_when_every_zone_has_it_in_a_dump() {
    let data = tempfile::tempdir().unwrap();
    let directory = journal::directory(data.path());
    let head = Head::new(Identity::new().unwrap(), 0);
    let mut journal = Journal::begin(&directory, head).unwrap();
    // Each commit is long enough for its own segment.
    let long = |origin: &str, number: u64| -> Vec<Write> {
        let host = format!("host-{number}");
        let unpin = Write::Unpin {
            origin: origin.into(),
            host,
        };
        vec![unpin; 200_000]
    };
    // Zones of commits 1 to 4: a, b, a, a.
    for (origin, number) in [(0, 1), (1, 2), (0, 3), (0, 4)] {
        let writes = long(ORIGINS[origin], number);
        journal.write(number, &writes).unwrap();
        journal.wait().unwrap();
        journal.keep(number, &writes);
    }
    let firsts = || -> Vec<u64> {
        let segments = journal::segments(&directory).unwrap();
        let heads = segments.iter().map(|path| {
            let octets = fs::read(path).unwrap();
            Segment::parse(&octets).unwrap().head.unwrap().after + 1
        });
        heads.collect()
    };
    assert_eq!(firsts(), [1, 2, 3, 4]);
    let cut = |a, b| {
        let covered = [(ORIGINS[0].to_owned(), a), (ORIGINS[1].to_owned(), b)];
        journal::cut(&directory, &covered.into()).unwrap();
        firsts()
    };
    assert_eq!(cut(0, 0), [1, 2, 3, 4]);
    assert_eq!(cut(1, 1), [2, 3, 4]);
    // The third segment contains nothing of the other zone.
    assert_eq!(cut(3, 1), [2, 4]);
    assert_eq!(cut(3, 2), [4]);
    assert_eq!(cut(9, 9), [4], "the last one stays");
}
