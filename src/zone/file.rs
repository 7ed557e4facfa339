//! Reads zone files: the input is TOML, the output is a [`Zone`] or all mistakes.
//!
//! `zones/pbft.toml` shows and explains every key.

mod parts;

use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hickory_proto::rr::Name;

use self::parts::{ports, report, roles, sequences, variables};
use super::{RegisterKeys, StaticRecords, Zone, master, sample};
use crate::{
    keys,
    network::{Role, Rules, Sequence},
    settings::{self, Document, Problem, Spanned, Table},
};

/// The maximum length of an origin. Within the 255 octets of RFC 1035, it leaves room for
/// every name that the service creates, of which `_env.HOST.ROLE` is the longest.
const ORIGIN_OCTETS: usize = 120;

/// The number of root nodes that fit in a character-string of 255 octets, even with IPv6
/// addresses: `root=`, and `[…]:65535,` for each.
const MAX_ROOTS: u64 = 5;

const DAY: u64 = 86_400;

/// Reads all zone files (`*.toml`) of a directory.
pub fn read_directory(directory: &Path) -> Result<Vec<Zone>, Vec<Problem>> {
    let problem = |message: String| vec![Problem::new(directory, None, message)];
    let entries = std::fs::read_dir(directory)
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(problem("contains no zone file: add NAME.toml".into()));
    }
    let mut zones: Vec<Zone> = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(zone) => {
                if let Some(other) = zones.iter().find(|other| other.origin == zone.origin) {
                    let other = other.path.display();
                    let message = format!(
                        "{other} already has the origin {zone}: choose another one for this zone"
                    );
                    problems.push(Problem::new(&path, Some(zone.origin_line), message));
                }
                zones.push(zone);
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(zones)
    } else {
        Err(problems)
    }
}

/// Reads a zone file, and its master file.
pub fn read(path: &Path) -> Result<Zone, Vec<Problem>> {
    settings::read(path, |table, source| {
        let mut zone = zone_file(table, source)?;
        if let Some(master_file) = &zone.master_file {
            match master::read(master_file, &zone) {
                Ok(records) => zone.static_records = records,
                Err(problems) => source.problems(problems),
            }
        }
        Some(zone)
    })
}

/// Parses the text of a zone file. Opens no file, not even the master file of the zone.
pub fn parse(path: &Path, text: &str) -> Result<Zone, Vec<Problem>> {
    settings::parse(path, text, zone_file)
}

fn zone_file(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Zone> {
    let origin = table.required("origin", "\"pbft.fabric.internal\"", source);
    let has_n = table.span("n").is_some();
    let n = table.number("n", 1..1_000_001, source);
    // An invalid `n` must not cause errors where it is referred to.
    let n = n.map(Spanned::into_inner).or(has_n.then_some(1));
    let lease = table.duration("lease", 1..DAY + 1, source);
    let reclaim = reclaim(table, source);
    let roots = table.number("roots", 1..MAX_ROOTS + 1, source);
    let ttl = table.duration("ttl", 0..DAY + 1, source);
    let root_port = table.required("root_port", "\"grpc\"", source);
    let root_sequence = table.required("root_sequence", "\"vp\"", source);
    let default_role = table.required("default_role", "\"mixed\"", source);
    let records = table.text("records", source);
    let register_keys = register_keys(table, source);
    let ports = ports(table.table("ports", source), source);
    let sequences = sequences(table.table("sequences", source), n, source);
    let common = variables(table.table("environment", source), source);
    let role_tables = table.table("roles", source);
    let roles = roles(role_tables, &common, &sequences, &ports, source);

    let origin_line = origin.as_ref().map(|origin| source.line(&origin.span()));
    let origin = origin.and_then(|text| origin_name(&text, source));
    let root_port = root_port.filter(|name| ports.place_of(name, source).is_some());
    let root_sequence = root_sequence.and_then(|name| sequences.place_of(&name, source));
    let default_role = default_role.and_then(|name| roles.place_of(&name, source));
    let (mut rules, mut profiles, mut variables) = (Vec::new(), Vec::new(), Vec::new());
    for role in roles.items {
        rules.push(role.rule);
        profiles.push(role.profile);
        variables.push(role.variables);
    }
    let rules = Rules {
        lease: lease.unwrap_or(Duration::from_secs(30)),
        reclaim,
        roots: roots.map_or(3, |roots| roots.into_inner() as usize),
        sequences: sequences.items,
        roles: rules,
        default_role: Role(default_role?),
        root_sequence: Sequence(root_sequence?),
    };
    let directory = source.path().parent().unwrap_or(Path::new(""));
    let zone = Zone {
        path: source.path().to_owned(),
        digest: crc32fast::hash(source.text().as_bytes()),
        origin: origin?,
        origin_line: origin_line?,
        n,
        ttl: ttl.map_or(5, |ttl| ttl.as_secs() as u32),
        root_port: *ports.items.get(root_port?.get_ref())?,
        ports: ports.items,
        profiles,
        rules: Arc::new(rules),
        master_file: records.map(|name| directory.join(name.get_ref())),
        static_records: StaticRecords::default(),
        servers: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        register_keys,
    };
    // Templates are rendered only with valid values.
    if !source.has_problems() {
        for (role, error) in sample::errors(&zone) {
            report(&error, &variables[usize::from(role.0)], source);
        }
    }
    Some(zone)
}

/// The names of keys, which the configuration defines.
fn register_keys(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<RegisterKeys> {
    let span = table.span("register_keys");
    let texts = table.texts("register_keys", source)?;
    if texts.is_empty() {
        let message = "`register_keys` is empty, so no host could register: remove it";
        source.problem(span.unwrap_or(0..0), message);
    }
    let line = texts.first().map_or(1, |text| source.line(&text.span()));
    let names = texts.iter().filter_map(|text| {
        keys::name(text.get_ref()).map_or_else(|message| source.refuse(text.span(), message), Some)
    });
    let names = names.collect();
    Some(RegisterKeys { names, line })
}

fn origin_name(text: &Spanned<String>, source: &mut Document<'_>) -> Option<Name> {
    let name = settings::domain_name(text.get_ref());
    let Some(name) = name.filter(|name| !name.is_wildcard()) else {
        let message = format!(
            "`{}` is not a domain name: write origin = \"pbft.fabric.internal\"",
            text.get_ref()
        );
        return source.refuse(text.span(), message);
    };
    if name.len() > ORIGIN_OCTETS {
        let message = format!("the origin is longer than {ORIGIN_OCTETS} octets: shorten it");
        return source.refuse(text.span(), message);
    }
    Some(name)
}

/// The time after which an ID is reclaimed; `None` for never. The default applies if the
/// key is absent or invalid.
fn reclaim(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Duration> {
    if table.peek("reclaim") == Some("never") {
        table.text("reclaim", source);
        return None;
    }
    let reclaim = table.duration("reclaim", 0..365 * DAY, source);
    reclaim.or(Some(Duration::from_secs(300)))
}
