//! `paramd release`: frees the ID of a host that will not return.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, Record, RecordType},
};

use crate::{
    cli::Release,
    store::{Pin, Store, Write},
};

use super::{
    Registrations, check_is_stored,
    client::{Client, Refusal},
    origin, registrations,
};

pub fn run(options: &Release) -> anyhow::Result<()> {
    let origin = origin::parse(&options.zone)?;
    let wanted = options.host.to_ascii_lowercase();
    match registrations(&options.source)? {
        Registrations::Server(server) => update(&server, &origin, &wanted)?,
        Registrations::Store(mut store) => remove(store.as_mut(), &origin.to_ascii(), &wanted)?,
    }
    println!("released {wanted}");
    Ok(())
}

/// Sends a DNS UPDATE (RFC 2136) that deletes everything at the name, and
/// requires that there is something.
fn update(server: &Client, origin: &Name, wanted: &str) -> anyhow::Result<()> {
    let name = origin
        .prepend_label(wanted)
        .with_context(|| format!("`{wanted}` is not a host name"))?;
    let mut everything = Record::update0(name, 0, RecordType::ANY);
    everything.dns_class = DNSClass::ANY;
    let mut message = Message::new(0, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(origin.clone(), RecordType::SOA));
    message.answers.push(everything.clone());
    message.authorities.push(everything);
    let released = server.send(message)?.receive("the release");
    released.map(drop).map_err(|error| {
        let code = error.downcast_ref::<Refusal>().map(|refusal| refusal.code);
        match code {
            // The prerequisite does not hold.
            Some(ResponseCode::NXDomain | ResponseCode::NXRRSet) => {
                not_registered(wanted, &origin.to_ascii())
            }
            _ => error,
        }
    })
}

fn not_registered(wanted: &str, origin: &str) -> anyhow::Error {
    anyhow!("{wanted} is not registered in {origin}: see `paramd peers {origin}`")
}

fn remove(store: &mut dyn Store, origin: &str, wanted: &str) -> anyhow::Result<()> {
    let contents = store.load(origin)?;
    let peers = contents.registrations.into_iter().map(Pin::from);
    let mut ids = peers.chain(contents.pins);
    let found =
        ids.find(|id| id.host == wanted || format!("{}{}", id.sequence, id.number) == wanted);
    let Some(pin) = found else {
        check_is_stored(store, origin)?;
        return Err(not_registered(wanted, origin));
    };
    let origin: Arc<str> = origin.into();
    let delete = Write::Delete {
        origin: origin.clone(),
        host: pin.host.clone(),
        sequence: pin.sequence,
        number: pin.number,
    };
    let host = pin.host;
    store.commit(&[delete, Write::Unpin { origin, host }])?;
    Ok(())
}
