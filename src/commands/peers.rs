//! `paramd peers`: prints the registrations as a table.

use std::io::{BufWriter, Write as _, stdout};

use anyhow::Context as _;
use hickory_proto::rr::Name;

use crate::{
    cli::Peers,
    store::{Contents, Pin, Registration, Store},
    text::counted,
    zone,
};

use super::{Registrations, client::Client, origin, registrations, transfer, zones_in};

const HEAD: [&str; 7] = ["ID", "HOST", "ROLE", "ADDRESS", "STATE", "HEARD", "EPOCH"];

/// A row of the table.
struct Row {
    /// The sequence and the number, to sort by.
    order: (String, u32),
    cells: [String; 7],
}

pub fn run(options: &Peers) -> anyhow::Result<()> {
    let mut source = registrations(&options.source)?;
    let origins: Vec<Name> = match (&options.zone, &mut source) {
        (Some(zone), _) => vec![origin::parse(zone)?],
        (None, Registrations::Store(store)) => store
            .origins()?
            .iter()
            .map(|text| origin::parse(text))
            .collect::<Result<_, _>>()?,
        (None, Registrations::Server(_)) => zones_in(&options.source.zones.zones)
            .context(
                "a server does not list its zones, so the zone files are read for them: specify a \
                 zone (paramd peers ZONE), or their directory with --zones",
            )?
            .into_iter()
            .map(|zone| zone.origin)
            .collect(),
    };
    let mut out = BufWriter::new(stdout().lock());
    for (place, origin) in origins.iter().enumerate() {
        let mut peers = match &mut source {
            Registrations::Server(server) => running(server, origin)?,
            Registrations::Store(store) => stored(store.load(&origin.to_ascii())?),
        };
        peers.sort_by(|a, b| a.order.cmp(&b.order));
        if place > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{origin} {}", counted(peers.len(), "peer"))?;
        for line in table(&peers) {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn running(server: &Client, origin: &Name) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for record in transfer::begin(server, origin, &zone::status_origin(origin)?)? {
        let Some(status) = zone::parse_status(&record?) else {
            continue;
        };
        match (status.peer, status.pin) {
            (Some(peer), pin) => {
                let state = if peer.is_live { "live" } else { "gone" };
                let heard = format!("{} ago", humantime::format_duration(peer.since_heard));
                rows.push(row(peer.registration, pin.is_some(), state, heard));
            }
            (None, Some(pin)) => rows.push(unregistered_pin(pin)),
            (None, None) => {}
        }
    }
    Ok(rows)
}

/// The registrations of a store, which does not contain the leases.
fn stored(contents: Contents) -> Vec<Row> {
    let mut pins = contents.pins;
    let mut rows = Vec::new();
    for registration in contents.registrations {
        let pin = pins.iter().position(|pin| pin.host == registration.host);
        let is_pinned = pin.map(|place| pins.swap_remove(place)).is_some();
        rows.push(row(registration, is_pinned, "-", "-".to_owned()));
    }
    rows.extend(pins.into_iter().map(unregistered_pin));
    rows
}

fn row(registration: Registration, is_pinned: bool, state: &str, heard: String) -> Row {
    let pinned = if is_pinned { ", pinned" } else { "" };
    let state = format!("{state}{pinned}");
    Row {
        order: (registration.sequence.clone(), registration.number),
        cells: [
            format!("{}{}", registration.sequence, registration.number),
            registration.host,
            registration.role,
            registration.address.to_string(),
            state,
            heard,
            registration.epoch.to_string(),
        ],
    }
}

/// A pinned host that has not registered yet.
fn unregistered_pin(pin: Pin) -> Row {
    let id = format!("{}{}", pin.sequence, pin.number);
    Row {
        order: (pin.sequence, pin.number),
        cells: [&*id, &*pin.host, "-", "-", "pinned", "-", "-"].map(str::to_owned),
    }
}

/// The lines of the table, with each column as wide as its widest cell.
fn table(rows: &[Row]) -> Vec<String> {
    let head = HEAD.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(rows.iter().map(|row| &row.cells));
    let width = |column: usize| lines().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
        let line: Vec<String> = cells.collect();
        line.join("  ").trim_end().to_owned()
    };
    lines().map(line).collect()
}
