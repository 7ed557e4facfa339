//! The thread of the registry: it is the writer, or follows another replica that is.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tokio::sync::{mpsc::UnboundedSender, oneshot};
use tracing::{info, warn};

use super::{
    PublishedZone,
    coverage::{Coverage, Vouching},
    follower::Follower,
    replication::{Decided, Forwarded},
    request::Command,
    writer::Writer,
};
use crate::{
    clock::Clock,
    store::{Store, replication::Stored},
};

/// The maximum number of requests in one flush.
const MAX_BATCH: usize = 4_096;

/// How often a replica that is not the writer looks for requests that wait for too long.
const LOOK: Duration = Duration::from_millis(100);

/// What a replica learns from the others.
pub enum Event {
    /// Another replica has stored something.
    Stored(Stored),
    /// Everything that is stored.
    Read(Stored),
    /// A connection to the writer, which takes requests.
    Connected(UnboundedSender<Vec<Forwarded>>),
    /// The writer has decided about requests.
    Decided(Vec<Decided>),
    /// This replica is the writer now. Everything that was stored before has been
    /// received.
    Elected {
        store: Box<dyn Store>,
        coverage: Arc<Coverage>,
    },
    /// It is no longer. The answer is the last commit that it has published.
    Deposed(oneshot::Sender<u64>),
}

/// What enters the queue of the registry.
pub(super) enum Input {
    Command(Command),
    Event(Event),
}

pub(super) enum Role {
    Writer(Box<Writer>),
    Follower(Follower),
}

/// The state of the thread.
pub(super) struct RegistryThread {
    pub zones: Vec<Arc<PublishedZone>>,
    pub role: Role,
    pub clock: Clock,
    pub vouching: Arc<Vouching>,
    /// Whether the service could answer for leases when it was last looked.
    pub vouched: bool,
}

impl RegistryThread {
    /// Serves requests until the registry is dropped.
    pub fn run(mut self, inputs: &Receiver<Input>) {
        let tick = self.clock.register_loop();
        loop {
            let wait = match &self.role {
                Role::Writer(writer) => writer.wait(),
                Role::Follower(_) => LOOK,
            };
            let received = inputs.recv_timeout(wait);
            tick.tick();
            self.report_vouching();
            let mut commands = Vec::new();
            match received {
                Ok(first) => {
                    let waiting = inputs.try_iter().take(MAX_BATCH - 1);
                    for input in std::iter::once(first).chain(waiting) {
                        match input {
                            Input::Command(command) => commands.push(command),
                            Input::Event(event) => {
                                // What was requested before comes first.
                                self.serve(std::mem::take(&mut commands));
                                self.handle(event);
                            }
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.serve(commands);
        }
    }

    fn serve(&mut self, commands: Vec<Command>) {
        let now = self.clock.now();
        match &mut self.role {
            Role::Writer(writer) => writer.serve_or_expire(commands),
            Role::Follower(follower) => {
                follower.expire(now);
                follower.forward(commands, now);
            }
        }
    }

    /// Logs whether known peers are answered, when that changes.
    fn report_vouching(&mut self) {
        let vouches = self.vouching.is_valid(self.clock.now());
        match (self.vouched, vouches) {
            (true, false) => warn!(
                "no contact with the writer, or none can be elected, for longer than `hold`: known \
                 peers are not answered either"
            ),
            (false, true) => info!("known peers are answered"),
            _ => {}
        }
        self.vouched = vouches;
    }

    fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        match (&mut self.role, event) {
            (Role::Follower(follower), Event::Stored(stored)) => {
                follower.follow(stored, now);
                follower.decide(Vec::new());
            }
            (Role::Follower(follower), Event::Read(stored)) => {
                follower.replace(stored, now);
                follower.decide(Vec::new());
            }
            (Role::Follower(follower), Event::Connected(writer)) => follower.connect(writer, now),
            (Role::Follower(follower), Event::Decided(decided)) => follower.decide(decided),
            (Role::Follower(follower), Event::Elected { store, coverage }) => {
                let waiting = follower.take_waiting();
                let ended = std::mem::take(&mut follower.ended);
                let (zones, clock) = (self.zones.clone(), self.clock.clone());
                let writer =
                    Writer::elected(zones, store, ended, coverage, self.vouching.clone(), clock);
                self.role = Role::Writer(Box::new(writer));
                self.serve(waiting);
            }
            (Role::Writer(writer), Event::Deposed(published)) => {
                let (commit, ended, left) = writer.retire();
                let mut follower = Follower::new(self.zones.clone(), ended, commit);
                follower.forward(left, now);
                self.role = Role::Follower(follower);
                // Nobody may wait for it.
                let _ = published.send(commit);
            }
            (Role::Follower(follower), Event::Deposed(published)) => {
                // Nobody may wait for it.
                let _ = published.send(follower.commit);
            }
            // From the time before the election.
            (Role::Writer(_), _) => {}
        }
    }
}
