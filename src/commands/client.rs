//! Talking to a running server, by TCP: a message there, and those that come
//! back; signed, if there is a key.

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

/// How long the server may take to connect, and for each message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server, and the key to sign with what is sent there.
pub struct Client {
    pub server: SocketAddr,
    pub key: Option<Key>,
}

/// A server's refusal.
#[derive(Debug, thiserror::Error)]
#[error("{server} refuses {what}: {reason}")]
pub struct Refusal {
    server: SocketAddr,
    what: String,
    pub code: ResponseCode,
    reason: String,
}

/// A message that was sent, and what comes back.
pub struct Conversation {
    server: SocketAddr,
    stream: TcpStream,
    verifier: Option<TSigVerifier>,
}

impl Client {
    /// Sends a message.
    pub fn send(&self, mut message: Message) -> anyhow::Result<Conversation> {
        let server = self.server;
        let unreachable = || format!("no server answers at {server}: is it running?");
        let mut stream = TcpStream::connect_timeout(&server, TIMEOUT).with_context(unreachable)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // With EDNS, so that a refusal can say why.
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
    /// The next message, which is no refusal; `what` was asked for.
    pub fn receive(&mut self, what: &str) -> anyhow::Result<Message> {
        let broken = || format!("{what} from {} broke off", self.server);
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
                    "the answer of {} is not signed as it should: {error}",
                    self.server
                )
            })?;
        }
        Ok(message)
    }
}

/// What a refusal says: of a signature, or the text of an extended error
/// (RFC 8914).
fn reason(message: &Message) -> Option<String> {
    if let Some(error) = message.signature().and_then(|record| record.data.error) {
        return Some(match u16::from(error) {
            16 => "the signature is wrong: it is another secret there (BADSIG)".to_owned(),
            17 => "it does not know the key (BADKEY)".to_owned(),
            18 => "the clocks differ too much (BADTIME)".to_owned(),
            code => format!("TSIG error {code}"),
        });
    }
    let edns = message.edns.as_ref()?;
    match edns.option(EdnsCode::Unknown(EXTENDED_ERROR))? {
        EdnsOption::Unknown(_, value) => {
            let text = String::from_utf8_lossy(value.get(2..)?).into_owned();
            (!text.is_empty()).then(|| text.replace('\n', " "))
        }
        _ => None,
    }
}
