//! `paramd dump`: prints a whole zone, as a master file or as JSON.

use std::{
    io::{BufWriter, Write, stdout},
    sync::Arc,
};

use hickory_proto::rr::{Name, RData, Record};

use crate::{
    cli::{self, Format},
    clock::Clock,
    registry,
    store::{
        Store,
        dumps::{Dump, Head},
    },
    zone::{self, Status, master},
};

use super::{Registrations, check_is_stored, origin, registrations, transfer, zones_in};

pub fn run(options: &cli::Dump) -> anyhow::Result<()> {
    let origin = origin::parse(&options.zone)?;
    let source = registrations(&options.source)?;
    let mut out = BufWriter::new(stdout().lock());
    match (source, options.format) {
        (Registrations::Server(server), Format::Master) => {
            for record in transfer::begin(&server, &origin, &origin)? {
                writeln!(out, "{}", master::line(&record?))?;
            }
        }
        (Registrations::Server(server), Format::Json) => {
            let records = transfer::begin(&server, &origin, &zone::status_origin(&origin)?)?;
            of_status(&origin, records)?.write(&mut out)?;
        }
        (Registrations::Store(mut store), Format::Master) => {
            let zone = origin::find(zones_in(&options.source.zones.zones)?, &origin)?;
            let contents = store.load(&zone.origin_text())?;
            let network = registry::load(&zone, contents, &Clock::start())?;
            let (zone, network) = (Arc::new(zone), Arc::new(network));
            for record in zone.content(&network) {
                writeln!(out, "{}", master::line(&record))?;
            }
        }
        (Registrations::Store(mut store), Format::Json) => {
            let text = origin.to_ascii();
            let contents = store.load(&text)?;
            check_is_stored(store.as_mut(), &text)?;
            Dump::now(&text, contents).write(&mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn of_status(
    origin: &Name,
    records: impl Iterator<Item = anyhow::Result<Record>>,
) -> anyhow::Result<Dump> {
    let mut dump = Dump {
        head: Head::now(origin.to_ascii(), 0),
        peers: Vec::new(),
        pins: Vec::new(),
    };
    for record in records {
        let record = record?;
        if let RData::SOA(soa) = &record.data {
            dump.head.serial = soa.serial.into();
        } else if let Some(Status { pin, peer }) = zone::parse_status(&record) {
            dump.peers.extend(peer.map(|peer| peer.registration));
            dump.pins.extend(pin);
        }
    }
    Ok(dump)
}
