//! What clients asked and were answered, and what was broken meanwhile. All times are
//! those of one monotonic clock, that of the run.

use std::{fmt, net::Ipv4Addr, time::Duration};

/// The time since the start of the run.
pub type Moment = Duration;

/// Where the ID of a host comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sequence {
    /// `vp0`, `vp1`, …, which never end, so that nobody loses one by silence.
    Open,
    /// `nvp0` to `nvp3`, which pass from silent hosts to new ones.
    Limited,
}

/// A host, by the label with which it registers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    pub label: String,
    pub sequence: Sequence,
}

/// An ID, such as `vp3`.
pub type Id = String;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// TXT of a host, which registers it or renews its lease.
    Register(Host),
    /// Ends the lease of the client.
    Leave(Host),
    /// An administrator takes the ID from the host (DNS UPDATE).
    Release(Host),
    /// A of a host's own name.
    AddressOfHost(Host),
    /// A of the name of an ID.
    AddressOfId(Id),
    /// TXT of the name of an ID, which registers nobody.
    StateOfId(Id),
    /// SOA of the zone.
    Serial,
    /// TXT of the zone: how many peers there are.
    Summary,
}

/// What the answer to [`Request::Register`] or [`Request::StateOfId`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: Id,
    pub epoch: u64,
    /// The address of the holder, who need not be the client.
    pub holder: Ipv4Addr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// None in time, for this reason. Whatever was asked for may still be done.
    NoAnswer(String),
    /// The query did not reach a service, for this reason.
    Undelivered(String),
    Granted(Grant),
    Left(Id),
    Released,
    Address(Ipv4Addr),
    /// NODATA: the lease has ended.
    NoAddress,
    /// NXDOMAIN.
    NoName,
    Serial(u32),
    Summary {
        peers: usize,
        live: usize,
    },
    /// REFUSED, with the text of the extended error. Nothing was done.
    Refused(String),
    /// SERVFAIL, with the text. Whatever was asked for may still be done.
    Failed(String),
    /// An answer that has none of these forms.
    Strange(String),
}

/// A query and its answer.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The client's address, which no other client has.
    pub client: Ipv4Addr,
    pub request: Request,
    pub replica: usize,
    /// When the query was sent: the last one, which proved the client's address.
    pub sent: Moment,
    /// When the answer was there, or when the client gave up.
    pub done: Moment,
    pub outcome: Outcome,
}

/// How much is broken at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// At most one member of etcd and one replica.
    Minority,
    /// Whatever it is.
    Anything,
}

/// What may have stood still, or not have reached the others, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Member(usize),
    Replica(usize),
}

/// Something that was broken.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: &'static str,
    /// What was broken, and how.
    pub text: String,
    pub cut: Option<Cut>,
    pub begins: Moment,
    pub ends: Moment,
}

/// Faults, after which everything is healed.
#[derive(Debug, Clone)]
pub struct Round {
    pub extent: Extent,
    pub begins: Moment,
    /// When everything was healed.
    pub healed: Moment,
    /// When a new host had registered after that; `None` if there was none in time.
    pub recovered: Option<Moment>,
}

/// All that happened. Operations are in the order in which they were sent.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    pub faults: Vec<Fault>,
    pub rounds: Vec<Round>,
    /// Lines of logs that tell of a defect, with the process; replicas that do not
    /// answer when everything is healed.
    pub defects: Vec<String>,
}

impl Request {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::Leave(_) => "leave",
            Self::Release(_) => "release",
            Self::AddressOfHost(_) => "A of host",
            Self::AddressOfId(_) => "A of ID",
            Self::StateOfId(_) => "TXT of ID",
            Self::Serial => "SOA",
            Self::Summary => "TXT of zone",
        }
    }

    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        !matches!(self, Self::Register(_) | Self::Leave(_) | Self::Release(_))
    }

    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Register(host)
            | Self::Leave(host)
            | Self::Release(host)
            | Self::AddressOfHost(host) => Some(host),
            Self::AddressOfId(_) | Self::StateOfId(_) | Self::Serial | Self::Summary => None,
        }
    }
}

impl Outcome {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoAnswer(_) => "no answer",
            Self::Undelivered(_) => "undelivered",
            Self::Failed(_) => "SERVFAIL",
            Self::Refused(_) => "REFUSED",
            Self::Strange(_) => "strange",
            Self::NoAddress => "NODATA",
            Self::NoName => "NXDOMAIN",
            _ => "answer",
        }
    }

    /// Whether a change may yet be made on behalf of the query, or was made unseen.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Failed(_) | Self::Strange(_))
    }
}

impl Operation {
    /// The ID that the query or its answer names.
    pub fn id(&self) -> Option<&Id> {
        match (&self.request, &self.outcome) {
            (Request::AddressOfId(id) | Request::StateOfId(id), _) => Some(id),
            (_, Outcome::Granted(Grant { id, .. }) | Outcome::Left(id)) => Some(id),
            _ => None,
        }
    }
}

/// Seconds with three decimals.
pub fn seconds(moment: Moment) -> String {
    format!("{:.3}", moment.as_secs_f64())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client, replica, ..
        } = self;
        let (sent, done) = (seconds(self.sent), seconds(self.done));
        let kind = self.request.kind();
        write!(
            f,
            "{sent:>9} to {done:>9}  {client} asks replica {replica}: {kind}"
        )?;
        match &self.request {
            Request::AddressOfId(id) | Request::StateOfId(id) => write!(f, " {id}: ")?,
            request => match request.host() {
                Some(host) => write!(f, " {host}: ")?,
                None => f.write_str(": ")?,
            },
        }
        match &self.outcome {
            Outcome::Granted(Grant { id, epoch, holder }) => {
                write!(f, "{id} epoch {epoch} at {holder}")?;
                match holder == client {
                    true => f.write_str(", itself"),
                    false => Ok(()),
                }
            }
            Outcome::Left(id) => write!(f, "left {id}"),
            Outcome::Released => f.write_str("released"),
            Outcome::Address(address) => write!(f, "{address}"),
            Outcome::Serial(serial) => write!(f, "{serial}"),
            Outcome::Summary { peers, live } => write!(f, "{peers} peers, {live} live"),
            Outcome::NoAddress | Outcome::NoName => f.write_str(self.outcome.kind()),
            Outcome::NoAnswer(why)
            | Outcome::Undelivered(why)
            | Outcome::Refused(why)
            | Outcome::Failed(why) => write!(f, "{} ({why})", self.outcome.kind()),
            Outcome::Strange(answer) => write!(f, "strange: {answer}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (begins, ends) = (seconds(self.begins), seconds(self.ends));
        write!(f, "{begins:>9} to {ends:>9}  FAULT {}", self.text)
    }
}
