//! What is asked: TXT queries for numbered names, made before anything is
//! measured.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{
        Name, RecordType,
        rdata::opt::{ClientSubnet, EdnsCode, EdnsOption},
    },
};

/// What a message may have that comes by UDP, as `dig` says it.
const PAYLOAD: u16 = 1_232;

const CLIENT_COOKIE: [u8; 8] = *b"bench-01";

#[derive(Debug, Args)]
pub struct Asked {
    /// The names, with {} for the number: vp{}.bench.internal
    #[arg(long)]
    name: String,

    /// How many names there are, from number 0
    #[arg(long, default_value_t = 1)]
    pub names: u32,

    /// In which order they are asked for
    #[arg(long, default_value = "random")]
    order: Order,

    /// State an address of its own for each name, by CLIENT-SUBNET, from this one
    /// on
    #[arg(long, value_name = "ADDR")]
    subnet: Option<Ipv4Addr>,

    /// Get a cookie first, and send it along
    #[arg(long)]
    cookie: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Any name at any time
    Random,
    /// One after the other, and then again
    Round,
    /// One after the other, and no more
    Once,
}

/// The queries, of which each but its first two octets, the ID, stays as it is.
pub struct Queries {
    octets: Vec<u8>,
    /// Where each begins; and where the last ends.
    begins: Vec<usize>,
    order: Order,
    /// The next in order, or the state of the random numbers.
    next: u64,
}

impl Queries {
    pub fn new(asked: &Asked, server: SocketAddrV4) -> anyhow::Result<Self> {
        if !asked.name.contains("{}") {
            bail!("--name has no {{}} for the number: {}", asked.name);
        }
        let cookie = match asked.cookie {
            true => Some(server_cookie(asked, server)?),
            false => None,
        };
        let mut queries = Self {
            octets: Vec::new(),
            begins: vec![0],
            order: asked.order,
            next: if asked.order == Order::Random { 1 } else { 0 },
        };
        for number in 0..asked.names {
            let query = query(asked, number, cookie.as_deref())?;
            queries.octets.extend_from_slice(&query);
            queries.begins.push(queries.octets.len());
        }
        Ok(queries)
    }

    pub fn len(&self) -> u32 {
        self.begins.len() as u32 - 1
    }

    pub fn octets(&self, number: u32) -> &[u8] {
        let place = number as usize;
        &self.octets[self.begins[place]..self.begins[place + 1]]
    }

    /// Which to ask next, if any is left.
    pub fn next(&mut self) -> Option<u32> {
        let names = u64::from(self.len());
        let number = match self.order {
            Order::Random => {
                // Marsaglia's xorshift: the same names in each run.
                self.next ^= self.next << 13;
                self.next ^= self.next >> 7;
                self.next ^= self.next << 17;
                return u32::try_from(self.next % names).ok();
            }
            Order::Round => self.next % names,
            Order::Once if self.next < names => self.next,
            Order::Once => return None,
        };
        self.next += 1;
        u32::try_from(number).ok()
    }
}

fn query(asked: &Asked, number: u32, cookie: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii(asked.name.replace("{}", &number.to_string()))?;
    message.add_query(Query::query(name, RecordType::TXT));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    if let Some(first) = asked.subnet {
        let address = Ipv4Addr::from(u32::from(first).wrapping_add(number));
        let subnet = ClientSubnet::new(IpAddr::V4(address), 32, 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    if let Some(cookie) = cookie {
        let code = EdnsCode::Cookie.into();
        let option = EdnsOption::Unknown(code, cookie.to_vec());
        edns.options_mut().insert(option);
    }
    message.edns = Some(edns);
    Ok(message.to_vec()?)
}

/// A cookie that the server accepts from here (RFC 7873).
fn server_cookie(asked: &Asked, server: SocketAddrV4) -> anyhow::Result<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(&query(asked, 0, Some(&CLIENT_COOKIE))?)?;
    let mut buffer = [0; 4_096];
    let length = socket
        .recv(&mut buffer)
        .with_context(|| format!("{server} does not answer"))?;
    let answer = Message::from_vec(&buffer[..length])?;
    let edns = answer.edns.context("the server has no EDNS")?;
    match edns.option(EdnsCode::Cookie) {
        Some(EdnsOption::Unknown(_, cookie)) if cookie.len() > CLIENT_COOKIE.len() => {
            Ok(cookie.clone())
        }
        // The floor gives back what it was sent; that is then its cookie.
        Some(EdnsOption::Unknown(_, cookie)) => Ok([&cookie[..], &[0; 16]].concat()),
        _ => bail!("{server} gives no cookie"),
    }
}
