//! Forwards queries for names outside all zones to upstream resolvers, and returns
//! their responses unchanged.
//!
//! This is a transparent proxy (RFC 5625) and not a resolver: it has no cache, follows
//! no aliases, and validates nothing. The flags of the response, including AA and RA,
//! are those of the upstream. DNSSEC data is passed on as well: the records that the
//! client requested with DO, and the AD bit, which is as trustworthy as the path to the
//! upstream.
//!
//! * [`query`]: the query to an upstream.
//! * [`response`]: the response of an upstream; `shift`: adjusts compressed names in it.
//! * `exchange`: sends a query to one upstream by UDP and TCP.
//! * `admission`: limits on concurrently forwarded queries.
//! * [`local`]: names that are served locally.

mod admission;
mod exchange;
pub mod local;
pub mod query;
pub mod response;
mod shift;

use std::{
    net::SocketAddr,
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
    admission::{Admission, ForwardPermit},
    exchange::UpstreamError,
    response::Response,
};

pub use self::query::UpstreamQuery;

use super::extended_error::{ExtendedError, NETWORK_ERROR, NO_REACHABLE_AUTHORITY};

/// The time limit for all upstreams together. `dig` gives up after 5 s.
const TOTAL: Duration = Duration::from_millis(4_500);

/// The maximum length of an extended error's text in bytes. The text is omitted if it
/// does not fit, and should not fill a small reply.
const MAX_TEXT: usize = 320;

/// Forwards queries to upstream resolvers.
pub struct Forwarder {
    upstreams: Vec<SocketAddr>,
    /// The upstream that answered last, which is queried first, so that a dead upstream
    /// rarely delays a query.
    preferred: AtomicUsize,
    pub(super) admission: Admission,
}

/// The result of forwarding a query.
#[derive(Debug)]
pub struct ForwardResult {
    /// An answer, or the best of the failures that upstreams returned. `None` if no
    /// upstream responded.
    pub response: Option<Response>,
    /// If there is no answer, the result of each upstream.
    pub error: Option<ExtendedError>,
}

/// A query to one upstream.
struct Attempt {
    upstream: SocketAddr,
    /// How long the upstream had to respond.
    time: Duration,
    /// `None` if the task panicked.
    result: Option<Result<Response, UpstreamError>>,
}

impl Forwarder {
    /// `upstreams` are queried in this order.
    pub fn new(upstreams: &[SocketAddr]) -> Self {
        Self {
            upstreams: upstreams.to_vec(),
            preferred: AtomicUsize::new(0),
            admission: Admission::new(upstreams.len()),
        }
    }

    /// Queries the upstreams.
    ///
    /// Each gets an equal share of the remaining time before the next is queried. A
    /// later answer is accepted as well, so that a slow upstream can still answer while
    /// the others do not.
    pub async fn forward(
        self: Arc<Self>,
        query: UpstreamQuery,
        _permit: ForwardPermit,
    ) -> ForwardResult {
        let query = Arc::new(query);
        let end = Instant::now() + TOTAL;
        let preferred = self.preferred.load(Ordering::Relaxed);
        let count = self.upstreams.len();
        let mut upstreams = (0..count).cycle().skip(preferred).take(count);
        let mut left = count as u32;
        let mut attempts: Vec<Attempt> = Vec::with_capacity(count);
        // Dropping the tasks aborts them.
        let mut tasks = JoinSet::new();
        loop {
            let ended = match upstreams.next() {
                Some(index) => {
                    let now = Instant::now();
                    let time = end.saturating_duration_since(now);
                    let share = time / left;
                    left -= 1;
                    let (upstream, query) = (self.upstreams[index], query.clone());
                    let attempt = attempts.len();
                    attempts.push(Attempt {
                        upstream,
                        time,
                        result: None,
                    });
                    tasks.spawn(async move {
                        let result = exchange::query_upstream(upstream, &query, end).await;
                        (attempt, index, result)
                    });
                    timeout_at(now + share, tasks.join_next()).await
                }
                // Each task ends by itself at the time limit.
                None => Ok(tasks.join_next().await),
            };
            match ended {
                Ok(Some(Ok((_, index, Ok(response))))) if response.is_answer() => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return ForwardResult {
                        response: Some(response),
                        error: None,
                    };
                }
                Ok(Some(Ok((attempt, _, result)))) => attempts[attempt].result = Some(result),
                Ok(None) if left == 0 => return without_answer(attempts),
                // The share of the time is over, or the task has panicked.
                Ok(None) | Ok(Some(Err(_))) | Err(_) => {}
            }
        }
    }
}

/// The best of the responses when no upstream has an answer, and the result of each.
fn without_answer(attempts: Vec<Attempt>) -> ForwardResult {
    let mut text = String::new();
    for attempt in &attempts {
        let part = attempt.to_string();
        debug!("{part}");
        if text.len() + part.len() > MAX_TEXT {
            text.push_str(", and so on");
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&part);
    }
    let is_unreachable = |it: &Attempt| matches!(it.result, Some(Err(UpstreamError::Network(_))));
    let all_are_unreachable = attempts.iter().all(is_unreachable);
    let responses = attempts.into_iter().filter_map(|it| it.result?.ok());
    let response = responses.min_by_key(|response| match response.code {
        // This upstream tried to resolve the name.
        ResponseCode::ServFail => 0,
        ResponseCode::Refused => 2,
        _ => 1,
    });
    let mut error = ExtendedError::other(text);
    if response.is_none() {
        error.info_code = if all_are_unreachable {
            NETWORK_ERROR
        } else {
            NO_REACHABLE_AUTHORITY
        };
    }
    ForwardResult {
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
        match &self.result {
            Some(Ok(response)) => write!(f, "answered {}", mnemonic(response.code)),
            Some(Err(UpstreamError::Timeout)) => {
                write!(f, "did not answer within {:.1} s", self.time.as_secs_f32())
            }
            Some(Err(error)) => write!(f, "{error}"),
            None => write!(f, "was not queried to the end"),
        }
    }
}

/// The mnemonic of a response code.
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
