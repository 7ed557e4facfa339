//! The last look: when everything is healed, every host is asked for at every replica.

use std::thread;

use super::{Client, Field};
use crate::{
    common::random::Random,
    history::{Host, Outcome, Request},
};

/// How many clients share the work.
const CLIENTS: usize = 4;

/// How often a host is asked for at a replica that does not answer.
const ATTEMPTS: usize = 10;

/// How long a client waits for an answer.
const PATIENCE: [usize; 2] = [3_000; 2];

/// Asks for all hosts that were registered. `number` is the first number of a client
/// that nobody else has.
pub fn look(field: &Field, number: u8, random: &mut Random) {
    let hosts = field.recorder.registered();
    thread::scope(|scope| {
        for place in 0..CLIENTS {
            let (seed, hosts) = (random.next(), &hosts);
            scope.spawn(move || {
                let client = Client::new(field, number + place as u8, seed, PATIENCE);
                let own = hosts.iter().skip(place).step_by(CLIENTS);
                look_for(client, own);
            });
        }
    });
}

fn look_for<'h>(mut client: Client<'_>, hosts: impl Iterator<Item = &'h Host>) {
    for host in hosts {
        let register = Request::Register(host.clone());
        for replica in 0..client.field.replicas.len() {
            for _ in 0..ATTEMPTS {
                let outcome = client.ask_at(replica, &register);
                match outcome {
                    // One that stands by has no socket.
                    Outcome::Undelivered(_) => break,
                    Outcome::NoAnswer(_) | Outcome::Failed(_) => {}
                    _ => break,
                }
            }
        }
    }
}
