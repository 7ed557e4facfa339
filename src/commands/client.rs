//! A client of a running server, by TCP. It signs its messages if it has a key.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{
        TSigVerifier,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};

use crate::{
    keys::Key,
    server::{extended_error::EXTENDED_ERROR, policy::tsig},
};

/// The time limit for the connection, and for each message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server, and the key that its messages are signed with.
pub struct Client {
    pub server: SocketAddr,
    pub key: Option<Key>,
}

/// A server's refusal.
#[derive(Debug, thiserror::Error)]
#[error("{server} refused {what}: {reason}")]
pub struct Refusal {
    server: SocketAddr,
    what: String,
    pub code: ResponseCode,
    reason: String,
}

/// A request that was sent, and the responses to it.
pub struct Conversation {
    server: SocketAddr,
    stream: TcpStream,
    verifier: Option<TSigVerifier>,
}

impl Client {
    /// Sends a request.
    pub fn send(&self, mut message: Message) -> anyhow::Result<Conversation> {
        let server = self.server;
        let unreachable = || format!("no server answers at {server}: is it running?");
        let mut stream = TcpStream::connect_timeout(&server, TIMEOUT).with_context(unreachable)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // EDNS lets the server give the reason for a refusal.
        message.edns = Some(Edns::new());
        let mut verifier = None;
        if let Some(key) = &self.key {
            let (signature, expected) = key.signer.sign_message(&message, tsig::now())?;
            message.set_signature(signature);
            verifier = expected;
        }
        let octets = message.to_vec()?;
        let length = u16::try_from(octets.len())?.to_be_bytes();
        stream
            .write_all(&[&length, octets.as_slice()].concat())
            .with_context(unreachable)?;
        Ok(Conversation {
            server,
            stream,
            verifier,
        })
    }
}

impl Conversation {
    /// Receives the next response, which is an error if it is a refusal. `what`
    /// describes the request.
    pub fn receive(&mut self, what: &str) -> anyhow::Result<Message> {
        let broken = || format!("{what} from {} was interrupted", self.server);
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).with_context(broken)?;
        let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut octets).with_context(broken)?;
        let message = Message::from_vec(&octets).with_context(broken)?;
        let code = message.metadata.response_code;
        if code != ResponseCode::NoError {
            return Err(anyhow!(Refusal {
                server: self.server,
                what: what.to_owned(),
                code,
                reason: reason(&message).unwrap_or_else(|| code.to_string()),
            }));
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.verify(&octets).map_err(|error| {
                anyhow!(
                    "the signature of the response from {} is invalid: {error}",
                    self.server
                )
            })?;
        }
        Ok(message)
    }
}

/// The reason for a refusal: a TSIG error, or the text of an extended error (RFC
/// 8914).
fn reason(message: &Message) -> Option<String> {
    if let Some(error) = message.signature().and_then(|record| record.data.error) {
        return Some(match u16::from(error) {
            16 => "the signature is invalid: the server has another secret for the key (BADSIG)"
                .to_owned(),
            17 => "the server does not know the key (BADKEY)".to_owned(),
            18 => "the clocks differ too much (BADTIME)".to_owned(),
            code => format!("TSIG error {code}"),
        });
    }
    let edns = message.edns.as_ref()?;
    let option = edns.option(EdnsCode::Unknown(EXTENDED_ERROR))?;
    let EdnsOption::Unknown(_, value) = option else {
        return None;
    };
    let text = String::from_utf8_lossy(value.get(2..)?).replace('\n', " ");
    (!text.is_empty()).then_some(text)
}
