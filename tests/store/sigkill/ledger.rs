//! What may be true of each host, according to the answers.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::Instant,
};

use hickory_proto::op::ResponseCode;

use super::{
    ZONE,
    client::{Client, Deed, LOST, Outcome},
};
use crate::common::{PARAMD, Service, run};

/// What may be true of a host, according to answered and unanswered requests.
#[derive(Debug, Clone)]
struct Belief {
    /// It may have no ID.
    absent: bool,
    /// It may have any ID: it requested one, and got no answer.
    any: bool,
    /// It may have one of these.
    numbers: BTreeSet<u32>,
}

impl Belief {
    fn only(number: Option<u32>) -> Self {
        Self {
            absent: number.is_none(),
            any: false,
            numbers: number.into_iter().collect(),
        }
    }

    fn admits(&self, number: Option<u32>) -> bool {
        match number {
            Some(number) => self.any || self.numbers.contains(&number),
            None => self.absent,
        }
    }

    /// Whether the host certainly has this number.
    fn is_certain_of(&self, number: u32) -> bool {
        !self.absent && !self.any && self.numbers.len() == 1 && self.admits(Some(number))
    }
}

struct Entry {
    belief: Belief,
    /// Its changes, which are printed if the test fails.
    history: Vec<String>,
    busy: bool,
    /// When it was last queried.
    settled: Instant,
}

/// The hosts, and what is known about them.
pub struct Ledger {
    entries: Mutex<Vec<Entry>>,
    /// The numbers of acknowledged, refused and unanswered requests of each kind.
    counts: Mutex<HashMap<&'static str, [u32; 3]>>,
}

impl Ledger {
    pub fn new(hosts: usize) -> Self {
        let entry = || Entry {
            belief: Belief::only(None),
            history: Vec::new(),
            busy: false,
            settled: Instant::now(),
        };
        Self {
            entries: Mutex::new((0..hosts).map(|_| entry()).collect()),
            counts: Mutex::default(),
        }
    }

    pub fn count(&self, deed: &str) -> [u32; 3] {
        let counts = self.counts.lock().unwrap();
        counts.get(deed).copied().unwrap_or_default()
    }

    /// Performs a change, and records what may be true afterwards.
    pub fn perform(&self, client: &mut Client, host: usize, deed: Deed) {
        self.entries.lock().unwrap()[host].busy = true;
        let began = Instant::now();
        let outcome = client.perform(host, deed);
        // Only a killed service leaves a request unanswered.
        if let Outcome::Unknown(kind) = outcome {
            assert!(
                LOST.contains(&kind),
                "host {host}, {deed:?}: {kind:?} from a service that runs"
            );
        }
        let mut entries = self.entries.lock().unwrap();
        if let Outcome::Acknowledged(Some(number)) = outcome {
            for (other, entry) in entries.iter().enumerate() {
                let unmoved = other != host && !entry.busy && entry.settled < began;
                assert!(
                    !(unmoved && entry.belief.is_certain_of(number)),
                    "host {host} and host {other} have vp{number}: {:?}",
                    entry.history
                );
            }
        }
        let entry = &mut entries[host];
        entry.history.push(format!("{deed:?}: {outcome:?}"));
        let belief = &mut entry.belief;
        let place = match (deed, &outcome) {
            (Deed::Register, Outcome::Acknowledged(number)) => {
                let found = number.is_some() && (belief.absent || belief.admits(*number));
                assert!(found, "host {host}: {belief:?}, {:?}", entry.history);
                *belief = Belief::only(*number);
                0
            }
            (_, Outcome::Acknowledged(number)) => {
                *belief = Belief::only(*number);
                0
            }
            // Only a host without an ID is refused one.
            (Deed::Register, Outcome::Refused(code)) => {
                assert!(
                    *code == ResponseCode::Refused && belief.absent,
                    "host {host}: {belief:?}, {:?}",
                    entry.history
                );
                *belief = Belief::only(None);
                1
            }
            (_, Outcome::Refused(_)) => 1,
            (Deed::Register, Outcome::Unknown(_)) => {
                belief.any |= belief.absent;
                2
            }
            (Deed::Release, Outcome::Unknown(_)) => {
                belief.absent = true;
                2
            }
            (Deed::Pin(number), Outcome::Unknown(_)) => {
                belief.numbers.insert(number);
                2
            }
        };
        entry.busy = false;
        entry.settled = Instant::now();
        drop(entries);
        let name = match deed {
            Deed::Register => "register",
            Deed::Release => "release",
            Deed::Pin(_) => "pin",
        };
        self.counts.lock().unwrap().entry(name).or_default()[place] += 1;
    }

    /// Compares it with the answers of a service that has no other clients.
    pub fn check(&self, service: &Service) {
        let server = service.address.to_string();
        let table = run(PARAMD, &["peers", ZONE, "--server", &server]);
        let mut holders: HashMap<u32, usize> = HashMap::new();
        let mut registered: HashMap<usize, u32> = HashMap::new();
        for line in table.lines() {
            let mut words = line.split_whitespace();
            let id = words.next().and_then(|id| id.strip_prefix("vp"));
            let host = words.next().and_then(|host| host.strip_prefix("host-"));
            if let (Some(Ok(number)), Some(Ok(host))) = (id.map(str::parse), host.map(str::parse)) {
                let other = holders.insert(number, host);
                assert_eq!(other, None, "vp{number} is also that of host {host}");
                registered.insert(host, number);
            }
        }
        let mut client = Client::new(service.address, 1);
        for (host, entry) in self.entries.lock().unwrap().iter().enumerate() {
            let (belief, history) = (&entry.belief, &entry.history);
            let listed = registered.get(&host).copied();
            assert!(
                belief.admits(listed),
                "host {host} is {listed:?}, not {belief:?}: {history:?}"
            );
            // A host with an ID is told the same one.
            if let Some(number) = listed {
                match client.perform(host, Deed::Register) {
                    Outcome::Acknowledged(Some(told)) => assert_eq!(told, number, "host {host}"),
                    other => panic!("host {host}, vp{number}: {other:?}, {history:?}"),
                }
            }
        }
    }
}
