//! What the kernel takes alone: every query is sent back as its own answer.
//!
//!     floor ADDR:PORT
//!
//! One thread, one socket, as many datagrams with a system call as are there.
//! No DNS server that uses sockets can cost less a query.

use std::{env, net::UdpSocket, os::fd::AsRawFd as _};

use anyhow::Context as _;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

mod batch;

use batch::Batch;

/// The bit in the third octet of a message that makes it an answer.
const ANSWER: u8 = 0x80;

/// What the socket holds while the thread is busy.
const BUFFER: usize = 4 << 20;

fn main() -> anyhow::Result<()> {
    let address: std::net::SocketAddrV4 = env::args()
        .nth(1)
        .context("write: floor ADDR:PORT")?
        .parse()
        .context("the address is an IPv4 one, with a port")?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(&SockAddr::from(address))?;
    let socket: UdpSocket = socket.into();
    let mut batch = Batch::addressed();
    loop {
        let received = batch.receive(socket.as_raw_fd(), libc::MSG_WAITFORONE)?;
        for place in 0..received {
            if let Some(flags) = batch.datagram(place).get_mut(2) {
                *flags |= ANSWER;
            }
        }
        if received > 0 {
            // What the kernel does not take is lost, as it would be on a wire.
            let _ = batch.send(socket.as_raw_fd(), received);
        }
    }
}
