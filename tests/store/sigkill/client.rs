//! A client that registers, releases and pins hosts.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{
        Message, ResponseCode,
        update_message::{append, delete_all},
    },
    rr::{DNSClass, Name, RData, Record, rdata::TXT},
};

use super::ZONE;
use crate::common::{strings_of, txt_query};

/// The time limit for an answer. A killed service closes its connections, so
/// nobody waits as long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The errors of a connection to a service that is killed.
pub const LOST: [io::ErrorKind; 3] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// A change of a host.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    Register,
    Release,
    Pin(u32),
}

#[derive(Debug)]
pub enum Outcome {
    Acknowledged(Option<u32>),
    Refused(ResponseCode),
    Unknown(io::ErrorKind),
}

/// A connection to the service, which is reopened whenever it is lost.
pub struct Client {
    server: SocketAddr,
    stream: Option<TcpStream>,
    id: u16,
}

impl Client {
    pub fn new(server: SocketAddr, id: u16) -> Self {
        Self {
            server,
            stream: None,
            id,
        }
    }

    pub fn perform(&mut self, host: usize, deed: Deed) -> Outcome {
        self.id = self.id.wrapping_add(1);
        let message = message(self.id, host, deed);
        let reply = match self.exchange(&message) {
            Ok(reply) => reply,
            Err(error) => {
                self.stream = None;
                return Outcome::Unknown(error.kind());
            }
        };
        assert_eq!(reply.metadata.id, self.id);
        match (reply.metadata.response_code, deed) {
            (ResponseCode::NoError, Deed::Register) => {
                let strings = strings_of(&reply);
                let id = strings[0].strip_prefix("id=vp").unwrap();
                Outcome::Acknowledged(Some(id.parse().unwrap()))
            }
            (ResponseCode::NoError, Deed::Release) => Outcome::Acknowledged(None),
            (ResponseCode::NoError, Deed::Pin(number)) => Outcome::Acknowledged(Some(number)),
            (code, _) => Outcome::Refused(code),
        }
    }

    fn exchange(&mut self, message: &[u8]) -> io::Result<Message> {
        let stream = self.stream();
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], message].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply)?;
        Ok(Message::from_vec(&reply).unwrap())
    }

    /// Waits until the service is back. Nothing has been sent before, so nothing
    /// is uncertain.
    fn stream(&mut self) -> &mut TcpStream {
        let server = self.server;
        let began = Instant::now();
        self.stream.get_or_insert_with(|| {
            loop {
                if let Ok(stream) = TcpStream::connect(server) {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    return stream;
                }
                assert!(began.elapsed() < PATIENCE, "{server} does not listen");
                thread::sleep(Duration::from_millis(2));
            }
        })
    }
}

fn message(id: u16, host: usize, deed: Deed) -> Vec<u8> {
    let text = format!("host-{host}.{ZONE}.");
    let name = Name::from_ascii(&text).unwrap();
    let origin = Name::from_ascii(format!("{ZONE}.")).unwrap();
    let mut update = match deed {
        Deed::Register => {
            let address = format!("10.1.{}.{}", host / 250, host % 250 + 1);
            return txt_query(id, &text, Some(&address));
        }
        Deed::Release => delete_all(name, origin, DNSClass::IN, true),
        Deed::Pin(number) => {
            let data = RData::TXT(TXT::new(vec![format!("id=vp{number}")]));
            let record = Record::from_rdata(name, 0, data);
            append(record.into(), origin, false, true)
        }
    };
    update.metadata.id = id;
    update.to_vec().unwrap()
}
