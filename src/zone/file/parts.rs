//! The tables of a zone file to which other parts refer: ports, sequences and roles. A
//! mistake in one of them is reported once, and not again at each reference.

use std::collections::BTreeMap;

use crate::{
    network::{DEFAULT_LIMIT, RoleRule, Sequence, SequenceRule},
    params::Environment,
    settings::{Document, Spanned, Table},
    zone::name::NAME_SERVER_PARENT,
};

/// The definitions in a part of the file.
pub(super) struct Definitions<T> {
    pub items: T,
    /// Whether all of them are valid. If not, an unknown name may belong to an invalid
    /// definition, which has been reported already.
    pub is_complete: bool,
}

pub(super) fn ports(
    mut table: Table<'_>,
    source: &mut Document<'_>,
) -> Definitions<BTreeMap<String, u16>> {
    let mut ports = Definitions {
        items: BTreeMap::new(),
        is_complete: !table.is_wrong(),
    };
    for (name, number) in table.all_numbers(1..65_536, source) {
        // A service name without the underscore (RFC 6335, section 5.1).
        let text = name.get_ref();
        let valid = is_word(text) && text.len() <= 15;
        if !valid {
            let message = format!(
                "`{text}` is not a valid port name: use at most 15 lowercase letters, digits \
                 and -, and start with a letter"
            );
            source.problem(name.span(), message);
            ports.is_complete = false;
        }
        let number = number.map_or(1, |number| number.into_inner() as u16);
        ports.items.insert(name.into_inner(), number);
    }
    ports
}

pub(super) fn sequences(
    mut table: Table<'_>,
    n: &Option<Spanned<u32>>,
    source: &mut Document<'_>,
) -> Definitions<Vec<SequenceRule>> {
    let mut sequences = Definitions {
        items: Vec::new(),
        is_complete: !table.is_wrong(),
    };
    for (name, mut table) in table.tables(source) {
        let text = name.get_ref();
        if !is_word(text) || text.len() > 40 || text.ends_with(|c: char| c.is_ascii_digit()) {
            let message = format!(
                "`{text}` is not a valid sequence name: use lowercase letters, digits and -, \
                 start with a letter, and do not end with a digit"
            );
            source.problem(name.span(), message);
            sequences.is_complete = false;
        }
        let start = table.number("start", 0..1_000_000_001, source);
        let limit = limit(&mut table, n, source);
        table.finish(source);
        sequences.items.push(SequenceRule {
            name: name.into_inner(),
            start: start.map_or(0, Spanned::into_inner),
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        });
    }
    sequences
}

/// `limit = "n"` or a number.
fn limit(
    table: &mut Table<'_>,
    n: &Option<Spanned<u32>>,
    source: &mut Document<'_>,
) -> Option<u32> {
    if !table.is_text("limit") {
        let limit = table.number("limit", 1..1_000_000_001, source);
        return limit.map(Spanned::into_inner);
    }
    let text = table.text("limit", source)?;
    if text.get_ref() != "n" {
        let message = "`limit`: expected \"n\" or a number: write limit = \"n\"";
        source.problem(text.span(), message);
        return None;
    }
    if n.is_none() {
        let message = "`limit` is \"n\", but the zone has no n: write n = 4 at the top";
        source.problem(text.span(), message);
    }
    n.as_ref().map(|n| *n.get_ref())
}

/// The table of a role.
pub(super) struct RoleTable {
    pub rule: RoleRule,
    pub ports: Vec<String>,
    /// The variables of the role only.
    pub environment: Variables,
}

/// Variable names and their templates.
pub(super) type Variables = Vec<(Spanned<String>, Spanned<String>)>;

pub(super) fn roles(
    mut table: Table<'_>,
    sequences: &Definitions<Vec<SequenceRule>>,
    ports: &Definitions<BTreeMap<String, u16>>,
    source: &mut Document<'_>,
) -> Definitions<Vec<RoleTable>> {
    let mut roles = Definitions {
        items: Vec::new(),
        is_complete: !table.is_wrong(),
    };
    for (name, mut table) in table.tables(source) {
        let text = name.get_ref();
        let is_taken = text == NAME_SERVER_PARENT
            || sequences
                .items
                .iter()
                .any(|rule| rule.has_shape(text.as_bytes()));
        if !is_word(text) || text.len() > 40 || is_taken {
            let message = format!(
                "`{text}` is not a valid role name: use lowercase letters, digits and -, start \
                 with a letter, and choose neither {NAME_SERVER_PARENT} nor an ID"
            );
            source.problem(name.span(), message);
            roles.is_complete = false;
        }
        let sequence = table.required("sequence", "\"vp\"", source);
        let sequence = place_of(sequence, "sequence", sequences, |rule| &rule.name, source);
        let offered = table.texts("ports", source);
        let mut environment = table.table("environment", source);
        let variables = environment.all_texts(source);
        table.finish(source);
        let offered = match offered {
            None => ports.items.keys().cloned().collect(),
            Some(offered) => offered
                .into_iter()
                .filter_map(|name| port(Some(name), ports, source))
                .map(Spanned::into_inner)
                .collect(),
        };
        roles.items.push(RoleTable {
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

/// Combines the variables for all peers with those of a role, which take precedence.
pub(super) fn environment_of(
    common: &Variables,
    own: &Variables,
    ports: &BTreeMap<String, u16>,
    source: &mut Document<'_>,
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

/// The name of a port that the zone defines.
pub(super) fn port(
    name: Option<Spanned<String>>,
    ports: &Definitions<BTreeMap<String, u16>>,
    source: &mut Document<'_>,
) -> Option<Spanned<String>> {
    let known: Vec<&String> = ports.items.keys().collect();
    known_name(name, "port", &known, ports.is_complete, source)
}

/// The index of the definition with the name.
pub(super) fn place_of<T>(
    name: Option<Spanned<String>>,
    kind: &str,
    defined: &Definitions<Vec<T>>,
    name_of: impl Fn(&T) -> &String,
    source: &mut Document<'_>,
) -> Option<u16> {
    let names: Vec<&String> = defined.items.iter().map(name_of).collect();
    let name = known_name(name, kind, &names, defined.is_complete, source)?;
    let place = names.iter().position(|known| *known == name.get_ref())?;
    u16::try_from(place).ok()
}

/// A name that must be one of the known names. An unknown name is reported if these are
/// complete.
fn known_name(
    name: Option<Spanned<String>>,
    kind: &str,
    known: &[&String],
    is_complete: bool,
    source: &mut Document<'_>,
) -> Option<Spanned<String>> {
    let name = name?;
    if known.contains(&name.get_ref()) {
        return Some(name);
    }
    if is_complete {
        let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        let message = format!(
            "there is no {kind} `{}`: the zone has {known}",
            name.get_ref()
        );
        source.problem(name.span(), message);
    }
    None
}

/// Whether a text has only lowercase letters, digits and `-`, and starts with a letter.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}
