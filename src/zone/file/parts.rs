//! The tables of a zone file to which other parts refer: ports, sequences and roles. A
//! mistake in one of them is reported once, and not again at each reference.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use crate::{
    network::{DEFAULT_LIMIT, RoleRule, Sequence, SequenceRule},
    params::{Environment, RenderError},
    settings::{Document, Span, Spanned, Table},
    zone::{
        Profile,
        name::{NAME_SERVER_PARENT, is_word},
    },
};

/// The definitions in a part of the file.
pub(super) struct Definitions<T> {
    /// What is defined, in messages.
    kind: &'static str,
    names: Vec<String>,
    pub items: T,
    /// Whether all of them are valid. If not, an unknown name may belong to an invalid
    /// definition, which has been reported already.
    is_complete: bool,
}

impl<T: Default> Definitions<T> {
    fn new(kind: &'static str, table: &Table<'_>) -> Self {
        Self {
            kind,
            names: Vec::new(),
            items: T::default(),
            is_complete: !table.is_wrong(),
        }
    }

    /// Adds a name. One that is not valid is reported with the rule.
    fn add(
        &mut self,
        name: &Spanned<String>,
        is_valid: bool,
        rule: &str,
        source: &mut Document<'_>,
    ) {
        let (kind, text) = (self.kind, name.get_ref());
        if !is_valid || !is_word(text) {
            let message = format!("`{text}` is not a valid {kind} name: use {rule}");
            source.problem(name.span(), message);
            self.is_complete = false;
        }
        self.names.push(text.clone());
    }

    /// The index of the definition with the name. An unknown name is reported if the
    /// definitions are complete.
    pub fn place_of(&self, name: &Spanned<String>, source: &mut Document<'_>) -> Option<u16> {
        let (kind, text) = (self.kind, name.get_ref());
        let place = self.names.iter().position(|known| known == text);
        if place.is_none() && self.is_complete {
            let known = match self.names.as_slice() {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            let message = format!("there is no {kind} `{text}`: the zone has {known}");
            source.problem(name.span(), message);
        }
        u16::try_from(place?).ok()
    }
}

pub(super) type Ports = Definitions<BTreeMap<String, u16>>;

pub(super) fn ports(mut table: Table<'_>, source: &mut Document<'_>) -> Ports {
    let mut ports = Ports::new("port", &table);
    for (name, number) in table.all_numbers(1..65_536, source) {
        // A service name without the underscore (RFC 6335, section 5.1).
        let is_short = name.get_ref().len() <= 15;
        let rule = "at most 15 lowercase letters, digits and -, and start with a letter";
        ports.add(&name, is_short, rule, source);
        let number = number.map_or(1, |number| number.into_inner() as u16);
        ports.items.insert(name.into_inner(), number);
    }
    ports
}

pub(super) type Sequences = Definitions<Vec<SequenceRule>>;

pub(super) fn sequences(
    mut table: Table<'_>,
    n: Option<u32>,
    source: &mut Document<'_>,
) -> Sequences {
    let mut sequences = Sequences::new("sequence", &table);
    for (name, mut table) in table.tables(source) {
        let text = name.get_ref();
        let is_valid = text.len() <= 40 && !text.ends_with(|c: char| c.is_ascii_digit());
        let rule = "lowercase letters, digits and -, start with a letter, and do not end with a \
                    digit";
        sequences.add(&name, is_valid, rule, source);
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
fn limit(table: &mut Table<'_>, n: Option<u32>, source: &mut Document<'_>) -> Option<u32> {
    if table.peek("limit").is_none() {
        let limit = table.number("limit", 1..1_000_000_001, source);
        return limit.map(Spanned::into_inner);
    }
    let text = table.text("limit", source)?;
    if text.get_ref() != "n" {
        let message = "`limit`: expected \"n\" or a number: write limit = \"n\"";
        return source.refuse(text.span(), message);
    }
    if n.is_none() {
        let message = "`limit` is \"n\", but the zone has no n: write n = 4 at the top";
        source.problem(text.span(), message);
    }
    n
}

/// A role, with the variables of its peers.
pub(super) struct RoleTable {
    pub rule: RoleRule,
    pub profile: Profile,
    pub variables: Variables,
}

/// The variables of an environment by name, each with its position and its template.
pub(super) type Variables = BTreeMap<String, (Span, String)>;

pub(super) fn variables(mut table: Table<'_>, source: &mut Document<'_>) -> Variables {
    let texts = table.all_texts(source).into_iter();
    texts
        .map(|(name, template)| {
            let value = (name.span(), template.into_inner());
            (name.into_inner(), value)
        })
        .collect()
}

/// The roles. `common` are the variables for all peers; those of a role take precedence.
pub(super) fn roles(
    mut table: Table<'_>,
    common: &Variables,
    sequences: &Sequences,
    ports: &Ports,
    source: &mut Document<'_>,
) -> Definitions<Vec<RoleTable>> {
    let mut roles = Definitions::<Vec<_>>::new("role", &table);
    for (name, mut table) in table.tables(source) {
        let text = name.get_ref();
        let mut rules = sequences.items.iter();
        let is_taken =
            text == NAME_SERVER_PARENT || rules.any(|rule| rule.has_shape(text.as_bytes()));
        let rule = format!(
            "lowercase letters, digits and -, start with a letter, and choose neither \
             {NAME_SERVER_PARENT} nor an ID"
        );
        roles.add(&name, text.len() <= 40 && !is_taken, &rule, source);
        let sequence = table.required("sequence", "\"vp\"", source);
        let sequence = sequence.and_then(|name| sequences.place_of(&name, source));
        let offered = match table.texts("ports", source) {
            None => ports.names.clone(),
            Some(mut offered) => {
                offered.retain(|name| ports.place_of(name, source).is_some());
                offered.into_iter().map(Spanned::into_inner).collect()
            }
        };
        let mut variables = common.clone();
        variables.extend(self::variables(table.table("environment", source), source));
        table.finish(source);
        roles.items.push(RoleTable {
            rule: RoleRule {
                name: name.into_inner(),
                sequence: Sequence(sequence.unwrap_or_default()),
            },
            profile: Profile {
                ports: offered,
                environment: environment_of(&variables, &ports.items, source),
                is_failing: AtomicBool::new(false),
            },
            variables,
        });
    }
    roles
}

fn environment_of(
    variables: &Variables,
    ports: &BTreeMap<String, u16>,
    source: &mut Document<'_>,
) -> Environment {
    let templates = variables.iter();
    let templates = templates.map(|(name, (_, template))| (name.as_str(), template.as_str()));
    Environment::new(templates, ports).unwrap_or_else(|errors| {
        for error in errors {
            report(&error, variables, source);
        }
        Environment::default()
    })
}

/// Reports a variable that cannot be rendered.
pub(super) fn report(error: &RenderError, variables: &Variables, source: &mut Document<'_>) {
    let variable = variables.get(&error.variable);
    let span = variable.map_or(0..0, |(span, _)| span.clone());
    source.problem(span, error.to_string());
}
