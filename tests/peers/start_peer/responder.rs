//! A DNS responder that answers what a test tells it to, the truth or not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record};

/// The peer that asks, its address, and the zone that it asks in.
pub const HOST: &str = "h1";
pub const MINE: &str = "10.0.1.5";
pub const ZONE: &str = "noops.fabric.internal";

#[derive(Clone)]
pub enum Answer {
    Silence,
    /// A response code, and the extended error text (RFC 8914) with it. Only
    /// the zone's own server gives one.
    Code(ResponseCode, &'static str),
    Peer(Peer),
    /// By UDP that of the next server, which has no such zone; by TCP the peer's.
    /// So Docker's resolver before 24.0 answers in place of BADCOOKIE.
    OthersByUdp(Peer),
}

#[derive(Clone)]
pub struct Peer {
    pub id: &'static str,
    /// The address that holds the name, as it is printed before a port.
    pub holder: &'static str,
    /// What else the summary says: `epoch=3 lease=30`.
    pub more: &'static str,
    pub variables: Vec<Vec<u8>>,
    /// Whether the summary comes in the additional section.
    pub summary: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            id: "vp1",
            holder: MINE,
            more: "",
            variables: vec![b"CORE_PEER_ID=vp1".to_vec()],
            summary: true,
        }
    }
}

impl Peer {
    pub fn with(variables: Vec<Vec<u8>>) -> Answer {
        Self::at(MINE, variables)
    }

    pub fn held_by(holder: &'static str) -> Answer {
        Answer::Peer(Self {
            holder,
            ..Self::default()
        })
    }

    pub fn at(holder: &'static str, variables: Vec<Vec<u8>>) -> Answer {
        Answer::Peer(Self {
            holder,
            variables,
            ..Self::default()
        })
    }

    pub fn id(id: &'static str) -> Answer {
        Answer::Peer(Self {
            id,
            ..Self::default()
        })
    }

    pub fn saying(more: &'static str) -> Answer {
        Answer::Peer(Self {
            more,
            ..Self::default()
        })
    }
}

#[derive(Clone)]
pub struct Responder {
    pub port: u16,
    answer: Arc<Mutex<Answer>>,
    /// What it was asked: the name, and the address that the query states.
    asked: Arc<Mutex<Vec<(String, String)>>>,
    /// When it last answered as for a peer.
    heard: Arc<Mutex<Instant>>,
}

impl Responder {
    pub fn start(answer: Answer) -> Self {
        let [responder] = Self::several([answer]);
        responder
    }

    /// Several at one port, of 127.0.0.1, 127.0.0.2 and so on.
    pub fn several<const N: usize>(answers: [Answer; N]) -> [Self; N] {
        let sockets = (0..100).find_map(|_| sockets(N));
        let mut sockets = sockets.expect("no free port").into_iter();
        answers.map(|answer| Self::serve(answer, sockets.next().unwrap()))
    }

    fn serve(answer: Answer, (udp, tcp): (UdpSocket, TcpListener)) -> Self {
        let responder = Self {
            port: udp.local_addr().unwrap().port(),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
            heard: Arc::new(Mutex::new(Instant::now())),
        };
        let (over_udp, over_tcp) = (responder.clone(), responder.clone());
        thread::spawn(move || over_udp.serve_udp(&udp));
        thread::spawn(move || {
            for stream in tcp.incoming() {
                over_tcp.serve_tcp(stream.unwrap());
            }
        });
        responder
    }

    pub fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn heard(&self) -> Instant {
        *self.heard.lock().unwrap()
    }

    /// How often this name was asked for.
    pub fn count(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|(asked, _)| *asked == format!("{name}.{ZONE}."))
            .count()
    }

    /// How often it was asked for anything.
    pub fn queries(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The addresses that the queries stated, each once.
    pub fn stated(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let mut stated: Vec<_> = asked.iter().map(|(_, stated)| stated.clone()).collect();
        stated.dedup();
        stated
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut query = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut query).unwrap();
            let Some(response) = self.respond(&query[..length], false) else {
                continue;
            };
            let mut bytes = response.to_vec().unwrap();
            if bytes.len() > 1232 {
                bytes = response.truncate().to_vec().unwrap();
            }
            socket.send_to(&bytes, from).unwrap();
        }
    }

    fn serve_tcp(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query).unwrap();
        if let Some(response) = self.respond(&query, true) {
            let bytes = response.to_vec().unwrap();
            let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length, &*bytes].concat()).unwrap();
        }
    }

    fn respond(&self, query: &[u8], by_tcp: bool) -> Option<Message> {
        let query = Message::from_vec(query).unwrap();
        let name = query.queries[0].name();
        let stated = match query.edns.as_ref()?.option(EdnsCode::Subnet) {
            Some(EdnsOption::Subnet(net)) => format!("{}/{}", net.addr(), net.source_prefix()),
            _ => "nothing".to_owned(),
        };
        self.asked.lock().unwrap().push((name.to_ascii(), stated));

        let mut message = Message::response(query.metadata.id, query.metadata.op_code);
        message.add_query(query.queries[0].clone());
        let mut edns = Edns::new();
        let answer = match self.answer.lock().unwrap().clone() {
            Answer::OthersByUdp(peer) if by_tcp => Answer::Peer(peer),
            Answer::OthersByUdp(_) => Answer::Code(ResponseCode::NXDomain, ""),
            answer => answer,
        };
        match answer {
            Answer::Silence | Answer::OthersByUdp(_) => return None,
            Answer::Code(code, why) => {
                message.metadata.response_code = code;
                message.metadata.authoritative = !why.is_empty();
                if !why.is_empty() {
                    let error = [&[0, 0], why.as_bytes()].concat();
                    edns.options_mut().insert(EdnsOption::Unknown(15, error));
                }
            }
            Answer::Peer(peer) => {
                let strings = format!(
                    "id={}\nroot=\naddress={}:7051\n{}",
                    peer.id,
                    peer.holder,
                    peer.more.replace(' ', "\n")
                );
                let summary: Vec<&[u8]> = strings.lines().map(str::as_bytes).collect();
                *self.heard.lock().unwrap() = Instant::now();
                if !name.to_ascii().starts_with("_env.") {
                    message.add_answer(txt(name, &summary));
                    return Some(message);
                }
                for variable in &peer.variables {
                    message.add_answer(txt(name, &variable.chunks(255).collect::<Vec<_>>()));
                }
                if peer.summary {
                    let owner = Name::from_ascii(format!("{HOST}.{ZONE}.")).unwrap();
                    message.add_additional(txt(&owner, &summary));
                }
            }
        }
        message.set_edns(edns);
        Some(message)
    }
}

/// One free port of several addresses for both transports, if the one that UDP got
/// at the first is free for all.
fn sockets(addresses: usize) -> Option<Vec<(UdpSocket, TcpListener)>> {
    let mut port = 0;
    let sockets = (1..=addresses).map(|number| {
        let address = format!("127.0.0.{number}");
        let udp = UdpSocket::bind((&*address, port)).ok()?;
        port = udp.local_addr().ok()?.port();
        Some((udp, TcpListener::bind((&*address, port)).ok()?))
    });
    sockets.collect()
}

fn txt(name: &Name, strings: &[&[u8]]) -> Record {
    let data = RData::TXT(TXT::from_bytes(strings.to_vec()));
    Record::from_rdata(name.clone(), 0, data)
}
