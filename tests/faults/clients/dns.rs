//! Asks a replica by UDP, with a cookie if it wants one, or by TCP.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use socket2::{Domain, Socket, Type};

/// The option code of an extended error (RFC 8914).
const EXTENDED_ERROR: u16 = 15;

/// The option code of a cookie (RFC 7873), and the length of the client's part.
const COOKIE: u16 = 10;
const CLIENT_COOKIE_OCTETS: usize = 8;

/// How often the server may want another cookie.
const MAX_COOKIES: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What became of a query.
pub struct Exchange {
    /// When the last query was sent. Those before it, which had no valid cookie, had no
    /// effect.
    pub sent: Instant,
    pub answer: Result<Message, Failure>,
}

/// Why there is no answer.
pub enum Failure {
    /// The query did not reach a service.
    Undelivered(io::Error),
    /// It may have.
    Unanswered(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // There is no such socket, as an ICMP message or a reset says.
            io::ErrorKind::ConnectionRefused => Self::Undelivered(error),
            _ => Self::Unanswered(error),
        }
    }
}

/// A resolver at one address, with the cookies that servers gave it.
pub struct Resolver {
    address: Ipv4Addr,
    client_cookie: [u8; CLIENT_COOKIE_OCTETS],
    cookies: HashMap<SocketAddr, Vec<u8>>,
}

impl Resolver {
    pub fn new(address: Ipv4Addr, client_cookie: u64) -> Self {
        Self {
            address,
            client_cookie: client_cookie.to_be_bytes(),
            cookies: HashMap::new(),
        }
    }

    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Sends a query, and waits so long for its answer.
    pub fn ask(
        &mut self,
        server: SocketAddr,
        mut message: Message,
        transport: Transport,
        patience: Duration,
    ) -> Exchange {
        let ends = Instant::now() + patience;
        let mut sent = Instant::now();
        let answer = match transport {
            Transport::Udp => self.by_udp(server, &mut message, ends, &mut sent),
            Transport::Tcp => self.by_tcp(server, &message, ends, &mut sent),
        };
        Exchange { sent, answer }
    }

    fn by_udp(
        &mut self,
        server: SocketAddr,
        message: &mut Message,
        ends: Instant,
        sent: &mut Instant,
    ) -> Result<Message, Failure> {
        let socket = UdpSocket::bind((self.address, 0))?;
        socket.connect(server)?;
        for _ in 0..MAX_COOKIES {
            self.add_cookie(server, message);
            *sent = Instant::now();
            socket.send(&encode(message)?)?;
            let answer = receive(&socket, message, ends)?;
            self.note_cookie(server, &answer);
            if answer.metadata.truncation {
                return self.by_tcp(server, message, ends, sent);
            }
            if answer.metadata.response_code != ResponseCode::BADCOOKIE {
                return Ok(answer);
            }
        }
        Err(io::Error::other("no cookie is good").into())
    }

    fn by_tcp(
        &self,
        server: SocketAddr,
        message: &Message,
        ends: Instant,
        sent: &mut Instant,
    ) -> Result<Message, Failure> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(SocketAddrV4::new(self.address, 0)).into())?;
        let connected = socket.connect_timeout(&server.into(), left(ends)?);
        connected.map_err(Failure::Undelivered)?;
        let mut stream = TcpStream::from(socket);
        let octets = encode(message)?;
        let length = (octets.len() as u16).to_be_bytes();
        *sent = Instant::now();
        stream.write_all(&[&length[..], &octets].concat())?;
        stream.set_read_timeout(Some(left(ends)?))?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut octets)?;
        Ok(decode(&octets)?)
    }

    fn add_cookie(&self, server: SocketAddr, message: &mut Message) {
        let mut cookie = self.client_cookie.to_vec();
        cookie.extend(self.cookies.get(&server).into_iter().flatten());
        let edns = message.edns.get_or_insert_with(Edns::new);
        edns.options_mut().remove(EdnsCode::Cookie);
        edns.options_mut()
            .insert(EdnsOption::Unknown(COOKIE, cookie));
    }

    fn note_cookie(&mut self, server: SocketAddr, answer: &Message) {
        let cookie = answer
            .edns
            .as_ref()
            .and_then(|edns| edns.option(EdnsCode::Cookie));
        if let Some(EdnsOption::Unknown(_, cookie)) = cookie
            && let Some(cookie) = cookie.strip_prefix(&self.client_cookie)
        {
            self.cookies.insert(server, cookie.to_vec());
        }
    }
}

/// The answer to this message.
fn receive(socket: &UdpSocket, message: &Message, ends: Instant) -> io::Result<Message> {
    let mut buffer = [0; 4_096];
    loop {
        socket.set_read_timeout(Some(left(ends)?))?;
        let length = socket.recv(&mut buffer)?;
        let answer = decode(&buffer[..length])?;
        if answer.metadata.id == message.metadata.id {
            return Ok(answer);
        }
    }
}

fn encode(message: &Message) -> io::Result<Vec<u8>> {
    message.to_vec().map_err(io::Error::other)
}

fn decode(octets: &[u8]) -> io::Result<Message> {
    Message::from_vec(octets).map_err(io::Error::other)
}

/// The time until then, which is never zero.
fn left(ends: Instant) -> io::Result<Duration> {
    let left = ends.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

pub fn query(id: u16, name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.edns = Some(edns);
    message
}

/// The text of an answer's extended error.
pub fn extended_error(answer: &Message) -> String {
    let edns = answer.edns.as_ref();
    let option = edns.and_then(|edns| edns.option(EdnsCode::from(EXTENDED_ERROR)));
    match option {
        // The first two octets are its code.
        Some(EdnsOption::Unknown(_, data)) => {
            String::from_utf8_lossy(data.get(2..).unwrap_or_default()).into_owned()
        }
        _ => "without a reason".to_owned(),
    }
}
