//! `paramd health`: whether the running server answers for its zones.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, bail};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};

use crate::cli::Health;

use super::{running_on, zones_in};

/// How long the server may take for each zone.
const TIMEOUT: Duration = Duration::from_secs(2);

pub fn run(options: &Health) -> anyhow::Result<()> {
    let server = match options.place.server {
        Some(server) => server,
        None => running_on(&options.place.data.data)?,
    };
    for zone in zones_in(&options.place.zones.zones)? {
        ask(server, &zone.origin).with_context(|| format!("{server} does not serve {zone}"))?;
    }
    Ok(())
}

/// Asks for the SOA, which registers nothing.
fn ask(server: SocketAddr, origin: &Name) -> anyhow::Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Nothing but the server's own packets is received.
    socket.connect(server)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let id = std::process::id() as u16;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(origin.clone(), RecordType::SOA));
    socket.send(&message.to_vec()?)?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).context("no answer")?;
    let reply = Message::from_vec(&buffer[..length]).context("no DNS message")?;
    if reply.metadata.id != id {
        bail!("the answer is to another question");
    }
    if reply.metadata.response_code != ResponseCode::NoError {
        bail!("the answer is {}", reply.metadata.response_code);
    }
    if !reply.metadata.authoritative {
        bail!("the answer has no authority");
    }
    Ok(())
}
