//! The connection to etcd: a call comes in, one answer or one error goes out, within
//! a time that the caller states.
//!
//! There is one channel for each member, and one of them is in use. A member that
//! does not answer is left for the next one, and its channel is replaced, since a
//! connection that is dead without a sign would otherwise take every later call with
//! it.
//!
//! A call that changes something is sent once ([`Connection::call`]). If its outcome
//! is unknown, only the caller knows whether it may be repeated: a transaction that
//! is sent twice can undo what was written in between. Reads are repeated on every
//! member ([`Connection::ask`]).

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::uri::PathAndQuery;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    metadata::{Ascii, MetadataMap, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

use super::{
    call_error::{CallError, call_error, described},
    wire::{
        Answer, Authenticate, Call, LeaseKeepAlive, LeaseKeepAliveAnswer, WatchAnswer, WatchRequest,
    },
};

/// How long a member may take to answer.
pub const CALL: Duration = Duration::from_millis(1_500);

/// How long a member may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// How often a connection is probed, and how soon the answer is due. etcd takes
/// probes that are more frequent than every 5 s for an attack.
const PROBE: Duration = Duration::from_secs(6);
const PROBE_ANSWER: Duration = Duration::from_secs(3);

/// The size up to which an answer is accepted.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How errors name a connection that the other side has ended, or that it answers in
/// another protocol.
const ENDED: [&str; 7] = [
    "connection error",
    "fatal alert",
    "roken pipe",
    "connection closed",
    "onnection reset",
    "frame with invalid size",
    "http2 error",
];

/// How etcd is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `HOST:PORT` of each member.
    pub members: Vec<String>,
    pub tls: Option<Tls>,
    pub login: Option<Login>,
}

/// What TLS needs, as PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    pub ca: Vec<u8>,
    pub own: Option<OwnCertificate>,
}

/// The certificate that this client presents.
#[derive(Debug, Clone)]
pub struct OwnCertificate {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// A user of etcd.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
}

pub struct Connection {
    members: Vec<Member>,
    current: AtomicUsize,
    login: Option<Login>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    /// The cluster of the first answer.
    cluster: OnceLock<u64>,
}

struct Member {
    endpoint: Endpoint,
    /// What may be missing if it ends connections without saying why.
    missing: &'static str,
    channel: Mutex<Channel>,
}

impl Connection {
    /// Connects with the first call. Call it in a runtime of tokio.
    ///
    /// # Errors
    ///
    /// What is wrong with an address or a certificate.
    pub fn new(access: &Access) -> Result<Self, String> {
        let members = access
            .members
            .iter()
            .map(|member| Member::new(member, access.tls.as_ref()));
        Ok(Self {
            members: members.collect::<Result<_, _>>()?,
            current: AtomicUsize::new(0),
            login: access.login.clone(),
            token: Mutex::default(),
            cluster: OnceLock::new(),
        })
    }

    /// The cluster of all answers; 0 before the first.
    pub fn cluster(&self) -> u64 {
        self.cluster.get().copied().unwrap_or(0)
    }

    /// Sends a call once, to the member in use.
    pub async fn call<C: Call>(
        &self,
        call: C,
        patience: Duration,
    ) -> Result<C::Response, CallError> {
        let sent = async |mut grpc: Grpc<Channel>, request: Request<C>| {
            let path = PathAndQuery::from_static(C::PATH);
            let answer = grpc.unary(request, path, ProstCodec::default()).await;
            answer.map(tonic::Response::into_inner)
        };
        self.once(call, patience, sent).await
    }

    /// Extends a lease. The answer has its new duration.
    ///
    /// etcd has a stream for this. A stream for each extension ends with it, so that
    /// none can fall silent.
    pub async fn keep_alive(
        &self,
        call: LeaseKeepAlive,
        patience: Duration,
    ) -> Result<LeaseKeepAliveAnswer, CallError> {
        let sent = async |mut grpc: Grpc<Channel>, request: Request<LeaseKeepAlive>| {
            let path = PathAndQuery::from_static(LeaseKeepAlive::PATH);
            let answers = grpc.server_streaming(request, path, ProstCodec::default());
            let answer = answers.await?.into_inner().message().await?;
            answer.ok_or_else(|| Status::unavailable("etcd ended the call without an answer"))
        };
        self.once(call, patience, sent).await
    }

    /// Starts a watch, whose requests come from the channel.
    pub async fn watch(
        &self,
        requests: mpsc::Receiver<WatchRequest>,
        patience: Duration,
    ) -> Result<Streaming<WatchAnswer>, CallError> {
        let requests = ReceiverStream::new(requests);
        let (place, member) = self.current()?;
        let work = async {
            let mut request = Request::new(requests);
            self.fill(member, request.metadata_mut()).await?;
            let mut grpc = member.ready().await?;
            let path = PathAndQuery::from_static(WatchRequest::PATH);
            let answers = grpc.streaming(request, path, ProstCodec::default()).await;
            answers.map(tonic::Response::into_inner).map_err(call_error)
        };
        self.outcome(place, patience, work).await
    }

    /// Asks one member after the other until one answers; each may take as long as
    /// stated. Only for calls that change nothing, or may be repeated.
    pub async fn ask<C: Call>(
        &self,
        call: &C,
        patience: Duration,
    ) -> Result<C::Response, CallError> {
        let mut tries = self.members.len();
        let mut may_log_in = true;
        loop {
            match self.call(call.clone(), patience).await {
                Err(CallError::Unavailable(_)) if tries > 1 => tries -= 1,
                Err(CallError::Expired(_)) if may_log_in => may_log_in = false,
                answer => return answer,
            }
        }
    }

    async fn once<C: Call>(
        &self,
        call: C,
        patience: Duration,
        send: impl AsyncFnOnce(Grpc<Channel>, Request<C>) -> Result<C::Response, Status>,
    ) -> Result<C::Response, CallError> {
        let (place, member) = self.current()?;
        let work = async {
            let mut request = Request::new(call);
            self.fill(member, request.metadata_mut()).await?;
            let grpc = member.ready().await?;
            send(grpc, request).await.map_err(call_error)
        };
        let answer = self.outcome(place, patience, work).await?;
        self.check_cluster(&answer)?;
        Ok(answer)
    }

    /// The member in use.
    fn current(&self) -> Result<(usize, &Member), CallError> {
        let place = self.current.load(Ordering::Relaxed);
        let member = self.members.get(place);
        let member = member.ok_or_else(|| CallError::Unavailable("there is no member".into()))?;
        Ok((place, member))
    }

    /// The outcome of a call on the member with this index, which is left if it does not
    /// answer.
    async fn outcome<T>(
        &self,
        place: usize,
        patience: Duration,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let answer = timeout(patience, work).await.unwrap_or_else(|_| {
            let late = format!("no answer within {}", humantime::format_duration(patience));
            Err(CallError::Unavailable(late))
        });
        match &answer {
            Err(CallError::Unavailable(_)) => self.leave(place),
            Err(CallError::Expired(_)) => *locked(&self.token) = None,
            _ => {}
        }
        answer.map_err(|error| match error {
            CallError::Unavailable(reason) => {
                let member = &self.members[place];
                let hint = member.hint(&reason);
                CallError::Unavailable(format!("{}: {reason}{hint}", member.endpoint.uri()))
            }
            error => error,
        })
    }

    /// Goes on with the next member.
    pub fn leave_current(&self) {
        self.leave(self.current.load(Ordering::Relaxed));
    }

    /// What every request carries: that a member without a leader is to refuse it at
    /// once, and the login.
    async fn fill(&self, member: &Member, metadata: &mut MetadataMap) -> Result<(), CallError> {
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        let Some(login) = &self.login else {
            return Ok(());
        };
        let known = locked(&self.token).clone();
        let token = match known {
            Some(token) => token,
            None => {
                let call = Authenticate {
                    name: login.user.clone(),
                    password: login.password.clone(),
                };
                let path = PathAndQuery::from_static(Authenticate::PATH);
                let mut grpc = member.ready().await?;
                let codec = ProstCodec::<Authenticate, <Authenticate as Call>::Response>::default();
                let answer = grpc.unary(Request::new(call), path, codec).await;
                let answer = answer.map_err(call_error)?.into_inner();
                let token: MetadataValue<Ascii> = answer.token.parse().map_err(|_| {
                    CallError::Refused("etcd has answered the login with an invalid token".into())
                })?;
                *locked(&self.token) = Some(token.clone());
                token
            }
        };
        metadata.insert("token", token);
        Ok(())
    }

    /// Fails if the answer is from another cluster than all others.
    pub fn check_cluster(&self, answer: &impl Answer) -> Result<(), CallError> {
        let Some(header) = answer.header() else {
            return Ok(());
        };
        let known = *self.cluster.get_or_init(|| header.cluster_id);
        if header.cluster_id == known {
            return Ok(());
        }
        Err(CallError::OtherCluster(header.cluster_id))
    }

    /// Goes on with the next member, unless another call has done so.
    fn leave(&self, place: usize) {
        let next = (place + 1) % self.members.len().max(1);
        let order = Ordering::Relaxed;
        let left = self.current.compare_exchange(place, next, order, order);
        if left.is_ok() {
            self.members[place].renew();
        }
    }
}

impl Member {
    fn new(address: &str, tls: Option<&Tls>) -> Result<Self, String> {
        let scheme = match tls {
            Some(_) => "https",
            None => "http",
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|error| format!("`{address}`: {}", described(&error)))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PROBE)
            .keep_alive_timeout(PROBE_ANSWER)
            .keep_alive_while_idle(true);
        if let Some(tls) = tls {
            let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
            if let Some(own) = &tls.own {
                config = config.identity(Identity::from_pem(&own.certificate, &own.key));
            }
            endpoint = endpoint
                .tls_config(config)
                .map_err(|error| format!("the certificates: {}", described(&error)))?;
        }
        let missing = match tls {
            None => "; it may answer only by TLS, which takes `ca` in [etcd]",
            Some(Tls { own: None, .. }) => {
                "; it may require a client certificate: `certificate` and `key` in [etcd]"
            }
            Some(Tls { own: Some(_), .. }) => {
                "; it may not accept the client certificate in [etcd]: see its log"
            }
        };
        let channel = Mutex::new(endpoint.connect_lazy());
        Ok(Self {
            endpoint,
            missing,
            channel,
        })
    }

    /// What may be the cause of an error.
    fn hint(&self, reason: &str) -> &'static str {
        let is_ended = ENDED.iter().any(|ended| reason.contains(ended));
        if is_ended && !reason.contains("[etcd]") {
            self.missing
        } else {
            ""
        }
    }

    /// A client whose connection is there.
    async fn ready(&self) -> Result<Grpc<Channel>, CallError> {
        let channel = locked(&self.channel).clone();
        let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        match grpc.ready().await {
            Ok(()) => Ok(grpc),
            Err(error) => Err(CallError::Unavailable(described(&error))),
        }
    }

    fn renew(&self) {
        *locked(&self.channel) = self.endpoint.connect_lazy();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
