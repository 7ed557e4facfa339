//! Names outside all zones: hickory's forwarder asks the upstream resolvers.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::{
    rr::{LowerName, Name, Record},
    serialize::binary::BinEncoder,
};
use hickory_server::{
    net::{NetError, runtime::TokioTime},
    resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts, ServerOrderingStrategy},
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    store::forwarder::{ForwardConfig, ForwardZoneHandler},
    zone_handler::{Catalog, MessageResponse},
};

/// How long one upstream may take before the next is asked.
const UPSTREAM: Duration = Duration::from_millis(1_500);

/// How long all of them together may take. `dig` gives up after 5 s.
const TOTAL: Duration = Duration::from_millis(4_500);

/// Passes queries on to upstream resolvers, in the order that was given.
pub struct Forwarder {
    catalog: Catalog,
}

impl Forwarder {
    /// # Errors
    ///
    /// What hickory's resolver does not take.
    pub fn new(upstreams: &[SocketAddr]) -> Result<Self, String> {
        let mut options = ResolverOpts::default();
        options.timeout = UPSTREAM;
        options.attempts = 1;
        options.num_concurrent_reqs = 1;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.preserve_intermediates = true;
        let config = ForwardConfig {
            name_servers: upstreams.iter().map(name_server).collect(),
            options: Some(options),
        };
        let handler = ForwardZoneHandler::builder_tokio(config).build()?;
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::new(&Name::root()), vec![Arc::new(handler)]);
        Ok(Self { catalog })
    }

    /// The reply of an upstream to the request, or `None` where none replied.
    pub async fn forward(&self, request: &Request) -> Option<Vec<u8>> {
        let reply = Captured::default();
        let asked = self
            .catalog
            .handle_request::<_, TokioTime>(request, reply.clone());
        tokio::time::timeout(TOTAL, asked).await.ok()?;
        reply.take()
    }
}

fn name_server(upstream: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = upstream.port();
        connection
    });
    NameServerConfig::new(upstream.ip(), true, connections.into())
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
