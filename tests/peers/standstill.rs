//! A service that stands still hears nobody: when it continues, no lease has
//! ended.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::common::namespaces::Network;
use crate::common::{Options, Service, eventually, signal, simple_zone, value_in, zones};

const LEASE: Duration = Duration::from_secs(2);

/// How many hosts query while the service stands still.
const HOSTS: usize = 20;

/// How often the service is stopped; `STANDSTILLS=100` makes it a long test.
fn stops() -> usize {
    std::env::var("STANDSTILLS").map_or(5, |stops| stops.parse().unwrap())
}

struct Field {
    network: Network,
    service: Service,
    _files: [tempfile::TempDir; 2],
}

impl Field {
    fn new() -> Self {
        let network = Network::new(2);
        let zones = zones(&[("t.toml", &simple_zone("lease = \"2s\"\nroots = 1", ""))]);
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(zones.path(), data.path());
        options.namespace = Some(network.name(0));
        options.listen = vec!["10.77.0.1:53".into()];
        let service = Service::start_with(&options);
        Self {
            network,
            service,
            _files: [zones, data],
        }
    }

    /// The summary of a host that queries from this namespace and states this
    /// address.
    fn ask(&self, from: usize, host: &str, address: &str) -> String {
        let name = format!("{host}.test.internal");
        let subnet = format!("+subnet={address}/32");
        let arguments = [
            "dig",
            "@10.77.0.1",
            "+tries=1",
            "+time=5",
            "+short",
            &subnet,
            "TXT",
            &name,
        ];
        self.network.run(from, &arguments)
    }

    /// All of these hosts renew their leases, by one call of `dig`.
    fn hear(&self, hosts: impl Iterator<Item = (String, String)>) {
        let mut arguments: Vec<String> = ["dig", "@10.77.0.1", "+tries=1", "+time=5", "+short"]
            .map(str::to_owned)
            .into();
        let mut expected = Vec::new();
        for (host, address) in hosts {
            arguments.extend(["-t".into(), "TXT".into()]);
            arguments.extend(["-q".into(), format!("{host}.test.internal")]);
            arguments.push(format!("+subnet={address}/32"));
            expected.push(format!("{address}:7051"));
        }
        let arguments: Vec<&str> = arguments.iter().map(|it| &**it).collect();
        let answers = self.network.run(1, &arguments);
        let holders: Vec<String> = answers
            .lines()
            .map(|answer| value_in(answer, "address").unwrap())
            .collect();
        assert_eq!(holders, expected);
    }

    fn stands_still_for(&self, time: Duration) {
        signal(self.service.child.id(), "STOP");
        thread::sleep(time);
        signal(self.service.child.id(), "CONT");
    }
}

#[test]
fn nothing_is_taken_and_nobody_is_first_after_a_standstill() {
    let field = Field::new();
    let host = |number: usize| (format!("host-{number}"), format!("10.77.1.{}", number + 1));
    for number in 0..HOSTS {
        let (name, address) = host(number);
        let answer = field.ask(1, &name, &address);
        assert_eq!(value_in(&answer, "id").unwrap(), format!("vp{number}"));
    }
    for stop in 0..stops() {
        // All have been heard a moment ago.
        eventually(Duration::from_secs(60), "all are heard in time", || {
            let began = Instant::now();
            field.hear((0..HOSTS).map(host));
            began.elapsed() < LEASE / 4
        });
        signal(field.service.child.id(), "STOP");
        thread::sleep(LEASE + Duration::from_secs(1));
        // The queries of strangers wait in the socket, and are the first that the
        // service reads.
        thread::scope(|scope| {
            let asked: Vec<_> = (0..4)
                .map(|place| {
                    let (name, address) = host((stop * 4 + place) % HOSTS);
                    let field = &field;
                    let ask = move || (field.ask(2, &name, "10.77.2.9"), address);
                    scope.spawn(ask)
                })
                .collect();
            let newcomer = format!("newcomer-{stop}");
            let joined = scope.spawn({
                let field = &field;
                move || field.ask(2, &newcomer, &format!("10.77.3.{}", stop + 1))
            });
            thread::sleep(Duration::from_millis(200));
            signal(field.service.child.id(), "CONT");
            for answer in asked {
                let (answer, address) = answer.join().unwrap();
                let holder = value_in(&answer, "address").unwrap();
                assert_eq!(
                    holder,
                    format!("{address}:7051"),
                    "a running lease is taken"
                );
            }
            let root = value_in(&joined.join().unwrap(), "root").unwrap();
            assert_eq!(root, "10.77.1.1:7051", "told to found a second network");
        });
    }
    let log = field.service.log();
    assert!(log.contains("the service stood still for "), "{log}");
}

/// A peer that is gone does not live forever: its lease is extended by one lease,
/// and then ends.
#[test]
fn whoever_stays_silent_after_a_standstill_is_gone_one_lease_later() {
    let field = Field::new();
    field.ask(1, "gone", "10.77.1.1");
    field.stands_still_for(LEASE + Duration::from_secs(1));
    let went_on = Instant::now();
    let answer = field.ask(2, "gone", "10.77.1.2");
    assert_eq!(value_in(&answer, "address").unwrap(), "10.77.1.1:7051");
    eventually(Duration::from_secs(15), "the lease ends", || {
        let answer = field.ask(2, "gone", "10.77.1.2");
        value_in(&answer, "address").unwrap() == "10.77.1.2:7051"
    });
    assert!(went_on.elapsed() >= LEASE);
}

/// A lease that had ended before is not revived.
#[test]
fn a_lease_that_had_ended_stays_ended() {
    let field = Field::new();
    field.ask(1, "gone", "10.77.1.1");
    field.ask(1, "_leave.gone", "10.77.1.1");
    field.stands_still_for(LEASE + Duration::from_secs(1));
    let answer = field.ask(2, "gone", "10.77.1.2");
    assert_eq!(value_in(&answer, "address").unwrap(), "10.77.1.2:7051");
}
