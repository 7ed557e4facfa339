//! Reads zone files: the input is TOML, the output is a [`Zone`] or all mistakes.
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
use super::{Profile, RegisterKeys, StaticRecords, Zone, master, sample};
use crate::{
    keys,
    network::{Role, Rules, Sequence},
    settings::{self, Document, Problem, Span, Spanned, Table},
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
        return Err(problem("contains no zone file: add NAME.toml".into()));
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
                            "{} already has the origin {zone}: choose another one for this zone",
                            other.path.display()
                        ),
                        line: Some(origin_line),
                        path,
                    });
                }
                zones.push(zone);
            }
            Err(file_problems) => problems.extend(file_problems),
        }
    }
    if problems.is_empty() {
        Ok(zones)
    } else {
        Err(problems)
    }
}

/// Reads a zone file. Returns also the line of its origin.
pub fn read(path: &Path) -> Result<(Zone, usize), Vec<Problem>> {
    settings::read(path, |table, source| {
        let ZoneFile {
            mut zone,
            origin_span,
            records,
        } = zone_file(table, source)?;
        if let Some(records) = records {
            let path = path.parent().unwrap_or(Path::new("")).join(records);
            match master::read(&path, &zone) {
                Ok(records) => zone.static_records = records,
                Err(problems) => source.problems(problems),
            }
        }
        Some((zone, source.line(&origin_span)))
    })
}

/// Parses the text of a zone file. Opens no file, not even the master file of the zone.
pub fn parse(path: &Path, text: &str) -> Result<Zone, Vec<Problem>> {
    settings::parse(path, text, |table, source| {
        zone_file(table, source).map(|file| file.zone)
    })
}

/// A parsed zone file.
struct ZoneFile {
    zone: Zone,
    origin_span: Span,
    /// The name of the master file.
    records: Option<String>,
}

fn zone_file(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<ZoneFile> {
    let origin = table.required("origin", "\"pbft.fabric.internal\"", source);
    let n_span = table.span("n");
    let n = table.number("n", 1..1_000_001, source);
    // An invalid `n` must not cause errors where it is referred to.
    let n = n.or_else(|| Some(Spanned::new(n_span?, 1)));
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
        reclaim,
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
        static_records: StaticRecords::default(),
        servers: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        register_keys,
    };
    // Templates are rendered only with valid values.
    let errors = if source.has_problems() {
        Vec::new()
    } else {
        sample::errors(&zone)
    };
    for (role, error) in errors {
        let variables = variables[usize::from(role.0)].iter().rev();
        let mut names = variables.map(|(name, _)| name);
        let name = names.find(|name| *name.get_ref() == error.variable);
        source.problem(name.map_or(0..0, Spanned::span), error.to_string());
    }
    Some(ZoneFile {
        zone,
        origin_span: origin_span?,
        records: records.map(Spanned::into_inner),
    })
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
            "`{}` is not a domain name: write origin = \"pbft.fabric.internal\"",
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

/// The time after which an ID is reclaimed; `None` for never. The default applies if the
/// key is absent or invalid.
fn reclaim(table: &mut Table<'_>, source: &mut Document<'_>) -> Option<Duration> {
    let text = table.text("reclaim", source);
    if text.as_ref().is_some_and(|text| text.get_ref() == "never") {
        return None;
    }
    let reclaim = text.and_then(|text| settings::duration(&text, "reclaim", 0..365 * DAY, source));
    reclaim.or(Some(Duration::from_secs(300)))
}
