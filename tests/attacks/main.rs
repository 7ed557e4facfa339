//! The attacks that strangers have made, as load on a service in a container of 128 MB,
//! while a thousand peers renew their leases and a good client asks.
//!
//! `ATTACK_SECONDS` says how long each lasts, 5 if it is not set. A lease runs for 30 s,
//! so the time between two renewals is what a short run measures of it. `ATTACK` chooses
//! those whose name has that text.

mod attacker;
#[path = "../common/mod.rs"]
mod common;
mod connections;
mod field;
mod floods;
mod forwards;
mod good_client;
mod message;
mod peers;
mod writes;

use std::{
    env, panic,
    sync::{Mutex, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use attacker::Attacker;
use common::{eventually, namespaces::enter};
use field::{ATTACKERS, Field, LEASE};
use good_client::GoodClient;
use peers::Peers;

/// The maximum memory in kB: resident, and all that is accounted to the container.
const MOST_RESIDENT: u64 = 100_000;
const MOST_IN_ALL: u64 = 128 << 10;
const MOST_LOGGED: u64 = 1_000_000;
const MOST_TIME: Duration = Duration::from_secs(1);

/// How often the health check is made, and sockets are counted.
const LOOK: Duration = Duration::from_secs(2);

type Run = Box<dyn Fn(&Attacker) + Sync>;

struct Attack {
    name: &'static str,
    is_local: bool,
    run: Run,
}

fn attack(name: &'static str, run: impl Fn(&Attacker) + Sync + 'static) -> Attack {
    Attack {
        name,
        is_local: false,
        run: Box::new(run),
    }
}

/// New hosts come last: the service keeps them.
fn attacks(replayed: Vec<u8>) -> Vec<Attack> {
    let near_the_health_check = Attack {
        name: "names of all kinds from the health check's own network",
        is_local: true,
        run: Box::new(|attacker: &Attacker| match attacker.number {
            0 => floods::garbage(attacker),
            1 => connections::slow(attacker),
            2 => connections::unread(attacker),
            _ => floods::no_such_names(attacker),
        }),
    };
    vec![
        attack("nothing", |attacker| attacker.at_rate(1, |_| {})),
        attack("unread answers", connections::unread),
        attack(
            "unread answers of finished clients",
            connections::finished_unread,
        ),
        attack("slow connections", connections::slow),
        attack("handshakes of TLS", connections::unfinished_handshakes),
        attack("forwards by UDP", forwards::by_udp),
        attack("forwards by TCP", forwards::by_tcp),
        attack("hosts that leave and return", writes::restless_hosts),
        attack("loopback forged", floods::forged_loopback),
        attack("a signed release again", move |attacker| {
            writes::repeat(attacker, &replayed);
        }),
        attack("names without proof", floods::without_proof),
        attack("names that do not exist", floods::no_such_names),
        attack("garbage", floods::garbage),
        near_the_health_check,
        attack("new hosts", writes::new_hosts),
    ]
}

fn seconds() -> Duration {
    let seconds = env::var("ATTACK_SECONDS").map_or(5, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// The service with its peers and its good client.
struct Scene<'s> {
    field: &'s Field,
    peers: &'s Peers,
    client: &'s GoodClient,
}

impl Scene<'_> {
    /// Makes the attacks at the same time; gives what does not hold.
    fn attack(&self, attacks: &[Attack]) -> Vec<String> {
        let names: Vec<&str> = attacks.iter().map(|attack| attack.name).collect();
        let name = match names.as_slice() {
            [name] => name,
            _ => "all of them",
        };
        self.field.forget_peak();
        self.peers.take();
        self.client.take();
        let logged = self.field.logged();
        let until = Instant::now() + seconds();
        let mut sockets = 0;
        let mut wrong = Vec::new();
        thread::scope(|scope| {
            for attack in attacks {
                for (number, address) in ATTACKERS.iter().enumerate() {
                    scope.spawn(move || {
                        let (namespace, address) = if attack.is_local {
                            (self.field.container(), "127.0.0.1")
                        } else {
                            (self.field.attackers(), *address)
                        };
                        enter(namespace);
                        // Real attackers have processors of their own.
                        rustix::process::nice(10).unwrap();
                        let address = address.parse().unwrap();
                        (attack.run)(&Attacker {
                            address,
                            number,
                            attacks: attacks.len(),
                            until,
                        });
                    });
                }
            }
            while Instant::now() < until {
                thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
                assert!(self.field.is_alive(), "{name}: the service has ended");
                sockets = sockets.max(self.field.socket_memory());
                if let Err(said) = self.field.health() {
                    wrong.push(format!("the health check fails: {said}"));
                }
            }
        });
        let resident = self.field.peak();
        let logged = self.field.logged() - logged;
        let (peers, client) = (self.peers.take(), self.client.take());
        let worst = client.longest[0].max(client.longest[1]);
        println!(
            "{name}: {resident} kB resident and {sockets} kB of sockets at the most; dig took \
             {:?}, by TCP {:?} at the most, of {}; {logged} octets logged; {} leases lost, {} \
             renewals, {} times no answer, {:?} between two at the most; {:?} live at the least and at the most",
            client.longest[0],
            client.longest[1],
            client.asked,
            peers.lost,
            peers.renewals,
            peers.unanswered,
            peers.longest,
            client.live,
        );
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        must(resident < MOST_RESIDENT, format!("{resident} kB resident"));
        let in_all = resident + sockets;
        must(
            in_all < MOST_IN_ALL,
            format!("{in_all} kB with the sockets"),
        );
        must(worst < MOST_TIME, format!("dig took {worst:?}"));
        let failures = client.failures;
        must(failures.is_empty(), format!("dig says {failures:?}"));
        must(client.asked > 0, "the good client has not asked".into());
        must(logged < MOST_LOGGED, format!("{logged} octets logged"));
        must(peers.lost == 0, format!("{} leases lost", peers.lost));
        let lease = Duration::from_secs(LEASE);
        must(
            peers.longest < lease,
            format!("{:?} between two renewals", peers.longest),
        );
        // The good client is a peer too.
        let live = client.live.unwrap_or_default()[0];
        must(live > peers::COUNT, format!("{live} peers were live"));
        let wrong = wrong.into_iter();
        wrong.map(|it| format!("{name}: {it}")).collect()
    }
}

/// Makes the attacks, in groups one after another, on a service of their own.
fn under_attack(groups: impl FnOnce(Vec<Attack>) -> Vec<Vec<Attack>>) {
    // Each measures times: one service after the other.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(|error| error.into_inner());
    let field = Field::new();
    forwards::start_upstream(field.peers());
    // An update that was signed before the start is refused, by the second.
    thread::sleep(Duration::from_millis(1_100));
    let release = writes::signed_release(&field, "peer-7");
    writes::deliver(&field, &release);
    let (peers, client) = (Peers::default(), GoodClient::default());
    let wrong = thread::scope(|scope| {
        scope.spawn(|| {
            enter(field.peers());
            peers.run();
        });
        scope.spawn(|| {
            enter(field.good());
            client.run();
        });
        let attacking = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            let are_ready = || peers.are_ready.load(Ordering::Relaxed);
            eventually(Duration::from_secs(30), "the peers register", are_ready);
            let scene = Scene {
                field: &field,
                peers: &peers,
                client: &client,
            };
            let chosen = env::var("ATTACK").unwrap_or_default();
            let mut attacks = attacks(release);
            attacks.retain(|attack| attack.name.contains(&chosen));
            let groups = groups(attacks).into_iter();
            groups
                .flat_map(|group| scene.attack(&group))
                .collect::<Vec<_>>()
        }));
        peers.is_over.store(true, Ordering::Relaxed);
        client.is_over.store(true, Ordering::Relaxed);
        attacking.unwrap_or_else(|panic| panic::resume_unwind(panic))
    });
    let log = field.log();
    let tail = log.len().saturating_sub(4_000);
    let tail = String::from_utf8_lossy(&log.as_bytes()[tail..]);
    assert!(wrong.is_empty(), "{wrong:#?}\nThe end of the log:\n{tail}");
}

#[test]
fn each_attack_leaves_the_others_alone() {
    under_attack(|attacks| attacks.into_iter().map(|attack| vec![attack]).collect());
}

#[test]
fn all_attacks_at_the_same_time_leave_the_others_alone() {
    under_attack(|attacks| vec![attacks]);
}
