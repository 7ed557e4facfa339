//! A transfer without a service, as for a client. The fuzz target for zone files
//! uses it as well.

use std::{net::SocketAddr, sync::Arc};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::RecordType,
};
use param_daemon::{
    network::Network,
    server::{
        policy::{
            client::Client,
            cookie::Cookies,
            source::{Source, Transport},
        },
        reply::{Reply, ServerInfo},
        transfer::{Transfer, TransferContent},
        wire,
    },
    zone::{self, Zone, ZoneView},
};

/// The ID of the query.
pub const ID: u16 = 4_711;

pub fn asked(
    zone: &Arc<Zone>,
    network: &Arc<Network>,
    content: TransferContent,
    edns: bool,
) -> Transfer {
    let origin = match content {
        TransferContent::Zone => zone.origin.clone(),
        TransferContent::Status(_) => {
            zone::status_origin(&zone.origin).expect("there is room for it")
        }
    };
    let mut query = Message::new(ID, MessageType::Query, OpCode::Query);
    query.queries = vec![Query::query(origin, RecordType::AXFR)];
    query.edns = edns.then(Edns::new);
    let query = query.to_vec().expect("a query can be written");
    let client = SocketAddr::from(([127, 0, 0, 1], 1053));
    let source = Source::new(client, Transport::Tcp, client.ip());
    let query = wire::Query::read(&query).expect("it is a plain query");
    let cookies = Cookies::configured([7; 16], None).snapshot(0);
    let reply = Reply {
        client: &Client::of(&query, &source, None, &cookies),
        query: &query,
        cookies: &cookies,
        server_info: &ServerInfo::default(),
        signature: None,
        depends_on_subnet: false,
    };
    let view = ZoneView::new(zone.clone(), network.clone());
    Transfer::new(&reply, Arc::new(view), content)
}

/// The messages as they are written to a connection.
pub fn messages(transfer: &Transfer) -> Vec<Vec<u8>> {
    let mut octets = Vec::new();
    let made = transfer.write(|part| {
        octets.extend(part);
        Some(())
    });
    made.expect("a zone can be transferred");
    let (mut rest, mut messages) = (octets.as_slice(), Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (message, behind) = behind.split_at(u16::from_be_bytes(*length).into());
        messages.push(message.to_vec());
        rest = behind;
    }
    assert!(rest.is_empty(), "an octet is left over");
    messages
}
