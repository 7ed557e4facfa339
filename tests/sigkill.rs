//! SIGKILL at random moments, while hosts register, and are released and pinned
//! by DNS UPDATE: what was acknowledged is there, what was refused has changed
//! nothing, and what nobody was told is the one or the other.

mod common;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{Options, PARAMD, Service, run, simple_zone, strings_of, txt_query, zones};
use hickory_proto::{
    op::{
        Message, ResponseCode,
        update_message::{append, delete_all},
    },
    rr::{DNSClass, Name, RData, Record, rdata::TXT},
};

const ZONE: &str = "test.internal";

/// How long an answer may take. A service that is killed closes its connections,
/// so that nobody waits as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a connection to a service that is killed.
const LOST: [io::ErrorKind; 3] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// Random numbers (SplitMix64) whose seed can be given again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Says which seed it was, when a test fails.
struct Seed(u64);

impl Seed {
    fn new() -> Self {
        let given = std::env::var("SIGKILL_SEED").ok();
        let seed = given.map(|seed| seed.parse().expect("SIGKILL_SEED is a number"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(seed.unwrap_or(now.as_nanos() as u64))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again with the same choices: SIGKILL_SEED={}", self.0);
        }
    }
}

/// What may be true of a host, by what was acknowledged and what was not.
#[derive(Debug, Clone)]
struct Belief {
    /// It may have no ID.
    absent: bool,
    /// It may have any ID: it asked for one, and nobody heard the answer.
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

    /// Whether it can be nothing else than that this host has the number.
    fn is_certain_of(&self, number: u32) -> bool {
        !self.absent && !self.any && self.numbers.len() == 1 && self.admits(Some(number))
    }
}

struct Entry {
    belief: Belief,
    /// What has become of it, to be read when a test fails.
    history: Vec<String>,
    busy: bool,
    /// When it was last asked about.
    settled: Instant,
}

/// What is to be done about a host.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Register,
    Release,
    Pin(u32),
}

#[derive(Debug)]
enum Outcome {
    Acknowledged(Option<u32>),
    Refused(ResponseCode),
    Unknown(io::ErrorKind),
}

/// The hosts and what is known of them.
struct Ledger {
    entries: Mutex<Vec<Entry>>,
    /// How many of each deed were acknowledged, how many refused, how many are
    /// unknown.
    counts: Mutex<HashMap<&'static str, [u32; 3]>>,
}

impl Ledger {
    fn new(hosts: usize) -> Self {
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

    fn count(&self, deed: &str) -> [u32; 3] {
        let counts = self.counts.lock().unwrap();
        counts.get(deed).copied().unwrap_or_default()
    }

    /// Does it, and writes down what can be true from then on.
    fn perform(&self, client: &mut Client, host: usize, deed: Deed) {
        self.entries.lock().unwrap()[host].busy = true;
        let began = Instant::now();
        let outcome = client.perform(host, deed);
        // Only a killed service leaves a question without an answer.
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
            // Only who has no ID is refused one.
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

    /// Compares it with what a service says that nobody else asks.
    fn check(&self, service: &Service) {
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
            // Who has an ID is told the same.
            if let Some(number) = listed {
                match client.perform(host, Deed::Register) {
                    Outcome::Acknowledged(Some(told)) => assert_eq!(told, number, "host {host}"),
                    other => panic!("host {host}, vp{number}: {other:?}, {history:?}"),
                }
            }
        }
    }
}

/// A connection to the service, made again whenever it is lost.
struct Client {
    server: SocketAddr,
    stream: Option<TcpStream>,
    id: u16,
}

impl Client {
    fn new(server: SocketAddr, id: u16) -> Self {
        Self {
            server,
            stream: None,
            id,
        }
    }

    fn perform(&mut self, host: usize, deed: Deed) -> Outcome {
        self.id = self.id.wrapping_add(1);
        let message = message(self.id, host, deed);
        let reply = match self.exchange(&message) {
            Ok(reply) => reply,
            Err(error) => {
                self.stream = None;
                return Outcome::Unknown(error.kind());
            }
        };
        assert_eq!(reply.metadata.id, self.id);
        match (reply.metadata.response_code, deed) {
            (ResponseCode::NoError, Deed::Register) => {
                let strings = strings_of(&reply);
                let id = strings[0].strip_prefix("id=vp").unwrap();
                Outcome::Acknowledged(Some(id.parse().unwrap()))
            }
            (ResponseCode::NoError, Deed::Release) => Outcome::Acknowledged(None),
            (ResponseCode::NoError, Deed::Pin(number)) => Outcome::Acknowledged(Some(number)),
            (code, _) => Outcome::Refused(code),
        }
    }

    fn exchange(&mut self, message: &[u8]) -> io::Result<Message> {
        let stream = self.stream();
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], message].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply)?;
        Ok(Message::from_vec(&reply).unwrap())
    }

    /// Waits until the service is back. Nothing has been sent then, so that
    /// nothing is unknown.
    fn stream(&mut self) -> &mut TcpStream {
        let server = self.server;
        let began = Instant::now();
        self.stream.get_or_insert_with(|| {
            loop {
                if let Ok(stream) = TcpStream::connect(server) {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    return stream;
                }
                assert!(began.elapsed() < PATIENCE, "{server} does not listen");
                thread::sleep(Duration::from_millis(2));
            }
        })
    }
}

fn message(id: u16, host: usize, deed: Deed) -> Vec<u8> {
    let text = format!("host-{host}.{ZONE}.");
    let name = Name::from_ascii(&text).unwrap();
    let origin = Name::from_ascii(format!("{ZONE}.")).unwrap();
    let mut update = match deed {
        Deed::Register => {
            let address = format!("10.1.{}.{}", host / 250, host % 250 + 1);
            return txt_query(id, &text, Some(&address));
        }
        Deed::Release => delete_all(name, origin, DNSClass::IN, true),
        Deed::Pin(number) => {
            let data = RData::TXT(TXT::new(vec![format!("id=vp{number}")]));
            let record = Record::from_rdata(name, 0, data);
            append(record.into(), origin, false, true)
        }
    };
    update.metadata.id = id;
    update.to_vec().unwrap()
}

/// What is done while the service is killed again and again.
struct Trial {
    hosts: usize,
    /// How many numbers there are at first, and how many more after each kill,
    /// so that there are new registrations to the last.
    limit: usize,
    growth: usize,
    updates: bool,
    /// Of each deed, how many must be acknowledged, refused and unknown at the end.
    least: &'static [(&'static str, [u32; 3])],
}

const WORKERS: usize = 4;

impl Trial {
    fn deed(&self, random: &mut Random, limit: usize) -> Deed {
        match random.below(if self.updates { 10 } else { 1 }) {
            0..=4 => Deed::Register,
            5..=7 => Deed::Release,
            // Some of them are outside the sequence.
            _ => Deed::Pin(random.below(limit + 3) as u32),
        }
    }

    fn write_zone(&self, directory: &Path, limit: usize) {
        let zone = simple_zone("reclaim = \"never\"", &format!("limit = {limit}"));
        fs::write(directory.join("t.toml"), zone).unwrap();
    }

    /// Each host is one worker's, so that what happens to it has an order.
    fn work(&self, worker: usize, seed: u64, field: &Field) {
        let mut random = Random(seed);
        let mut client = Client::new(field.server, random.next() as u16);
        while !field.stop.load(Ordering::Relaxed) {
            let host = random.below(self.hosts / WORKERS) * WORKERS + worker;
            let limit = field.limit.load(Ordering::Relaxed) as usize;
            let deed = self.deed(&mut random, limit);
            field.ledger.perform(&mut client, host, deed);
        }
    }

    fn has_happened(&self, ledger: &Ledger) -> bool {
        let mut least = self.least.iter();
        least.all(|(deed, least)| {
            let counts = ledger.count(deed);
            counts
                .iter()
                .zip(least)
                .all(|(count, least)| count >= least)
        })
    }

    fn run(&self) -> Ledger {
        let seed = Seed::new();
        let mut random = Random(seed.0);
        let kills = 10 + random.below(11);
        let zones = zones(&[]);
        let data = tempfile::tempdir().unwrap();
        self.write_zone(zones.path(), self.limit);
        let mut options = Options::new(zones.path(), data.path());
        options.listen = vec![listen()];
        let mut service = Service::start_with(&options);
        let field = Field {
            server: service.address,
            ledger: Ledger::new(self.hosts),
            limit: AtomicU32::new(self.limit as u32),
            stop: AtomicBool::new(false),
        };
        let service = thread::scope(|scope| {
            // Also when a check below fails.
            let stop = StopWhenDropped(&field.stop);
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let seed = random.next();
                    let field = &field;
                    scope.spawn(move || self.work(worker, seed, field))
                })
                .collect();
            // The first time when all numbers are taken, then at any moment.
            let began = Instant::now();
            while field.ledger.count("register")[1] == 0 && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(5));
            }
            // On a busy machine little may have happened by then.
            let most = kills * 10;
            for kill in 1..=most {
                if kill > kills && self.has_happened(&field.ledger) {
                    break;
                }
                thread::sleep(Duration::from_millis(random.below(250) as u64));
                service.kill();
                let limit = self.limit + kill * self.growth;
                self.write_zone(zones.path(), limit);
                field.limit.store(limit as u32, Ordering::Relaxed);
                service = Service::start_with(&options);
                if workers.iter().any(|worker| worker.is_finished()) {
                    break;
                }
            }
            drop(stop);
            for worker in workers {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            service
        });
        // What was acknowledged last is killed as well, before anybody looks.
        service.kill();
        let service = Service::start_with(&options);
        field.ledger.check(&service);
        field.ledger
    }
}

struct Field {
    server: SocketAddr,
    ledger: Ledger,
    limit: AtomicU32,
    stop: AtomicBool,
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An address of this process's own, and a port below those that the system
/// gives to connections: while the service is away, nobody else gets it.
fn listen() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let process = process::id();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "127.{}.{}.{}:20053",
        (process >> 8) % 250 + 1,
        process % 250 + 1,
        count + 1
    )
}

/// There is nothing to be seen if nothing happened.
fn assert_happened(trial: &Trial, ledger: &Ledger) {
    for (deed, _) in trial.least {
        let counts = ledger.count(deed);
        println!("{deed}: {counts:?} were acknowledged, refused, and unknown");
    }
    assert!(trial.has_happened(ledger), "not {:?}", trial.least);
}

#[test]
fn registrations_are_what_was_acknowledged_whenever_it_is_killed() {
    let trial = Trial {
        hosts: 6_000,
        limit: 20,
        growth: 300,
        updates: false,
        least: &[("register", [1_000, 1, 1])],
    };
    assert_happened(&trial, &trial.run());
}

#[test]
fn releases_and_pins_are_what_was_acknowledged_whenever_it_is_killed() {
    let trial = Trial {
        hosts: 80,
        limit: 40,
        growth: 1,
        updates: true,
        least: &[
            ("register", [100, 1, 0]),
            ("release", [50, 0, 0]),
            ("pin", [20, 1, 0]),
        ],
    };
    assert_happened(&trial, &trial.run());
}
