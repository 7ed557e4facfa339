//! Names outside all zones: the queries go on to upstream resolvers, and what
//! these say comes back as they said it.
//!
//! This is a relay, as transparent as RFC 5625 wants one to be, and no resolver:
//! it keeps no cache, follows no alias, and validates nothing. The flags that
//! arrive are the upstream's, AA and RA among them. Whatever it knows of DNSSEC
//! arrives as well: the records that the client asked for with DO, and the AD
//! bit, which is worth as much as the way to the upstream is.
//!
//! * [`query`]: what goes to an upstream.
//! * [`response`]: what has come from one; `shift`: names in it that have to be mended.
//! * `exchange`: one upstream, asked by UDP and TCP.
//! * `admission`: how many queries are forwarded at once.
//! * [`local`]: names that are answered here.

mod admission;
mod exchange;
pub mod local;
pub mod query;
pub mod response;
mod shift;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::debug;

use self::{
    admission::{Admission, Admitted},
    exchange::Failure,
    response::Response,
};

pub use self::query::UpstreamQuery;

use super::extended_error::ExtendedError;

/// How long all upstreams together may take. `dig` gives up after 5 s.
const TOTAL: Duration = Duration::from_millis(4_500);

/// How long the text of an extended error may get. It is left out where it has no
/// room, and should not take the whole of a small reply.
const MOST_TEXT: usize = 320;

/// Passes queries on to upstream resolvers.
pub struct Forwarder {
    upstreams: Vec<SocketAddr>,
    /// Who answered last, and so is asked first: of a dead upstream only one
    /// query in a while is kept waiting.
    preferred: AtomicUsize,
    admission: Admission,
}

/// What has become of a query.
#[derive(Debug)]
pub struct Forwarded {
    /// What there is for the client: an answer, or the best of the failures that
    /// upstreams have reported. `None` where none has sent anything.
    pub response: Option<Response>,
    /// What else there is to say where there is no answer: who said what.
    pub error: Option<ExtendedError>,
}

/// An upstream that was asked, and what came of it, unless that is a defect.
struct Attempt {
    upstream: SocketAddr,
    /// How long it could take.
    time: Duration,
    outcome: Option<Result<Response, Failure>>,
}

impl Forwarder {
    /// Asks the upstreams in that order.
    pub fn new(upstreams: &[SocketAddr]) -> Self {
        Self {
            upstreams: upstreams.to_vec(),
            preferred: AtomicUsize::new(0),
            admission: Admission::new(upstreams.len()),
        }
    }

    /// Lets a query of that client be forwarded, if there may be one more.
    ///
    /// # Errors
    ///
    /// That there may not, and why.
    pub fn admit(&self, client: IpAddr) -> Result<Admitted, &'static str> {
        self.admission.admit(client)
    }

    /// Asks the upstreams.
    ///
    /// Each has a fair share of the time that is left until the next is asked.
    /// An answer that comes later is taken nevertheless, so that a slow upstream
    /// is heard while others are silent.
    pub async fn forward(self: Arc<Self>, query: UpstreamQuery, _admitted: Admitted) -> Forwarded {
        let query = Arc::new(query);
        let end = Instant::now() + TOTAL;
        let preferred = self.preferred.load(Ordering::Relaxed);
        let count = self.upstreams.len();
        let mut places = (0..count).cycle().skip(preferred).take(count);
        let mut left = count as u32;
        let mut asked: Vec<Attempt> = Vec::with_capacity(count);
        // Those that are waited for are given up with this.
        let mut waiting = JoinSet::new();
        loop {
            let ended = match places.next() {
                Some(place) => {
                    let now = Instant::now();
                    let time = end.saturating_duration_since(now);
                    let share = time / left;
                    left -= 1;
                    let (upstream, query) = (self.upstreams[place], query.clone());
                    let turn = asked.len();
                    asked.push(Attempt {
                        upstream,
                        time,
                        outcome: None,
                    });
                    waiting.spawn(async move {
                        let outcome = exchange::ask(upstream, &query, end).await;
                        (turn, place, outcome)
                    });
                    timeout_at(now + share, waiting.join_next()).await
                }
                // Each of them ends when the time has.
                None => Ok(waiting.join_next().await),
            };
            match ended {
                Ok(Some(Ok((_, place, Ok(response))))) if response.is_answer() => {
                    self.preferred.store(place, Ordering::Relaxed);
                    return Forwarded {
                        response: Some(response),
                        error: None,
                    };
                }
                Ok(Some(Ok((turn, _, outcome)))) => asked[turn].outcome = Some(outcome),
                Ok(None) if left == 0 => return failed(asked),
                // Its turn is over, or it has panicked: the next one's.
                Ok(None) | Ok(Some(Err(_))) | Err(_) => {}
            }
        }
    }
}

/// No upstream has an answer: the best of what they sent, and who said what.
fn failed(asked: Vec<Attempt>) -> Forwarded {
    let mut text = String::new();
    for asked in &asked {
        let part = asked.to_string();
        debug!("{part}");
        if text.len() + part.len() > MOST_TEXT {
            text.push_str(", and so on");
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&part);
    }
    let is_unreachable = |asked: &Attempt| matches!(asked.outcome, Some(Err(Failure::Network(_))));
    let all_are_unreachable = asked.iter().all(is_unreachable);
    let responses = asked.into_iter().filter_map(|asked| asked.outcome?.ok());
    let response = responses.min_by_key(|response| match response.code {
        // It has tried.
        ResponseCode::ServFail => 0,
        ResponseCode::Refused => 2,
        _ => 1,
    });
    let error = match &response {
        Some(_) => ExtendedError::other(text),
        None if all_are_unreachable => ExtendedError::network_error(text),
        None => ExtendedError::no_reachable_authority(text),
    };
    Forwarded {
        response,
        error: Some(error),
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.upstream.port() {
            53 => write!(f, "{} ", self.upstream.ip())?,
            _ => write!(f, "{} ", self.upstream)?,
        }
        match &self.outcome {
            Some(Ok(response)) => write!(f, "answered {}", mnemonic(response.code)),
            Some(Err(Failure::Silent)) => {
                write!(f, "did not answer within {:.1} s", self.time.as_secs_f32())
            }
            Some(Err(failure)) => write!(f, "{failure}"),
            None => write!(f, "was not heard"),
        }
    }
}

/// What operators call the code.
fn mnemonic(code: ResponseCode) -> String {
    let known = match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::BADVERS => "BADVERS",
        ResponseCode::BADCOOKIE => "BADCOOKIE",
        other => return format!("with the code {}", u16::from(other)),
    };
    known.to_owned()
}
