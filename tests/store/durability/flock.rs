//! Many hosts that register at once.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use hickory_proto::op::{Message, ResponseCode};

use crate::common::{Service, socket, strings_of, txt_query};

/// Registers many hosts from one socket with a limited number of outstanding
/// queries, which are repeated until they are answered. Records the ID of each
/// host.
pub struct Flock {
    socket: std::net::UdpSocket,
    /// The hosts that have not been answered.
    waiting: Vec<u16>,
    pub ids: HashMap<u16, String>,
}

impl Flock {
    pub fn new(hosts: u16) -> Self {
        let socket = socket();
        let patience = Some(Duration::from_millis(100));
        socket.set_read_timeout(patience).unwrap();
        Self {
            socket,
            waiting: (0..hosts).rev().collect(),
            ids: HashMap::new(),
        }
    }

    /// Continues until all hosts are answered or the time is up.
    pub fn ask(&mut self, service: &Service, outstanding: usize, until: Instant) {
        let mut asked: BTreeSet<u16> = BTreeSet::new();
        let mut buffer = [0; 4096];
        while Instant::now() < until && !(self.waiting.is_empty() && asked.is_empty()) {
            while asked.len() < outstanding
                && let Some(host) = self.waiting.pop()
            {
                let address = format!("10.1.{}.{}", host / 250, host % 250 + 1);
                let query = txt_query(host, &format!("host-{host}.test.internal"), Some(&address));
                // The service may have been killed.
                let _ = self.socket.send_to(&query, service.address);
                asked.insert(host);
            }
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let reply = Message::from_vec(&buffer[..length]).unwrap();
                    let host = reply.metadata.id;
                    if reply.metadata.response_code == ResponseCode::NoError {
                        let id = strings_of(&reply)[0]
                            .strip_prefix("id=")
                            .unwrap()
                            .to_owned();
                        if let Some(earlier) = self.ids.insert(host, id.clone()) {
                            assert_eq!(earlier, id, "host {host} keeps its ID");
                        }
                        asked.remove(&host);
                    }
                }
                // Nothing has arrived for a while: repeat the missing queries.
                Err(_) => self.waiting.extend(std::mem::take(&mut asked)),
            }
        }
        self.waiting.extend(asked);
    }
}
