//! Queries by UDP whose replies wait for the registry or an upstream.
//!
//! The registry decides about a new host, or one whose lease has ended, and writes to
//! the disk. The packet waits unchanged. A thread for each UDP loop receives it with
//! the decision, and answers all those of one flush together: a task, a timer and a
//! system call for each took longer than everything else.

use std::{
    io,
    net::UdpSocket,
    os::fd::AsRawFd as _,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time::timeout};

use super::{
    batch::{ReplyRoute, RoutedReply, send_replies},
    shared::{REPLY_TIMEOUT, Shared},
};
use crate::{
    registry::Decision,
    server::{policy::rate::Token, query::pending::Pending, wire::BATCH_SIZE},
};

/// Submits registrations to the registry, and answers them on a thread of its own. All
/// other queries that wait have a task each.
pub(super) struct DeferredReplies {
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    runtime: Handle,
    sender: mpsc::Sender<(Box<WaitingQuery>, Decision)>,
}

/// A query that waits for a decision.
struct WaitingQuery {
    pending: Box<Pending>,
    route: ReplyRoute,
    since: Instant,
    new_host: Option<Token>,
    /// Held until the reply is sent, so that a service that stops waits for it.
    permit: OwnedSemaphorePermit,
}

impl DeferredReplies {
    /// Starts the thread. It ends when this is dropped and all waiting queries are
    /// answered.
    pub fn start(socket: Arc<UdpSocket>, shared: Arc<Shared>, runtime: Handle) -> io::Result<Self> {
        let (sender, decisions) = mpsc::channel();
        let (thread_socket, thread_shared) = (socket.clone(), shared.clone());
        thread::Builder::new()
            .name("deferred".into())
            .spawn(move || answer_all(&thread_socket, &thread_shared, &decisions))?;
        Ok(Self {
            socket,
            shared,
            runtime,
            sender,
        })
    }

    /// Sends the reply to the client when it is ready. If too many queries wait, the query
    /// is dropped, and the client repeats it.
    pub fn defer(&self, pending: Box<Pending>, route: ReplyRoute) {
        let Some(registration) = pending.registration() else {
            return self.finish(*pending, route);
        };
        let Ok(permit) = self.shared.registering.clone().try_acquire_owned() else {
            return;
        };
        let responder = &self.shared.responder;
        let new_host = match responder.admit(registration) {
            Ok(new_host) => new_host,
            Err(error) => {
                if let Some(octets) = responder.reply_refused(&pending, error) {
                    let mut replies = vec![RoutedReply { route, octets }];
                    send_replies(self.socket.as_raw_fd(), &mut replies);
                }
                return;
            }
        };
        let (zone, action) = (registration.zone, registration.action());
        let waiting = Box::new(WaitingQuery {
            pending,
            route,
            since: Instant::now(),
            new_host,
            permit,
        });
        let sender = self.sender.clone();
        // The queue is longer than the number of waiting queries, so it is full only if
        // other operations have filled it.
        let _ = responder.registry.submit(zone, action, move |decision| {
            // This fails only if the thread has panicked.
            let _ = sender.send((waiting, decision));
        });
    }

    /// Starts a task that waits for a reply other than to a registration, and sends it.
    fn finish(&self, pending: Pending, route: ReplyRoute) {
        let Ok(permit) = self.shared.pending.clone().try_acquire_owned() else {
            return;
        };
        let (shared, socket) = (self.shared.clone(), self.socket.clone());
        self.runtime.spawn(async move {
            let reply = shared.responder.finish(pending);
            if let Ok(Some(octets)) = timeout(REPLY_TIMEOUT, reply).await {
                send_replies(socket.as_raw_fd(), &mut vec![RoutedReply { route, octets }]);
            }
            drop(permit);
        });
    }
}

fn answer_all(
    socket: &UdpSocket,
    shared: &Shared,
    decisions: &mpsc::Receiver<(Box<WaitingQuery>, Decision)>,
) {
    let responder = &shared.responder;
    let mut replies = Vec::with_capacity(BATCH_SIZE);
    let mut permits = Vec::with_capacity(BATCH_SIZE);
    while let Ok(first) = decisions.recv() {
        let others = decisions.try_iter().take(BATCH_SIZE - 1);
        for (waiting, decision) in std::iter::once(first).chain(others) {
            let WaitingQuery {
                pending,
                route,
                since,
                new_host,
                permit,
            } = *waiting;
            permits.push(permit);
            responder.refund_unless_new(new_host, &decision);
            // By then the client has given up, and repeats its query.
            if since.elapsed() > REPLY_TIMEOUT {
                continue;
            }
            let reply = responder.reply_to_decision(&pending, decision);
            replies.extend(reply.map(|octets| RoutedReply { route, octets }));
        }
        send_replies(socket.as_raw_fd(), &mut replies);
        permits.clear();
    }
}
