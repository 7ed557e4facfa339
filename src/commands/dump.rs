//! `paramd dump`: a whole zone, as a master file or as JSON.

use std::io::{BufWriter, Write, stdout};

use anyhow::bail;
use hickory_proto::rr::{Name, RData, Record};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{Dump, Format},
    clock::Clock,
    registry,
    store::{Pin, Registration, Store},
    zone::{self, Status, master},
};

use super::{Registrations, origin, registrations, transfer, zones_in};

/// A zone's registrations as JSON. A new form gets a new version, and the old
/// ones stay readable.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonDump {
    pub version: u32,
    /// Absolute, in lower case.
    pub origin: String,
    /// The SOA serial.
    pub serial: u64,
    pub peers: Vec<Registration>,
    /// The IDs that are kept for hosts, registered or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
}

/// The version that is written.
pub const VERSION: u32 = 1;

pub fn run(options: &Dump) -> anyhow::Result<()> {
    let origin = origin::parse(&options.zone)?;
    let source = registrations(&options.place)?;
    let mut out = BufWriter::new(stdout().lock());
    match (source, options.format) {
        (Registrations::Server(server), Format::Master) => {
            for record in transfer::begin(&server, &origin)? {
                writeln!(out, "{}", master::line(&record?))?;
            }
        }
        (Registrations::Server(server), Format::Json) => {
            let records = transfer::begin(&server, &zone::status_of(&origin)?)?;
            write_json(&mut out, &of_status(&origin, records)?)?;
        }
        (Registrations::Store(mut store), Format::Master) => {
            let zone = origin::find(zones_in(&options.place.zones.zones)?, &origin)?;
            let contents = store.load(&zone.origin_text())?;
            let network = registry::load(&zone, contents, &Clock::start())?;
            for record in zone.content(&network) {
                writeln!(out, "{}", master::line(&record))?;
            }
        }
        (Registrations::Store(mut store), Format::Json) => {
            let text = origin.to_ascii();
            let contents = store.load(&text)?;
            if contents.serial == 0 {
                bail!("nothing is stored of {text}");
            }
            let dump = JsonDump {
                version: VERSION,
                origin: text,
                serial: contents.serial,
                peers: contents.registrations,
                pins: contents.pins,
            };
            write_json(&mut out, &dump)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn write_json(out: &mut impl Write, dump: &JsonDump) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, dump).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

fn of_status(
    origin: &Name,
    records: impl Iterator<Item = anyhow::Result<Record>>,
) -> anyhow::Result<JsonDump> {
    let mut dump = JsonDump {
        version: VERSION,
        origin: origin.to_ascii(),
        serial: 0,
        peers: Vec::new(),
        pins: Vec::new(),
    };
    for record in records {
        let record = record?;
        if let RData::SOA(soa) = &record.data {
            dump.serial = soa.serial.into();
        } else if let Some(Status { pin, registered }) = zone::status_in(&record) {
            dump.peers.extend(registered.map(|peer| peer.registration));
            dump.pins.extend(pin);
        }
    }
    Ok(dump)
}
