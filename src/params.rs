//! A peer's environment: templates in, variables out.
//!
//! The templates are data of a zone file. Which values they may name is fixed
//! here ([`Parameters`]), and a template that names another is an error when
//! the file is read, never when a peer asks.

use std::collections::BTreeMap;

use minijinja::{UndefinedBehavior, Value, context};

/// The values that a template may name.
#[derive(Debug, Clone)]
pub struct Parameters<'a> {
    /// `vp1`.
    pub id: &'a str,
    /// The number in the ID: `1`.
    pub number: u32,
    pub hostname: &'a str,
    pub role: &'a str,
    /// As it stands before a port: an IPv6 address is in brackets.
    pub address: &'a str,
    /// `address:port` of the root nodes: `{{ roots | join(',') }}`.
    pub roots: &'a [&'a str],
    /// Empty in a zone without `n`, and so is `f`.
    pub n: &'a str,
    pub f: &'a str,
    /// The zone's origin, without the last dot.
    pub origin: &'a str,
}

impl Parameters<'_> {
    /// `ports` are by name: `{{ ports.grpc }}`.
    fn values(&self, ports: &Value) -> Value {
        context! {
            id => self.id,
            number => self.number,
            hostname => self.hostname,
            role => self.role,
            address => self.address,
            ports => ports.clone(),
            roots => self.roots.iter().copied().collect::<Value>(),
            n => self.n,
            f => self.f,
            origin => self.origin,
        }
    }
}

/// The names of [`Parameters`], and that of the zone's ports.
pub const NAMES: [&str; 10] = [
    "id", "number", "hostname", "role", "address", "ports", "roots", "n", "f", "origin",
];

/// How many steps a template may take. One that loops must not keep the service
/// busy each time a peer asks.
const FUEL: u64 = 10_000;

/// How long a value may be. All of an environment goes into one message, of
/// 64 kB at the most.
const VALUE_OCTETS: usize = 4_096;

/// The environment of the peers of one role.
#[derive(Debug, Default)]
pub struct Environment {
    engine: minijinja::Environment<'static>,
    variables: Vec<String>,
    /// The same for all peers.
    ports: Value,
}

impl Environment {
    /// Reads templates, by the names of their variables. `ports` are the names
    /// of the zone's ports. Says of each that is wrong its name and what is.
    pub fn new(
        templates: &BTreeMap<String, String>,
        ports: &BTreeMap<String, u16>,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut engine = minijinja::Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_fuel(Some(FUEL));
        let ports = Value::from(ports);
        let mut problems = Vec::new();
        for (name, template) in templates {
            if let Err(problem) = check(&mut engine, name, template, &ports) {
                problems.push((name.clone(), problem));
            }
        }
        if problems.is_empty() {
            let variables = templates.keys().cloned().collect();
            Ok(Self {
                engine,
                variables,
                ports,
            })
        } else {
            Err(problems)
        }
    }

    /// The variables of a peer, by name. One that renders to nothing or to too
    /// much, or cannot be rendered for this peer, is left out.
    pub fn render(&self, parameters: &Parameters<'_>) -> Vec<(&str, String)> {
        let values = parameters.values(&self.ports);
        let render = |name: &str| {
            let template = self.engine.get_template(name).ok()?;
            let value = template.render(values.clone()).ok()?;
            (1..=VALUE_OCTETS).contains(&value.len()).then_some(value)
        };
        self.variables
            .iter()
            .filter_map(|name| Some((name.as_str(), render(name)?)))
            .collect()
    }
}

/// Whether a text may name a variable: `[A-Z][A-Z0-9_]*`. The start script
/// takes no other.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
}

fn check(
    engine: &mut minijinja::Environment<'static>,
    name: &str,
    template: &str,
    ports: &Value,
) -> Result<(), String> {
    if !is_variable_name(name) {
        return Err("a variable is called by capital letters, digits and _, a letter first".into());
    }
    if template.contains(|c: char| c.is_control()) {
        return Err("a value is one line without control characters".into());
    }
    engine
        .add_template_owned(name.to_owned(), template.to_owned())
        .map_err(|error| format!("is no template: {}", reason(&error)))?;
    let compiled = engine.get_template(name).map_err(|error| reason(&error))?;
    let named = compiled.undeclared_variables(false);
    if let Some(unknown) = named.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!(
            "names {unknown}, which is no value: there are {}",
            NAMES.join(", ")
        ));
    }
    // What only shows when it is rendered: a port that is not there, a filter
    // that does not fit. With and without root nodes, since templates branch.
    for roots in [&[][..], &["192.0.2.1:1"]] {
        let sample = Parameters {
            id: "id",
            number: 0,
            hostname: "host",
            role: "role",
            address: "192.0.2.1",
            roots,
            n: "4",
            f: "1",
            origin: "example",
        };
        let value = compiled
            .render(sample.values(ports))
            .map_err(|error| format!("cannot be rendered: {}", reason(&error)))?;
        if value.len() > VALUE_OCTETS {
            let octets = value.len();
            return Err(format!(
                "has {octets} octets: shorten it to {VALUE_OCTETS} at the most"
            ));
        }
    }
    Ok(())
}

/// The engine's message, without the place that the caller knows better.
fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
