//! An upstream resolver with the behaviour that a test needs, by UDP and TCP.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often the threads check whether they should end.
const TICK: Duration = Duration::from_millis(20);

/// A received query.
#[derive(Clone)]
pub struct Seen {
    pub from: SocketAddr,
    pub tcp: bool,
    pub packet: Vec<u8>,
    /// The number of queries before it.
    pub before: usize,
}

/// What the upstream does in response to a query, step by step.
pub enum Act {
    Wait(Duration),
    Send(Vec<u8>),
    /// From another port; by UDP only.
    SendFromElsewhere(Vec<u8>),
}

type Behaviour = dyn Fn(&Seen) -> Vec<Act> + Send + Sync;

/// An upstream on a loopback address, which stops when it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Upstream {
    pub fn start(behaviour: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let state = State {
            behaviour: Arc::new(behaviour),
            seen: Arc::default(),
            ended: Arc::default(),
        };
        let (seen, ended) = (state.seen.clone(), state.ended.clone());
        let other = state.clone();
        let threads = vec![
            thread::spawn(move || state.answer_by_udp(&udp)),
            thread::spawn(move || other.answer_by_tcp(&tcp)),
        ];
        Self {
            address,
            seen,
            ended,
            threads,
        }
    }

    /// An upstream that does the same for each query.
    pub fn always(make: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |seen| vec![Act::Send(make(&seen.packet))])
    }

    /// An upstream that answers nothing.
    pub fn silent() -> Self {
        Self::start(|_| Vec::new())
    }

    /// The queries received so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A UDP socket and a TCP socket with the same address.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            udp.set_read_timeout(Some(TICK)).unwrap();
            tcp.set_nonblocking(true).unwrap();
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

#[derive(Clone)]
struct State {
    behaviour: Arc<Behaviour>,
    seen: Arc<Mutex<Vec<Seen>>>,
    ended: Arc<AtomicBool>,
}

impl State {
    /// Records a query. Returns what to do about it.
    fn note(&self, from: SocketAddr, tcp: bool, packet: &[u8]) -> Vec<Act> {
        let seen = {
            let mut all = self.seen.lock().unwrap();
            let seen = Seen {
                from,
                tcp,
                packet: packet.to_vec(),
                before: all.len(),
            };
            all.push(seen.clone());
            seen
        };
        (self.behaviour)(&seen)
    }

    fn answer_by_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 65_535];
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let acts = self.note(from, false, &buffer[..length]);
            let socket = socket.try_clone().unwrap();
            thread::spawn(move || {
                for act in acts {
                    match act {
                        Act::Wait(time) => thread::sleep(time),
                        // The client may have gone.
                        Act::Send(reply) => drop(socket.send_to(&reply, from)),
                        Act::SendFromElsewhere(reply) => {
                            let other = UdpSocket::bind("127.0.0.1:0").unwrap();
                            drop(other.send_to(&reply, from));
                        }
                    }
                }
            });
        }
    }

    fn answer_by_tcp(&self, listener: &TcpListener) {
        while !self.ended.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, from)) => {
                    let state = self.clone();
                    thread::spawn(move || state.answer_connection(stream, from));
                }
                Err(_) => thread::sleep(TICK),
            }
        }
    }

    fn answer_connection(&self, mut stream: TcpStream, from: SocketAddr) -> Option<()> {
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            let mut packet = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut packet).ok()?;
            for act in self.note(from, true, &packet) {
                match act {
                    Act::Wait(time) => thread::sleep(time),
                    Act::Send(reply) | Act::SendFromElsewhere(reply) => {
                        let length = u16::try_from(reply.len()).unwrap();
                        let framed = [&length.to_be_bytes()[..], &reply].concat();
                        stream.write_all(&framed).ok()?;
                    }
                }
            }
        }
    }
}
