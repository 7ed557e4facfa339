//! The UDP loop: one for each socket, on a thread of its own.

use std::{io, net::UdpSocket, os::fd::AsRawFd, sync::Arc};

use rustix::net::netdevice::name_to_index;
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tracing::debug;

use super::{
    batch::{Batch, Route, send_routes},
    deferred::Deferred,
    shared::{PATIENCE, Shared},
};
use crate::server::{
    policy::source::{Source, Transport},
    query::{Outcome, pending::Pending, snapshot::Queries},
};

/// Answers until the service stops. The socket's read timeout says how often it
/// is looked whether it does.
pub fn run(
    socket: UdpSocket,
    shared: &Arc<Shared>,
    stopping: &watch::Receiver<bool>,
    runtime: &Handle,
) -> io::Result<()> {
    let bound = socket.local_addr()?.ip();
    // Without that interface nothing can come by it.
    let loopback = name_to_index(&socket, "lo").unwrap_or(0);
    let socket = Arc::new(socket);
    let deferred = Deferred::start(socket.clone(), shared.clone())?;
    let responder = &shared.responder;
    let mut snapshot = responder.snapshot();
    let mut batch = Batch::new();
    let tick = responder.clock.register_loop();
    while !*stopping.borrow() {
        let received = match batch.receive(socket.as_raw_fd()) {
            Ok(received) => received,
            Err(error) if is_passing(&error) => 0,
            Err(error) => return Err(error),
        };
        tick.tick();
        // Also where nothing came, so that a state that is over is not kept.
        snapshot.refresh(&responder.policy.cookies, &responder.clock);
        let (packets, replies) = batch.parts();
        let mut queries = Queries::default();
        snapshot.read(packets.iter(), &mut queries);
        for (place, reply) in replies[..received].iter_mut().enumerate() {
            // An address that no packet can be sent to was forged.
            let peer = packets.peer(place);
            let Some(peer) = peer.filter(|peer| peer.port() != 0 && !peer.ip().is_unspecified())
            else {
                continue;
            };
            let way = packets.way(place);
            let server = way.map_or(bound, |way| way.server);
            // A socket that is bound to a loopback address gets nothing else.
            let is_loopback = way.map_or(bound.is_loopback(), |way| way.interface == loopback);
            let source = Source::new(peer, Transport::Udp, server).from_interface(is_loopback);
            let (query, packet) = (queries.at(place), packets.packet(place));
            match responder.answer(&snapshot, query, packet, &source, reply) {
                // The responder transfers by TCP alone.
                Outcome::Reply | Outcome::Silence | Outcome::Transfer(_) => {}
                Outcome::Later(pending) => {
                    let route = packets.route(place);
                    match pending.registration() {
                        Some(_) => deferred.register(pending, route),
                        None => wait(shared, runtime, &socket, *pending, route),
                    }
                }
            }
        }
        drop(queries);
        batch.send(socket.as_raw_fd());
    }
    Ok(())
}

/// Waits for a reply that is not the registry's alone, and sends it.
fn wait(
    shared: &Arc<Shared>,
    runtime: &Handle,
    socket: &Arc<UdpSocket>,
    pending: Pending,
    route: Route,
) {
    let Ok(permit) = shared.pending.clone().try_acquire_owned() else {
        return;
    };
    let (shared, socket) = (shared.clone(), socket.clone());
    runtime.spawn(async move {
        let reply = shared.responder.finish(pending);
        if let Ok(Some(octets)) = timeout(PATIENCE, reply).await {
            send_routes(socket.as_raw_fd(), &mut vec![(route, octets)]);
        }
        drop(permit);
    });
}

/// Errors that concern one packet, not the socket: an answer that found nobody
/// (reported on the socket by ICMP), or a moment without memory. And the time to
/// look whether the service stops.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let passing = matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::Interrupted
            | Kind::OutOfMemory
            | Kind::WouldBlock
    );
    if passing && error.kind() != Kind::WouldBlock {
        debug!("receiving: {error}");
    }
    passing
}
