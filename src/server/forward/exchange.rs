//! Sends one query to one upstream: by UDP, by TCP where necessary, and without EDNS
//! to an upstream that does not support it.

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
    response::{self, Response, UpstreamReply},
};

/// How long to wait for a response by UDP before the query is sent again.
const RESEND: Duration = Duration::from_millis(1_500);

/// The maximum number of packets that do not answer the query. An attacker who cannot
/// see the query must guess its ID, and sends many forged responses (RFC 5452, section
/// 9). With this limit, the chance of success is at most 16 in 65,536; then the query
/// is sent by TCP, where an attacker must guess far more.
const MAX_UNRELATED: u32 = 16;

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("did not answer")]
    Timeout,
    #[error("sent only responses that do not match the query")]
    Unrelated,
    #[error("sent a malformed response")]
    Malformed,
    #[error("gave no answer: {0}")]
    Network(#[from] io::Error),
}

/// Sends the query to the upstream, and waits for a response until `end`.
///
/// # Errors
///
/// The upstream gave no response.
pub async fn query_upstream(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    end: Instant,
) -> Result<Response, UpstreamError> {
    let exchange = async |with_edns| match by_udp(upstream, query, with_edns, end).await? {
        Some(response) => Ok(response),
        None => by_tcp(upstream, query, with_edns).await,
    };
    let attempt = async {
        let response = exchange(true).await?;
        // This is the response of a server that does not support EDNS (RFC 6891, section
        // 7). If it concerns the question instead, the second response is the same.
        match response.code {
            ResponseCode::FormErr | ResponseCode::NotImp => exchange(false).await,
            _ => Ok(response),
        }
    };
    let response = timeout_at(end, attempt).await;
    response.unwrap_or(Err(UpstreamError::Timeout))
}

/// Sends the query by UDP, from an unused port that the kernel chooses at random. The
/// socket is connected, so that it receives packets from the upstream only. Returns
/// `None` if the query must be sent by TCP.
async fn by_udp(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    with_edns: bool,
    end: Instant,
) -> Result<Option<Response>, UpstreamError> {
    let any = match upstream {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    let id = random_id()?;
    let message = query.message(id, with_edns);
    // The buffer is one octet longer than the payload size, so that a response that is
    // too long fills it.
    let mut packet = [0; PAYLOAD + 1];
    let mut unrelated = 0;
    while Instant::now() < end {
        socket.send(&message).await?;
        let resend = (Instant::now() + RESEND).min(end);
        while let Ok(received) = timeout_at(resend, socket.recv_from(&mut packet)).await {
            let (length, from) = received?;
            let is_from_upstream = (from.ip(), from.port()) == (upstream.ip(), upstream.port());
            let reply = if is_from_upstream {
                response::read(&packet[..length], query, id)
            } else {
                // The packet was received before the socket was connected.
                UpstreamReply::Unrelated
            };
            match reply {
                // The packet was longer, and is truncated.
                UpstreamReply::Response(_) | UpstreamReply::Malformed if length > PAYLOAD => {
                    return Ok(None);
                }
                UpstreamReply::Response(response) => return Ok(Some(response)),
                UpstreamReply::Malformed => return Err(UpstreamError::Malformed),
                UpstreamReply::Truncated => return Ok(None),
                UpstreamReply::Unrelated => unrelated += 1,
            }
            if unrelated == MAX_UNRELATED {
                return Ok(None);
            }
        }
    }
    match unrelated {
        0 => Err(UpstreamError::Timeout),
        _ => Err(UpstreamError::Unrelated),
    }
}

async fn by_tcp(
    upstream: SocketAddr,
    query: &UpstreamQuery,
    with_edns: bool,
) -> Result<Response, UpstreamError> {
    let mut stream = TcpStream::connect(upstream).await?;
    let id = random_id()?;
    let message = query.message(id, with_edns);
    let length = (message.len() as u16).to_be_bytes();
    // The length and the message are sent in one segment (RFC 7766, section 8).
    stream.write_all(&[&length, &message[..]].concat()).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    match response::read(&message, query, id) {
        UpstreamReply::Response(response) => Ok(response),
        UpstreamReply::Unrelated => Err(UpstreamError::Unrelated),
        // There is no further transport to try.
        UpstreamReply::Malformed | UpstreamReply::Truncated => Err(UpstreamError::Malformed),
    }
}

/// An unpredictable ID, from the random number generator of the kernel.
fn random_id() -> io::Result<[u8; 2]> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}
