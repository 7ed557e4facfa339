//! Names outside all zones: hickory's forwarder asks the upstream resolvers.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{LowerName, Name, Record},
    serialize::binary::BinEncoder,
};
use hickory_server::{
    net::{NetError, runtime::TokioTime},
    resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts},
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    store::forwarder::{ForwardConfig, ForwardZoneHandler},
    zone_handler::{Catalog, MessageResponse},
};

/// How long one upstream may take before the next is asked.
const UPSTREAM: Duration = Duration::from_millis(1_500);

/// How long all of them together may take. `dig` gives up after 5 s.
const TOTAL: Duration = Duration::from_millis(4_500);

/// Passes queries on to upstream resolvers, one after the other.
pub struct Forwarder {
    /// One of hickory's forwarders each: given several servers, it lets the
    /// first use up the time of all.
    upstreams: Vec<Catalog>,
    /// Who answered last, and so is asked first: of a dead upstream only one
    /// query in a while is kept waiting.
    preferred: AtomicUsize,
}

impl Forwarder {
    /// Asks the upstreams in that order.
    ///
    /// # Errors
    ///
    /// What hickory's resolver does not take.
    pub fn new(upstreams: &[SocketAddr]) -> Result<Self, String> {
        Ok(Self {
            upstreams: upstreams.iter().map(upstream).collect::<Result<_, _>>()?,
            preferred: AtomicUsize::new(0),
        })
    }

    /// The reply of an upstream to the request, or `None` where none replied.
    pub async fn forward(&self, request: &Request) -> Option<Vec<u8>> {
        tokio::time::timeout(TOTAL, self.ask_each(request))
            .await
            .ok()?
    }

    async fn ask_each(&self, request: &Request) -> Option<Vec<u8>> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let places = 0..self.upstreams.len();
        for place in places.clone().cycle().skip(preferred).take(places.len()) {
            let reply = Captured::default();
            let asked =
                self.upstreams[place].handle_request::<_, TokioTime>(request, reply.clone());
            // hickory has the same time limit; where it keeps it, it makes a
            // SERVFAIL of it.
            let _ = tokio::time::timeout(UPSTREAM, asked).await;
            let reply = reply.take().filter(|reply| !is_failure(reply));
            if reply.is_some() {
                self.preferred.store(place, Ordering::Relaxed);
                return reply;
            }
        }
        None
    }
}

fn upstream(upstream: &SocketAddr) -> Result<Catalog, String> {
    let mut options = ResolverOpts::default();
    options.timeout = UPSTREAM;
    options.attempts = 1;
    options.preserve_intermediates = true;
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = upstream.port();
        connection
    });
    let server = NameServerConfig::new(upstream.ip(), true, connections.into());
    let config = ForwardConfig {
        name_servers: vec![server],
        options: Some(options),
    };
    let handler = ForwardZoneHandler::builder_tokio(config).build()?;
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::new(&Name::root()), vec![Arc::new(handler)]);
    Ok(catalog)
}

/// Whether the message says SERVFAIL.
fn is_failure(reply: &[u8]) -> bool {
    let code = reply.get(3).map(|flags| flags & 0xf);
    code == Some(ResponseCode::ServFail.low())
}

/// Keeps the one message that is sent as the response.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Option<Vec<u8>>>>);

impl Captured {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().ok()?.take()
    }
}

#[async_trait::async_trait]
impl ResponseHandler for Captured {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut octets = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut octets);
        let info = response.destructive_emit(&mut encoder)?;
        if let Ok(mut captured) = self.0.lock() {
            *captured = Some(octets);
        }
        Ok(info)
    }
}
