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
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    batch::{Route, send_routes},
    shared::{PATIENCE, Shared},
};
use crate::{
    registry::Decision,
    server::{policy::limits::NewHost, query::pending::Pending, wire::PACKETS},
};

/// The way to the thread.
pub(super) struct Deferred {
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    decided: mpsc::Sender<(Box<Waiting>, Decision)>,
}

/// A query that waits.
struct Waiting {
    pending: Box<Pending>,
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
        let for_thread = (socket.clone(), shared.clone());
        thread::Builder::new()
            .name("deferred".into())
            .spawn(move || answer_all(&for_thread.0, &for_thread.1, &decisions))?;
        Ok(Self {
            socket,
            shared,
            decided,
        })
    }

    /// Asks the registry; the reply is sent when that has decided. Where too many wait,
    /// the client is told nothing, and asks again.
    pub fn register(&self, pending: Box<Pending>, route: Route) {
        let Some(registration) = pending.registration() else {
            return;
        };
        let Ok(permit) = self.shared.registering.clone().try_acquire_owned() else {
            return;
        };
        let responder = &self.shared.responder;
        let new_host = match responder.admit(registration) {
            Ok(new_host) => new_host,
            Err(error) => {
                let reply = responder.refused(&pending, error);
                let mut replies: Vec<_> = reply.map(|reply| (route, reply)).into_iter().collect();
                send_routes(self.socket.as_raw_fd(), &mut replies);
                return;
            }
        };
        let (zone, action) = (registration.zone, registration.action());
        let waiting = Box::new(Waiting {
            pending,
            route,
            since: Instant::now(),
            new_host,
            permit,
        });
        let decided = self.decided.clone();
        // The queue is longer than what may wait here, so it is full only where
        // others have filled it.
        let _ = responder.registry.submit(zone, action, move |decision| {
            // The thread is gone only if it has panicked.
            let _ = decided.send((waiting, decision));
        });
    }
}

fn answer_all(
    socket: &UdpSocket,
    shared: &Shared,
    decisions: &mpsc::Receiver<(Box<Waiting>, Decision)>,
) {
    let responder = &shared.responder;
    let mut replies = Vec::with_capacity(PACKETS);
    let mut permits = Vec::with_capacity(PACKETS);
    while let Ok(first) = decisions.recv() {
        let others = decisions.try_iter().take(PACKETS - 1);
        for (waiting, decision) in std::iter::once(first).chain(others) {
            let Waiting {
                pending,
                route,
                since,
                new_host,
                permit,
            } = *waiting;
            permits.push(permit);
            responder.settle(new_host, &decision);
            // Who asked has given up by then, and asks again.
            if since.elapsed() > PATIENCE {
                continue;
            }
            let reply = responder.conclude(&pending, decision);
            replies.extend(reply.map(|reply| (route, reply)));
        }
        send_routes(socket.as_raw_fd(), &mut replies);
        permits.clear();
    }
}
