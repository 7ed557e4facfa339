//! The last look: when everything is healed, every host is asked for at every replica.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Client, Field};
use crate::{
    common::random::Random,
    history::{Host, Outcome, Request},
};

/// How many clients share the work.
const CLIENTS: usize = 4;

/// How long a client waits for an answer, in milliseconds.
const PATIENCE: [usize; 2] = [3_000; 2];

/// How soon a replica must answer.
const RECOVERY: Duration = Duration::from_secs(30);

/// How often a host is asked for at a replica that fails, and how soon again.
const ATTEMPTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// Asks for all hosts that were registered. `number` is the first number of a client
/// that nobody else has.
pub fn look(field: &Field, number: u8, random: &mut Random) {
    let hosts = field.recorder.registered();
    let Some(first) = hosts.first() else {
        return;
    };
    let mut seed = || random.next();
    let mut client = Client::new(field, number, seed(), PATIENCE);
    for replica in 0..field.replicas.len() {
        wait_for(&mut client, replica, first);
    }
    thread::scope(|scope| {
        for place in 0..CLIENTS {
            let (seed, hosts) = (seed(), &hosts);
            scope.spawn(move || {
                let number = number + 1 + place as u8;
                let mut client = Client::new(field, number, seed, PATIENCE);
                for host in hosts.iter().skip(place).step_by(CLIENTS) {
                    for replica in 0..field.replicas.len() {
                        ask(&mut client, replica, host);
                    }
                }
            });
        }
    });
}

/// Waits until a replica answers.
fn wait_for(client: &mut Client<'_>, replica: usize, host: &Host) {
    let start = Instant::now();
    while start.elapsed() < RECOVERY {
        if ask(client, replica, host) {
            return;
        }
    }
    let limit = RECOVERY.as_secs();
    let text = format!("replica {replica} fails for {limit} s after everything was healed");
    client.field.recorder.defect(text);
}

/// Asks for a host, several times if that fails. Returns whether there is an answer.
fn ask(client: &mut Client<'_>, replica: usize, host: &Host) -> bool {
    let register = Request::Register(host.clone());
    for _ in 0..ATTEMPTS {
        match client.ask_at(replica, &register) {
            Outcome::NoAnswer(_) | Outcome::Failed(_) => thread::sleep(PAUSE),
            // One that stands by has no socket.
            _ => return true,
        }
    }
    false
}
