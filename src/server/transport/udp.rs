//! The UDP loop: one for each socket, on a thread of its own.

use std::{io, net::UdpSocket, os::fd::AsRawFd, sync::Arc};

use rustix::net::netdevice::name_to_index;
use tokio::{runtime::Handle, sync::watch};
use tracing::debug;

use super::{batch::Batch, deferred::DeferredReplies, shared::Shared};
use crate::server::{
    policy::source::{Source, Transport},
    query::{Outcome, snapshot::Queries},
};

/// Answers until the service stops, which is checked at least as often as the
/// socket's read timeout expires.
pub fn run(
    socket: UdpSocket,
    shared: &Arc<Shared>,
    stopping: &watch::Receiver<bool>,
    runtime: Handle,
) -> io::Result<()> {
    let bound = socket.local_addr()?.ip();
    // Without a loopback interface, no packet is received on it.
    let loopback = name_to_index(&socket, "lo").unwrap_or(0);
    let socket = Arc::new(socket);
    let deferred = DeferredReplies::start(socket.clone(), shared.clone(), runtime)?;
    let responder = &shared.responder;
    let mut snapshot = responder.snapshot();
    let mut batch = Batch::new();
    let tick = responder.clock.register_loop();
    while !*stopping.borrow() {
        let received = match batch.receive(socket.as_raw_fd()) {
            Ok(received) => received,
            Err(error) if is_transient(&error) => 0,
            Err(error) => return Err(error),
        };
        tick.tick();
        // Without packets as well, so that no outdated state is kept.
        snapshot.refresh(&responder.policy.cookies, &responder.clock);
        let (packets, replies) = batch.packets_and_replies();
        let mut queries = Queries::default();
        snapshot.read(packets.iter(), &mut queries);
        for (index, reply) in replies[..received].iter_mut().enumerate() {
            // An address to which no packet can be sent is forged.
            let address = packets.source_address(index);
            let Some(address) =
                address.filter(|address| address.port() != 0 && !address.ip().is_unspecified())
            else {
                continue;
            };
            let info = packets.info(index);
            let server = info.map_or(bound, |info| info.destination);
            // A socket that is bound to a loopback address receives no other packets.
            let is_loopback = info.map_or(bound.is_loopback(), |info| info.interface == loopback);
            let mut source = Source::new(address, Transport::Udp, server);
            // A kernel that routes loopback addresses (`route_localnet`) accepts packets from
            // other machines that claim such a source.
            source.is_local &= is_loopback;
            let (query, packet) = (queries.at(index), packets.packet(index));
            match responder.answer(&snapshot, query, packet, &source, reply) {
                // The responder transfers zones by TCP only.
                Outcome::Reply | Outcome::NoReply | Outcome::Transfer(_) => {}
                Outcome::Pending(pending) => deferred.defer(pending, packets.route(index)),
            }
        }
        drop(queries);
        batch.send(socket.as_raw_fd());
    }
    Ok(())
}

/// Returns whether an error concerns one packet and not the socket: a response could
/// not be delivered (which ICMP reports), memory was short, or the read timeout
/// expired.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let is_transient = matches!(
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
    if is_transient && error.kind() != Kind::WouldBlock {
        debug!("cannot receive packets: {error}");
    }
    is_transient
}
