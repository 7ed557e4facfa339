//! `paramd peers`: who is registered, as a table.

use std::io::{BufWriter, Write as _, stdout};

use hickory_proto::rr::Name;

use crate::{
    cli::Peers,
    store::{Registration, Store},
    zone,
};

use super::{Registrations, origin, registrations, transfer, zones_in};

const HEAD: [&str; 6] = ["ID", "HOST", "ROLE", "ADDRESS", "STATE", "HEARD"];

/// A line of the table.
type Row = [String; 6];

pub fn run(options: &Peers) -> anyhow::Result<()> {
    let mut source = registrations(&options.place)?;
    let origins: Vec<Name> = match (&options.zone, &mut source) {
        (Some(zone), _) => vec![origin::parse(zone)?],
        (None, Registrations::Store(store)) => store
            .origins()?
            .iter()
            .map(|text| origin::parse(text))
            .collect::<Result<_, _>>()?,
        (None, Registrations::Server(_)) => zones_in(&options.place.zones.zones)?
            .into_iter()
            .map(|zone| zone.origin)
            .collect(),
    };
    let mut out = BufWriter::new(stdout().lock());
    for (place, origin) in origins.iter().enumerate() {
        let mut peers = match &mut source {
            Registrations::Server(server) => running(*server, origin)?,
            Registrations::Store(store) => stored(store.load(&origin.to_ascii())?.registrations),
        };
        peers.sort_by(|(a, _), (b, _)| (&a.sequence, a.number).cmp(&(&b.sequence, b.number)));
        if place > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{origin} {} peers", peers.len())?;
        let rows: Vec<Row> = peers.into_iter().map(row).collect();
        for line in table(&rows) {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// What a running server knows of a peer besides its registration.
struct State {
    live: bool,
    heard: std::time::Duration,
}

fn running(
    server: std::net::SocketAddr,
    origin: &Name,
) -> anyhow::Result<Vec<(Registration, Option<State>)>> {
    let mut peers = Vec::new();
    for record in transfer::begin(server, &zone::status_of(origin)?)? {
        if let Some((registration, live, heard)) = zone::peer_of_status(&record?) {
            peers.push((registration, Some(State { live, heard })));
        }
    }
    Ok(peers)
}

fn stored(registrations: Vec<Registration>) -> Vec<(Registration, Option<State>)> {
    let alone = |registration| (registration, None);
    registrations.into_iter().map(alone).collect()
}

fn row((registration, state): (Registration, Option<State>)) -> Row {
    let (state, heard) = match state {
        Some(State { live, heard }) => (
            if live { "live" } else { "gone" },
            format!("{} ago", humantime::format_duration(heard)),
        ),
        // Leases are not stored.
        None => ("-", "-".to_owned()),
    };
    [
        format!("{}{}", registration.sequence, registration.number),
        registration.host,
        registration.role,
        registration.address.to_string(),
        state.to_owned(),
        heard,
    ]
}

/// The lines of a table, its columns as wide as what stands in them.
fn table(rows: &[Row]) -> Vec<String> {
    let head = HEAD.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(rows);
    let width = |column: usize| lines().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |row: &Row| {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line.join("  ").trim_end().to_owned()
    };
    lines().map(line).collect()
}
