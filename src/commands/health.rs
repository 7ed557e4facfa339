//! `paramd health`: checks whether the running server answers for its zones.

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

use super::{check_is_there, zones_in};

/// The time limit for each zone.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum length of an answer of the control socket.
const MAX_ANSWER_BYTES: u64 = 4_096;

/// Queries the specified server by DNS, or a server on this machine over its
/// control socket, which no rate limit and no access list closes.
pub fn run(options: &Health) -> anyhow::Result<()> {
    let Some(server) = options.source.server else {
        let command = if options.ready {
            control::READY
        } else {
            control::HEALTH
        };
        return ask_control(&options.source.data.data, command);
    };
    let zones = zones_in(&options.source.zones.zones)
        .context("a server is asked for the zones of the zone files: name them with --zones")?;
    for zone in zones {
        ask(server, &zone.origin).with_context(|| format!("{server} does not serve {zone}"))?;
    }
    Ok(())
}

fn ask_control(data: &Path, command: &str) -> anyhow::Result<()> {
    check_is_there(data)?;
    let path = data.join(control::FILE);
    let shown = path.display();
    if !path.exists() {
        bail!("no service runs on {}: there is no {shown}", data.display());
    }
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("no service answers at {shown}: is it running?"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    writeln!(stream, "{command}")?;
    let mut answer = String::new();
    let read = stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer);
    read.with_context(|| format!("the service at {shown} does not respond"))?;
    match answer.trim() {
        "ok" => Ok(()),
        other => bail!("the service at {shown} reports: {other}"),
    }
}

/// Queries the SOA record, which does not register anything.
fn ask(server: SocketAddr, origin: &Name) -> anyhow::Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // A connected socket receives nothing but the server's packets.
    socket.connect(server)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let id = std::process::id() as u16;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(origin.clone(), RecordType::SOA));
    socket.send(&message.to_vec()?)?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).context("no response")?;
    let reply = Message::from_vec(&buffer[..length]).context("invalid DNS message")?;
    if reply.metadata.id != id {
        bail!("the response belongs to another query");
    }
    if reply.metadata.response_code != ResponseCode::NoError {
        bail!("the response code is {}", reply.metadata.response_code);
    }
    if !reply.metadata.authoritative {
        bail!("the response is not authoritative");
    }
    Ok(())
}
