//! Plain queries by UDP that wait for the registry.
//!
//! A host that nobody knows, or whose lease has ended, is for the registry to
//! decide, and for the disk. The packet waits as it came. A thread beside each
//! UDP loop gets it back with the decision, and answers those of one flush
//! together: a task for each, its timer and its system call took longer than all
//! the rest.

use std::{
    io,
    net::UdpSocket,
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    batch::{Route, send_routes},
    shared::{PATIENCE, Shared},
};
use crate::{
    registry::Decision,
    server::{
        policy::{limits::NewHost, source::Source},
        query::register::Asking,
        wire::PACKETS,
    },
};

/// The way to the thread.
pub(super) struct Deferred {
    shared: Arc<Shared>,
    decided: mpsc::Sender<(Box<Waiting>, Decision)>,
}

/// A query that waits.
struct Waiting {
    asking: Asking,
    packet: Vec<u8>,
    source: Source,
    route: Route,
    since: Instant,
    new_host: Option<NewHost>,
    /// Held until the reply is sent: a service that ends waits for that.
    permit: OwnedSemaphorePermit,
}

impl Deferred {
    /// Starts the thread. It ends when this is gone and all that wait are
    /// answered.
    pub fn start(socket: Arc<UdpSocket>, shared: Arc<Shared>) -> io::Result<Self> {
        let (decided, decisions) = mpsc::channel();
        let for_thread = shared.clone();
        thread::Builder::new()
            .name("deferred".into())
            .spawn(move || answer_all(&socket, &for_thread, &decisions))?;
        Ok(Self { shared, decided })
    }

    /// Asks the registry; the answer is sent when that has decided. Gives `false`
    /// where the host may not ask. Where too many wait, it is told nothing, and
    /// asks again.
    pub fn ask(&self, asking: Asking, packet: &[u8], source: Source, route: Route) -> bool {
        let Ok(permit) = self.shared.registering.clone().try_acquire_owned() else {
            return true;
        };
        let Ok(new_host) = self.shared.handler.inner().admit(&asking) else {
            return false;
        };
        let (zone, action) = (asking.place, asking.action());
        let waiting = Box::new(Waiting {
            asking,
            packet: packet.to_vec(),
            source,
            route,
            since: Instant::now(),
            new_host,
            permit,
        });
        let decided = self.decided.clone();
        let registry = &self.shared.handler.inner().registry;
        // The queue is longer than what may wait here, so it is full only where
        // others have filled it.
        let _ = registry.submit(zone, action, move |decision| {
            // The thread is gone only if it has panicked.
            let _ = decided.send((waiting, decision));
        });
        true
    }
}

fn answer_all(
    socket: &UdpSocket,
    shared: &Shared,
    decisions: &mpsc::Receiver<(Box<Waiting>, Decision)>,
) {
    let mut fast_path = shared.handler.fast_path();
    let mut replies = Vec::with_capacity(PACKETS);
    let mut permits = Vec::with_capacity(PACKETS);
    loop {
        let first = match decisions.recv_timeout(IDLE) {
            Ok(first) => first,
            // So that a state that is over is not kept.
            Err(RecvTimeoutError::Timeout) => {
                fast_path.refresh();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let others = decisions.try_iter().take(PACKETS - 1);
        for (waiting, decision) in std::iter::once(first).chain(others) {
            let Waiting {
                asking,
                packet,
                source,
                route,
                since,
                new_host,
                permit,
            } = *waiting;
            permits.push(permit);
            shared.handler.inner().settle(new_host, &decision);
            // Who asked has given up by then, and asks again.
            if since.elapsed() > PATIENCE {
                continue;
            }
            let handler = &shared.handler;
            let reply = handler.answer_decided(&mut fast_path, asking, (&packet, source), decision);
            replies.extend(reply.map(|reply| (route, reply)));
        }
        send_routes(socket.as_raw_fd(), &mut replies);
        permits.clear();
    }
}

/// How long the thread waits before it looks at what it holds.
const IDLE: Duration = Duration::from_millis(100);
