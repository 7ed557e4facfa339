//! The UDP loop: one for each socket, on a thread of its own.

use std::{io, net::UdpSocket, os::fd::AsRawFd, sync::Arc};

use rustix::net::netdevice::name_to_index;
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tracing::debug;

use super::{
    PATIENCE, Shared,
    batch::{Batch, send_routes},
    handler::Outcome,
    late::Late,
    short::{Questions, Short},
    source::{Source, Transport},
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
    let late = Late::start(socket.clone(), shared.clone())?;
    let mut short_way = shared.handler.short_way();
    let mut batch = Batch::new();
    let tick = shared.handler.clock().register_loop();
    while !*stopping.borrow() {
        let received = match batch.receive(socket.as_raw_fd()) {
            Ok(received) => received,
            Err(error) if is_passing(&error) => 0,
            Err(error) => return Err(error),
        };
        tick.tick();
        // Also where nothing came, so that a state that is over is not kept.
        short_way.refresh();
        let (packets, replies) = batch.parts();
        let mut questions = Questions::default();
        short_way.read(packets.iter(), &mut questions);
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
            match short_way.answer_to(questions.at(place), source, reply) {
                Short::Reply | Short::Silence => continue,
                Short::Long => {}
            }
            let asking = questions
                .at(place)
                .and_then(|question| short_way.asking(question, source));
            if let Some(asking) = asking {
                let route = packets.route(place);
                if late.ask(asking, packets.packet(place), source, route) {
                    continue;
                }
            }
            match shared.handler.handle(packets.packet(place), source) {
                Outcome::Reply(octets) => reply.extend(octets),
                Outcome::Later(later) => {
                    let Ok(permit) = shared.pending.clone().try_acquire_owned() else {
                        continue;
                    };
                    let route = packets.route(place);
                    let socket = socket.clone();
                    runtime.spawn(async move {
                        if let Ok(Some(octets)) = timeout(PATIENCE, later).await {
                            send_routes(socket.as_raw_fd(), &mut vec![(route, octets)]);
                        }
                        drop(permit);
                    });
                }
                // The handler transfers by TCP alone.
                Outcome::Silence | Outcome::Transfer(_) => {}
            }
        }
        drop(questions);
        batch.send(socket.as_raw_fd());
    }
    Ok(())
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
