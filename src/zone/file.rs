//! Reads a zone file: TOML in, a [`Zone`] or everything that is wrong out.
//!
//! `zones/pbft.toml` shows and explains every key.

mod parts;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use hickory_proto::rr::Name;

use self::parts::{Variables, environment_of, place_of, port, ports, roles, sequences};
use super::{Profile, Records, RegisterKeys, Zone, master, sample};
use crate::{
    keys,
    network::{Role, Rules, Sequence},
    settings::{self, Document, Problem, Span, Spanned, Table},
};

/// Leaves room below the origin for every name that the service makes, the
/// longest being `_env.HOST.ROLE`, within the 255 octets of RFC 1035.
const ORIGIN_OCTETS: usize = 120;

/// As many root nodes as fit one character-string of 255 octets, even with
/// IPv6 addresses: `root=` and `[…]:65535,` each.
const MOST_ROOTS: u64 = 5;

const DAY: u64 = 86_400;

/// Reads all zone files (`*.toml`) of a directory.
pub fn read_directory(directory: &Path) -> Result<Vec<Zone>, Vec<Problem>> {
    let problem = |message: String| {
        vec![Problem {
            path: directory.to_owned(),
            line: None,
            message,
        }]
    };
    let entries = std::fs::read_dir(directory)
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(problem("has no zone file: put a NAME.toml there".into()));
    }
    let mut zones: Vec<Zone> = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match read(&path) {
            Ok((zone, origin_line)) => {
                let same = zones.iter().find(|other| other.origin == zone.origin);
                if let Some(other) = same {
                    problems.push(Problem {
                        message: format!(
                            "{} has the origin {zone} already: give this zone another",
                            other.path.display()
                        ),
                        line: Some(origin_line),
                        path,
                    });
                }
                zones.push(zone);
            }
            Err(found) => problems.extend(found),
        }
    }
    match problems.is_empty() {
        true => Ok(zones),
        false => Err(problems),
    }
}

/// Reads one zone file; gives also the line of its origin.
pub fn read(path: &Path) -> Result<(Zone, usize), Vec<Problem>> {
    settings::read(path, |table, source| {
        let (zone, origin, records) = zone(table, source)?;
        let mut zone = zone;
        if let Some(records) = records {
            let path = path.parent().unwrap_or(Path::new("")).join(records);
            match master::read(&path, &zone) {
                Ok(further) => zone.further = further,
                Err(problems) => source.problems(problems),
            }
        }
        Some((zone, source.line(&origin)))
    })
}

/// Reads the text of a zone file. Its master file is left out: nothing is
/// opened.
pub fn parse(path: &Path, text: &str) -> Result<Zone, Vec<Problem>> {
    settings::parse(path, text, |table, source| {
        let (zone, ..) = zone(table, source)?;
        Some(zone)
    })
}

/// The zone, where its origin stands, and its master file's name.
fn zone(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<(Zone, Span, Option<String>)> {
    let origin = table.required("origin", "\"pbft.fabric.internal\"", source);
    let n_span = table.span("n");
    let n = table.number("n", 1..1_000_001, source);
    // Where it is wrong, what refers to it is not.
    let n = n.or_else(|| Some(Spanned::new(n_span?, 1)));
    let lease = table.duration("lease", 1..DAY + 1, source);
    let reclaim = reclaim(table, source);
    let roots = table.number("roots", 1..MOST_ROOTS + 1, source);
    let ttl = table.duration("ttl", 0..DAY + 1, source);
    let root_port = table.required("root_port", "\"grpc\"", source);
    let root_sequence = table.required("root_sequence", "\"vp\"", source);
    let default_role = table.required("default_role", "\"mixed\"", source);
    let records = table.text("records", source);
    let register_keys = register_keys(table, source);
    let ports = ports(table.table("ports", source), source);
    let sequences = sequences(table.table("sequences", source), &n, source);
    let mut environment = table.table("environment", source);
    let common = environment.all_texts(source);
    let mut roles = roles(table.table("roles", source), &sequences, &ports, source);
    let profiles = roles
        .items
        .iter_mut()
        .map(|role| Profile {
            ports: std::mem::take(&mut role.ports),
            environment: environment_of(&common, &role.environment, &ports.items, source),
            is_failing: AtomicBool::new(false),
        })
        .collect();
    let variables: Vec<Variables> = roles
        .items
        .iter()
        .map(|role| common.iter().chain(&role.environment).cloned().collect())
        .collect();

    let origin_span = origin.as_ref().map(Spanned::span);
    let origin = origin.and_then(|text| origin_name(&text, source));
    let root_port =
        port(root_port, &ports, source).and_then(|name| ports.items.get(name.get_ref()).copied());
    let root_sequence = place_of(
        root_sequence,
        "sequence",
        &sequences,
        |rule| &rule.name,
        source,
    );
    let default_role = place_of(default_role, "role", &roles, |role| &role.rule.name, source);
    let rules = Rules {
        lease: lease.unwrap_or(Duration::from_secs(30)),
        reclaim: reclaim.unwrap_or(Some(Duration::from_secs(300))),
        roots: roots.map_or(3, |roots| roots.into_inner() as usize),
        sequences: sequences.items,
        roles: roles.items.into_iter().map(|role| role.rule).collect(),
        default_role: Role(default_role?),
        root_sequence: Sequence(root_sequence?),
    };
    let zone = Zone {
        path: source.path().to_owned(),
        origin: origin?,
        n: n.map(Spanned::into_inner),
        ttl: ttl.map_or(5, |ttl| ttl.as_secs() as u32),
        root_port: root_port?,
        ports: ports.items,
        profiles,
        rules: Arc::new(rules),
        further: Records::default(),
        servers: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        register_keys,
    };
    // What is rendered from wrong values says nothing.
    let errors = match source.has_problems() {
        true => Vec::new(),
        false => sample::errors(&zone),
    };
    for (role, error) in errors {
        let variables = variables[usize::from(role.0)].iter().rev();
        let mut names = variables.map(|(name, _)| name);
        let name = names.find(|name| *name.get_ref() == error.variable);
        source.problem(name.map_or(0..0, Spanned::span), error.to_string());
    }
    Some((zone, origin_span?, records.map(Spanned::into_inner)))
}

/// The names of keys; the keys themselves are the configuration's.
fn register_keys(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<RegisterKeys> {
    let span = table.span("register_keys");
    let texts = table.texts("register_keys", source)?;
    if texts.is_empty() {
        let message = "`register_keys` names no key, so that nobody could register: leave it out";
        source.problem(span.unwrap_or(0..0), message);
    }
    let line = texts.first().map_or(1, |text| source.line(&text.span()));
    let mut names = Vec::new();
    for text in texts {
        match keys::name(text.get_ref()) {
            Ok(name) => names.push(name),
            Err(message) => source.problem(text.span(), message),
        }
    }
    Some(RegisterKeys { names, line })
}

fn origin_name(text: &Spanned<String>, source: &mut Document<'_>) -> Option<Name> {
    let name = Name::from_ascii(text.get_ref())
        .ok()
        .filter(|name| !name.is_root() && !name.is_wildcard());
    let Some(mut name) = name else {
        let message = format!(
            "`{}` is no domain name: write origin = \"pbft.fabric.internal\"",
            text.get_ref()
        );
        source.problem(text.span(), message);
        return None;
    };
    name.set_fqdn(true);
    if name.len() > ORIGIN_OCTETS {
        let message = format!("the origin is longer than {ORIGIN_OCTETS} octets: shorten it");
        source.problem(text.span(), message);
        return None;
    }
    Some(name.to_lowercase())
}

/// `Some(None)` for never.
fn reclaim(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Option<Duration>> {
    let text = table.text("reclaim", source)?;
    match text.get_ref().as_str() {
        "never" => Some(None),
        _ => settings::duration(&text, "reclaim", 0..365 * DAY, source).map(Some),
    }
}
