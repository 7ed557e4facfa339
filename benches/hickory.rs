//! hickory-server's own loop over a zone in memory, as a rival to compare with.
//!
//!     hickory ADDR:PORT ORIGIN FILE
//!
//! The service answers by a loop and a zone of its own, on the same protocol
//! library; this shows what that gains.

use std::{env, fs, sync::Arc};

use anyhow::{Context as _, anyhow};
use hickory_proto::{rr::Name, serialize::txt::Parser};
use hickory_server::{
    net::runtime::TokioRuntimeProvider,
    server::Server,
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, ZoneType},
};
use tokio::net::UdpSocket;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, origin, path] = arguments.as_slice() else {
        return Err(anyhow!("write: hickory ADDR:PORT ORIGIN FILE"));
    };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let origin = Name::from_ascii(origin)?;
    let (origin, records) = Parser::new(text, None, Some(origin)).parse()?;
    let zone = InMemoryZoneHandler::<TokioRuntimeProvider>::new(
        origin.clone(),
        records,
        ZoneType::Primary,
        AxfrPolicy::Deny,
    )
    .map_err(anyhow::Error::msg)?;
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(zone)]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut server = Server::new(catalog);
        server.register_socket(UdpSocket::bind(address).await?);
        server.block_until_done().await?;
        Ok(())
    })
}
