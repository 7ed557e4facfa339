//! Reads a zone file: TOML in, a [`Zone`] or everything that is wrong out.
//!
//! `zones/pbft.toml` shows and explains every key.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use hickory_proto::rr::Name;
use toml::Spanned;

use super::{Profile, RegisterKeys, Zone, master, name::NAME_SERVER_PARENT, sample};
use crate::{
    keys,
    network::{DEFAULT_LIMIT, Role, RoleRule, Rules, Sequence, SequenceRule},
    params::Environment,
    settings::{self, Problem, Source, Span, Table},
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
fn zone(table: &mut Table<'_>, source: &mut Source<'_>) -> Option<(Zone, Span, Option<String>)> {
    let origin = table.required("origin", "\"pbft.fabric.internal\"", source);
    let n = table.number("n", 1..1_000_001, source);
    let lease = table.duration("lease", 1..DAY + 1, source);
    let reclaim = reclaim(table, source);
    let roots = table.number("roots", 1..MOST_ROOTS + 1, source);
    let ttl = table.duration("ttl", 0..DAY + 1, source);
    let root_port = table.required("root_port", "\"grpc\"", source);
    let root_sequence = table.required("root_sequence", "\"vp\"", source);
    let default_role = table.required("default_role", "\"mixed\"", source);
    let records = table.text("records", source);
    let register_keys = register_keys(table, source);
    let ports = ports(&mut table.table("ports", source), source);
    let sequences = sequences(&mut table.table("sequences", source), &n, source);
    let mut environment = table.table("environment", source);
    let common = environment.all_texts(source);
    let mut roles = roles(table.table("roles", source), &sequences, &ports, source);
    let profiles = roles
        .iter_mut()
        .map(|role| Profile {
            ports: std::mem::take(&mut role.ports),
            environment: environment_of(&common, &role.environment, &ports, source),
            is_failing: AtomicBool::new(false),
        })
        .collect();
    let variables: Vec<Variables> = roles
        .iter()
        .map(|role| common.iter().chain(&role.environment).cloned().collect())
        .collect();

    let origin_span = origin.as_ref().map(Spanned::span);
    let origin = origin.and_then(|text| origin_name(&text, source));
    let root_port = named(root_port, "port", ports.keys(), source)
        .and_then(|name| ports.get(name.get_ref()).copied());
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
        sequences,
        roles: roles.into_iter().map(|role| role.rule).collect(),
        default_role: Role(default_role?),
        root_sequence: Sequence(root_sequence?),
    };
    let zone = Zone {
        path: source.path().to_owned(),
        origin: origin?,
        n: n.map(Spanned::into_inner),
        ttl: ttl.map_or(5, |ttl| ttl.as_secs() as u32),
        root_port: root_port?,
        ports,
        profiles,
        rules: Arc::new(rules),
        further: master::Records::default(),
        servers: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        register_keys,
    };
    for (role, error) in sample::errors(&zone) {
        let variables = variables[usize::from(role.0)].iter().rev();
        let mut names = variables.map(|(name, _)| name);
        let name = names.find(|name| *name.get_ref() == error.variable);
        source.problem(name.map_or(0..0, Spanned::span), error.to_string());
    }
    Some((zone, origin_span?, records.map(Spanned::into_inner)))
}

/// The names of keys; the keys themselves are the configuration's.
fn register_keys(table: &mut Table<'_>, source: &mut Source<'_>) -> Option<RegisterKeys> {
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

fn origin_name(text: &Spanned<String>, source: &mut Source<'_>) -> Option<Name> {
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
fn reclaim(table: &mut Table<'_>, source: &mut Source<'_>) -> Option<Option<Duration>> {
    let text = table.text("reclaim", source)?;
    match text.get_ref().as_str() {
        "never" => Some(None),
        _ => settings::duration(&text, "reclaim", 0..365 * DAY, source).map(Some),
    }
}

fn ports(table: &mut Table<'_>, source: &mut Source<'_>) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    for (name, number) in table.all_numbers(1..65_536, source) {
        // A service name without the underscore (RFC 6335, section 5.1).
        let text = name.get_ref();
        let valid = is_word(text) && text.len() <= 15;
        if !valid {
            let message = format!(
                "`{text}` is no name for a port: write up to 15 small letters, digits and -"
            );
            source.problem(name.span(), message);
        }
        ports.insert(name.into_inner(), number.into_inner() as u16);
    }
    ports
}

fn sequences(
    table: &mut Table<'_>,
    n: &Option<Spanned<u32>>,
    source: &mut Source<'_>,
) -> Vec<SequenceRule> {
    let mut sequences = Vec::new();
    for (name, mut table) in table.tables(source) {
        let text = name.get_ref();
        if !is_word(text) || text.len() > 40 || text.ends_with(|c: char| c.is_ascii_digit()) {
            let message = format!(
                "`{text}` is no name for a sequence: write small letters, digits and -, \
                 a letter first and no digit last"
            );
            source.problem(name.span(), message);
        }
        let start = table.number("start", 0..1_000_000_001, source);
        let limit = limit(&mut table, n, source);
        table.finish(source);
        sequences.push(SequenceRule {
            name: name.into_inner(),
            start: start.map_or(0, Spanned::into_inner),
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        });
    }
    sequences
}

/// `limit = "n"` or a number.
fn limit(table: &mut Table<'_>, n: &Option<Spanned<u32>>, source: &mut Source<'_>) -> Option<u32> {
    if !table.is_text("limit") {
        let limit = table.number("limit", 1..1_000_000_001, source);
        return limit.map(Spanned::into_inner);
    }
    let text = table.text("limit", source)?;
    if text.get_ref() != "n" {
        let message = "`limit` is \"n\" or a number: write limit = \"n\"";
        source.problem(text.span(), message);
        return None;
    }
    if n.is_none() {
        let message = "`limit` is \"n\", but the zone has no n: write n = 4 at the top";
        source.problem(text.span(), message);
    }
    n.as_ref().map(|n| *n.get_ref())
}

/// A role as its table says, before the environments are put together.
struct RoleTable {
    rule: RoleRule,
    ports: Vec<String>,
    environment: Variables,
}

type Variables = Vec<(Spanned<String>, Spanned<String>)>;

fn roles(
    mut table: Table<'_>,
    sequences: &[SequenceRule],
    ports: &BTreeMap<String, u16>,
    source: &mut Source<'_>,
) -> Vec<RoleTable> {
    let mut roles = Vec::new();
    for (name, mut table) in table.tables(source) {
        let text = name.get_ref();
        let is_taken = text == NAME_SERVER_PARENT
            || sequences.iter().any(|rule| rule.has_shape(text.as_bytes()));
        if !is_word(text) || text.len() > 40 || is_taken {
            let message = format!(
                "`{text}` is no name for a role: write small letters, digits and -, \
                 a letter first, and neither {NAME_SERVER_PARENT} nor an ID"
            );
            source.problem(name.span(), message);
        }
        let sequence = table.required("sequence", "\"vp\"", source);
        let sequence = place_of(sequence, "sequence", sequences, |rule| &rule.name, source);
        let offered = table.texts("ports", source);
        let mut environment = table.table("environment", source);
        let variables = environment.all_texts(source);
        table.finish(source);
        let offered = match offered {
            None => ports.keys().cloned().collect(),
            Some(offered) => offered
                .into_iter()
                .filter_map(|port| named(Some(port), "port", ports.keys(), source))
                .map(Spanned::into_inner)
                .collect(),
        };
        roles.push(RoleTable {
            rule: RoleRule {
                name: name.into_inner(),
                sequence: Sequence(sequence.unwrap_or_default()),
            },
            ports: offered,
            environment: variables,
        });
    }
    roles
}

/// The variables for all peers, and those of the role, which come first where
/// both have one.
fn environment_of(
    common: &Variables,
    own: &Variables,
    ports: &BTreeMap<String, u16>,
    source: &mut Source<'_>,
) -> Environment {
    let mut templates = BTreeMap::new();
    let mut spans = BTreeMap::new();
    for (name, template) in common.iter().chain(own) {
        templates.insert(name.get_ref().clone(), template.get_ref().clone());
        spans.insert(name.get_ref().as_str(), name.span());
    }
    match Environment::new(&templates, ports) {
        Ok(environment) => environment,
        Err(problems) => {
            for error in problems {
                let span = spans.get(error.variable.as_str()).cloned();
                source.problem(span.unwrap_or(0..0), error.to_string());
            }
            Environment::default()
        }
    }
}

/// A name that must be one of those.
fn named<'k>(
    name: Option<Spanned<String>>,
    kind: &str,
    known: impl Iterator<Item = &'k String>,
    source: &mut Source<'_>,
) -> Option<Spanned<String>> {
    let name = name?;
    let known: Vec<&str> = known.map(String::as_str).collect();
    if known.contains(&name.get_ref().as_str()) {
        return Some(name);
    }
    let known = match known.is_empty() {
        true => "none".to_owned(),
        false => known.join(", "),
    };
    let message = format!(
        "there is no {kind} `{}`: the zone has {known}",
        name.get_ref()
    );
    source.problem(name.span(), message);
    None
}

/// The place of the item of that name.
fn place_of<T>(
    name: Option<Spanned<String>>,
    kind: &str,
    items: &[T],
    name_of: impl Fn(&T) -> &String,
    source: &mut Source<'_>,
) -> Option<u16> {
    let names: Vec<String> = items.iter().map(|item| name_of(item).clone()).collect();
    let name = named(name, kind, names.iter(), source)?;
    let place = names.iter().position(|known| known == name.get_ref())?;
    u16::try_from(place).ok()
}

/// Small letters, digits and `-`, a letter first.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}
