//! A thousand peers, each with an address of its own, that renew their leases.

use std::{
    collections::HashMap,
    net::{IpAddr, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::rdata::opt::{EdnsCode, EdnsOption},
};

use crate::{
    common::strings_of,
    field::{LEASE, PEERS, service_for},
    message,
};

pub const COUNT: usize = 1_000;
const EVERY: Duration = Duration::from_secs(10);

/// When a peer asks again that has not been answered.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Default, Clone, Copy)]
pub struct Figures {
    pub renewals: u64,
    /// How often there was no answer.
    pub unanswered: u64,
    /// Peers whose lease has run out, or that were given another's answer.
    pub lost: usize,
    /// The longest time between two renewals.
    pub longest: Duration,
}

#[derive(Default)]
pub struct Peers {
    figures: Mutex<Figures>,
    /// Whether all have registered.
    pub are_ready: AtomicBool,
    pub is_over: AtomicBool,
}

struct Peer {
    host: String,
    address: IpAddr,
    cookie: Vec<u8>,
    id: Option<String>,
    renewed: Instant,
    next: Instant,
    waits: bool,
}

impl Peers {
    /// What there was since this was asked last; `longest` reaches up to now.
    pub fn take(&self) -> Figures {
        std::mem::take(&mut *self.figures.lock().unwrap())
    }

    /// Renews until it is over. By four sockets, as from four nodes.
    pub fn run(&self) {
        let sockets = PEERS.map(|address| {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            let service = service_for(address.parse().unwrap(), 53);
            socket.connect(service).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let begun = Instant::now();
        let mut peers: Vec<Peer> = (0..COUNT)
            .map(|number| Peer {
                host: message::name(&format!("peer-{number}")),
                address: [10, 99, (number / 250) as u8, (number % 250) as u8].into(),
                cookie: (number as u64 * 7_919).to_be_bytes().to_vec(),
                id: None,
                renewed: begun,
                next: begun + Duration::from_millis(3 * number as u64),
                waits: false,
            })
            .collect();
        let mut buffer = [0; 4_096];
        while !self.is_over.load(Ordering::Relaxed) {
            let now = Instant::now();
            for (number, peer) in peers.iter_mut().enumerate() {
                if peer.next <= now {
                    self.ask(number, peer, &sockets[number % 4], now);
                }
            }
            for socket in &sockets {
                while let Ok(length) = socket.recv(&mut buffer) {
                    self.hear(&buffer[..length], &mut peers, socket);
                }
            }
            let are_ready = peers.iter().all(|peer| peer.id.is_some());
            self.are_ready.store(are_ready, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(2));
        }
        let ids: HashMap<_, _> = peers.iter().map(|peer| (&peer.id, ())).collect();
        assert_eq!(ids.len(), COUNT, "two peers have one ID");
    }

    fn ask(&self, number: usize, peer: &mut Peer, socket: &UdpSocket, now: Instant) {
        let mut figures = self.figures.lock().unwrap();
        if peer.waits {
            figures.unanswered += 1;
        }
        figures.longest = figures.longest.max(now - peer.renewed);
        let options = [message::cookie(&peer.cookie), message::subnet(peer.address)];
        let query = message::query(number as u16, &peer.host, message::TXT, &options);
        // What cannot be sent is asked again.
        let _ = socket.send(&query);
        peer.waits = true;
        peer.next = now + AGAIN;
    }

    fn hear(&self, reply: &[u8], peers: &mut [Peer], socket: &UdpSocket) {
        let reply = Message::from_vec(reply).unwrap();
        let number = usize::from(reply.metadata.id);
        let peer = &mut peers[number];
        let edns = reply.edns.as_ref();
        let option = edns.and_then(|edns| edns.option(EdnsCode::Cookie));
        if let Some(EdnsOption::Unknown(_, cookie)) = option {
            peer.cookie.clone_from(cookie);
        }
        let now = Instant::now();
        if reply.metadata.response_code == ResponseCode::BADCOOKIE {
            peer.waits = false;
            self.ask(number, peer, socket, now);
            return;
        }
        let mut figures = self.figures.lock().unwrap();
        let strings = strings_of(&reply);
        let value = |key: &str| strings.iter().find_map(|it| it.strip_prefix(key));
        let (Some(id), Some(address)) = (value("id="), value("address=")) else {
            // Truncated, or refused: no renewal.
            return;
        };
        let since = now - peer.renewed;
        figures.renewals += 1;
        figures.longest = figures.longest.max(since);
        let is_same = peer.id.as_deref().is_none_or(|before| before == id);
        let is_own = address == format!("{}:7051", peer.address);
        let is_late = peer.id.is_some() && since > Duration::from_secs(LEASE);
        if !is_same || !is_own || is_late {
            println!(
                "{} has lost its lease after {since:?}: {strings:?}",
                peer.host
            );
            figures.lost += 1;
        }
        // Spread over the time from one to the next.
        peer.next = match peer.id {
            Some(_) => now + EVERY,
            None => now + EVERY * number as u32 / COUNT as u32,
        };
        peer.id = Some(id.to_owned());
        peer.renewed = now;
        peer.waits = false;
    }
}
