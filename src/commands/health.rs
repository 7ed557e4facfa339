//! `paramd health`: whether the running server answers for its zones.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};

use crate::{cli::Health, server::control};

use super::zones_in;

/// How long the server may take for each zone.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long the answer of the control socket may be.
const MOST_OCTETS: u64 = 4_096;

/// Asks the service that was named by DNS, and one on this machine by its control
/// socket, which no limit and no access list closes.
pub fn run(options: &Health) -> anyhow::Result<()> {
    let data = &options.place.data.data;
    let server = match options.place.server {
        Some(server) => server,
        None if data.join(control::FILE).exists() => return ask_control(data),
        None if !data.is_dir() => bail!(
            "there is no data directory {}: name it with --data, or a running server with --server",
            data.display()
        ),
        None => bail!(
            "no service runs on {}: there is no {}",
            data.display(),
            data.join(control::FILE).display()
        ),
    };
    let zones = zones_in(&options.place.zones.zones)
        .context("a server is asked for the zones of the zone files: name them with --zones")?;
    for zone in zones {
        ask(server, &zone.origin).with_context(|| format!("{server} does not serve {zone}"))?;
    }
    Ok(())
}

fn ask_control(data: &Path) -> anyhow::Result<()> {
    let path = data.join(control::FILE);
    let shown = path.display();
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("no service answers at {shown}: is it running?"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    writeln!(stream, "{}", control::HEALTH)?;
    let mut answer = String::new();
    let read = stream.take(MOST_OCTETS).read_to_string(&mut answer);
    read.with_context(|| format!("the service at {shown} does not answer"))?;
    match answer.trim() {
        "ok" => Ok(()),
        other => bail!("the service at {shown} says: {other}"),
    }
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
