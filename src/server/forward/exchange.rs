//! One upstream and one query: by UDP, by TCP where it has to be, and without
//! EDNS where the upstream knows none.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::{
    query::{PAYLOAD, UpstreamQuery},
    response::{self, Received, Response},
};

/// How long a reply by UDP may take before the query is sent again.
const RESEND: Duration = Duration::from_millis(1_500);

/// How many packets may come that do not answer the query. Whoever forges a
/// response from outside has to guess its ID, and sends many (RFC 5452, section
/// 9). So the chance for it is at most so many in 65,536, and the query then goes
/// by TCP, where there is far more to guess.
const MOST_UNRELATED: u32 = 16;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("did not answer")]
    Silent,
    #[error("sent only what does not answer the query")]
    Unrelated,
    #[error("sent a message that cannot be read")]
    Malformed,
    #[error("gave no answer: {0}")]
    Network(#[from] io::Error),
}

/// Asks the upstream until that time.
///
/// # Errors
///
/// That no response has come.
pub async fn ask(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    end: Instant,
) -> Result<Response, Failure> {
    let asking = timeout_at(end, ask_in_any_way(upstream, query, end));
    asking.await.unwrap_or(Err(Failure::Silent))
}

async fn ask_in_any_way(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    end: Instant,
) -> Result<Response, Failure> {
    let response = ask_with(upstream, query, true, end).await?;
    // Who knows no EDNS says so by this (RFC 6891, section 7); it may be about
    // the question as well, and then it is said again.
    match response.code {
        ResponseCode::FormErr | ResponseCode::NotImp => ask_with(upstream, query, false, end).await,
        _ => Ok(response),
    }
}

async fn ask_with(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    with_edns: bool,
    end: Instant,
) -> Result<Response, Failure> {
    match by_udp(upstream, query, with_edns, end).await? {
        Some(response) => Ok(response),
        None => by_tcp(upstream, query, with_edns).await,
    }
}

/// Asks by UDP, from a port that nothing else uses, which the kernel chooses at
/// random. Since the socket is connected, what others send does not get here.
/// `None` where the query has to go by TCP.
async fn by_udp(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    with_edns: bool,
    end: Instant,
) -> Result<Option<Response>, Failure> {
    let any = match upstream {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    let id = random_id()?;
    let message = query.message(id, with_edns);
    // One more than an upstream may send: what fills it is too long.
    let mut packet = [0; PAYLOAD + 1];
    let mut unrelated = 0;
    while Instant::now() < end {
        socket.send(&message).await?;
        let resend = (Instant::now() + RESEND).min(end);
        while let Ok(packet_came) = timeout_at(resend, socket.recv_from(&mut packet)).await {
            let (length, from) = packet_came?;
            let received = match (from.ip(), from.port()) == (upstream.ip(), upstream.port()) {
                true => response::read(&packet[..length], query, id),
                // It came before the socket was connected.
                false => Received::Unrelated,
            };
            match received {
                // It was longer than this, and is cut off.
                Received::Response(_) | Received::Malformed if length > PAYLOAD => {
                    return Ok(None);
                }
                Received::Response(response) => return Ok(Some(response)),
                Received::Malformed => return Err(Failure::Malformed),
                Received::Truncated => return Ok(None),
                Received::Unrelated => unrelated += 1,
            }
            if unrelated == MOST_UNRELATED {
                return Ok(None);
            }
        }
    }
    match unrelated {
        0 => Err(Failure::Silent),
        _ => Err(Failure::Unrelated),
    }
}

async fn by_tcp(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    with_edns: bool,
) -> Result<Response, Failure> {
    let mut stream = TcpStream::connect(upstream).await?;
    let id = random_id()?;
    let message = query.message(id, with_edns);
    let length = (message.len() as u16).to_be_bytes();
    // In one segment (RFC 7766, section 8).
    stream.write_all(&[&length, &message[..]].concat()).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    match response::read(&message, query, id) {
        Received::Response(response) => Ok(response),
        Received::Unrelated => Err(Failure::Unrelated),
        // There is nothing that could be asked for instead.
        Received::Malformed | Received::Truncated => Err(Failure::Malformed),
    }
}

/// An ID that nobody can foresee: from the kernel's generator.
fn random_id() -> io::Result<[u8; 2]> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}
