//! A peer's environment: templates in, variables out.
//!
//! The templates are data of a zone file, in the syntax of Jinja. The values
//! that a template may name are fixed here ([`Parameters`]). A template that
//! names another value is an error when the file is read. A template that
//! cannot be rendered for a certain peer is an error when that peer asks: no
//! peer starts with a part of its environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use minijinja::{
    UndefinedBehavior, Value, context,
    value::{Enumerator, Object, ObjectRepr},
};

/// The values that a template may name.
#[derive(Debug, Clone)]
pub struct Parameters<'a> {
    /// `vp1`.
    pub id: &'a str,
    /// The number in the ID: `1`.
    pub number: u32,
    /// The stable name of the peer, `vp1` in the zone, without the last dot.
    pub name: &'a str,
    pub hostname: &'a str,
    pub role: &'a str,
    /// As it stands before a port: an IPv6 address is in brackets.
    pub address: &'a str,
    /// The root nodes, best first.
    pub roots: Vec<Member>,
    /// One entry for each number of the limited sequences, those of the root
    /// sequence first. A sequence of more than [`MOST_MEMBERS`] numbers has none.
    pub members: Vec<Member>,
    /// Nothing in a zone without `n`, and so is `f`.
    pub n: Option<u32>,
    pub f: Option<u32>,
    /// The zone's origin, without the last dot.
    pub origin: &'a str,
    /// Rises whenever the ID gets another holder.
    pub epoch: u64,
    /// The address at which the service was asked.
    pub server: IpAddr,
}

/// A number of a sequence, and the peer that has it, if there is one.
///
/// A template reads its fields (`{{ root.name }}`). Printed by itself it is the
/// address and port at which others join the network, or nothing where no peer
/// has the number: `{{ roots | join(',') }}`.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: String,
    pub number: u32,
    /// Its stable name, without the last dot.
    pub name: String,
    /// As it stands before a port; empty where nobody is registered.
    pub address: String,
    /// Whether its lease runs.
    pub live: bool,
    /// The port at which root nodes are reached.
    pub port: u16,
}

/// The fields of a [`Member`] that a template may read.
const FIELDS: [&str; 5] = ["id", "number", "name", "address", "live"];

impl Object for Member {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "id" => Value::from(&*self.id),
            "number" => Value::from(self.number),
            "name" => Value::from(&*self.name),
            "address" => Value::from(&*self.address),
            "live" => Value::from(self.live),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&FIELDS)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.is_empty() {
            true => Ok(()),
            false => write!(f, "{}:{}", self.address, self.port),
        }
    }
}

impl Parameters<'_> {
    /// `ports` are by name: `{{ ports.grpc }}`.
    fn values(&self, ports: &Value) -> Value {
        let list = |members: &[Member]| -> Value {
            members.iter().cloned().map(Value::from_object).collect()
        };
        // A variable that renders to nothing is left out, so a number that the
        // zone does not have is an empty string.
        let number = |number: Option<u32>| number.map_or(Value::from(""), Value::from);
        context! {
            id => self.id,
            number => self.number,
            name => self.name,
            hostname => self.hostname,
            role => self.role,
            address => self.address,
            ports => ports.clone(),
            roots => list(&self.roots),
            members => list(&self.members),
            n => number(self.n),
            f => number(self.f),
            origin => self.origin,
            epoch => self.epoch,
            server => self.server.to_string(),
        }
    }
}

/// An address as it stands before a port: an IPv6 address is in brackets.
pub fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The values of [`Parameters`], and the zone's ports.
pub const NAMES: [&str; 14] = [
    "id", "number", "name", "hostname", "role", "address", "ports", "roots", "members", "n", "f",
    "origin", "epoch", "server",
];

/// The functions of the template engine that a template may call.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// How many numbers a sequence may have to be listed in `members`. The names of
/// more would not fit one variable.
pub const MOST_MEMBERS: u32 = 512;

/// How many steps a template may take. A loop over [`MOST_MEMBERS`] takes some
/// ten thousand. A template that loops for longer would keep the service busy
/// each time a peer asks.
const FUEL: u64 = 100_000;

/// How long a value may be. A whole environment has to fit one message of
/// 64 kB.
const VALUE_OCTETS: usize = 32_768;

/// The environment of the peers of one role.
#[derive(Debug, Default)]
pub struct Environment {
    engine: minijinja::Environment<'static>,
    variables: Vec<String>,
    /// The same for all peers.
    ports: Value,
    /// The values and functions that the templates name.
    named: BTreeSet<String>,
}

/// A variable that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {reason}")]
pub struct RenderError {
    pub variable: String,
    pub reason: String,
}

impl Environment {
    /// Reads templates, by the names of their variables. `ports` are the zone's
    /// ports by their names. On failure, returns one error for each variable
    /// whose template is wrong.
    pub fn new(
        templates: &BTreeMap<String, String>,
        ports: &BTreeMap<String, u16>,
    ) -> Result<Self, Vec<RenderError>> {
        let mut engine = minijinja::Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_fuel(Some(FUEL));
        let mut errors = Vec::new();
        let mut named = BTreeSet::new();
        for (variable, template) in templates {
            match compile(&mut engine, variable, template) {
                Ok(names) => named.extend(names),
                Err(reason) => errors.push(RenderError {
                    variable: variable.clone(),
                    reason,
                }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            engine,
            variables: templates.keys().cloned().collect(),
            ports: Value::from(ports),
            named,
        })
    }

    /// Whether a template names that value.
    pub fn names(&self, value: &str) -> bool {
        self.named.contains(value)
    }

    /// The variables of a peer, by name. A variable that renders to nothing is
    /// left out.
    pub fn render(&self, parameters: &Parameters<'_>) -> Result<Vec<(&str, String)>, RenderError> {
        let values = parameters.values(&self.ports);
        let mut variables = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            let value = self
                .render_one(variable, &values)
                .map_err(|reason| RenderError {
                    variable: variable.clone(),
                    reason,
                })?;
            if !value.is_empty() {
                variables.push((variable.as_str(), value));
            }
        }
        Ok(variables)
    }

    fn render_one(&self, variable: &str, values: &Value) -> Result<String, String> {
        let rendered = self
            .engine
            .get_template(variable)
            .and_then(|template| template.render(values.clone()));
        let value = rendered.map_err(|error| format!("cannot be rendered: {}", reason(&error)))?;
        if value.len() > VALUE_OCTETS {
            let octets = value.len();
            return Err(format!(
                "has {octets} octets: shorten it to {VALUE_OCTETS} at the most"
            ));
        }
        if value.contains(|c: char| c.is_control()) {
            return Err("has a control character".into());
        }
        Ok(value)
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

/// Adds a template to the engine. Returns the values and functions that it
/// names.
fn compile(
    engine: &mut minijinja::Environment<'static>,
    variable: &str,
    template: &str,
) -> Result<impl Iterator<Item = String> + use<>, String> {
    if !is_variable_name(variable) {
        return Err("a variable is called by capital letters, digits and _, a letter first".into());
    }
    if template.contains(|c: char| c.is_control()) {
        return Err("a value is one line without control characters".into());
    }
    engine
        .add_template_owned(variable.to_owned(), template.to_owned())
        .map_err(|error| format!("is no template: {}", reason(&error)))?;
    let compiled = engine
        .get_template(variable)
        .map_err(|error| reason(&error))?;
    let named = compiled.undeclared_variables(false);
    let is_known = |name: &str| NAMES.contains(&name) || FUNCTIONS.contains(&name);
    if let Some(unknown) = named.iter().find(|name| !is_known(name)) {
        return Err(format!(
            "names {unknown}, which is no value: there are {}",
            NAMES.join(", ")
        ));
    }
    Ok(named.into_iter())
}

/// The engine's message, without the place that the caller knows better.
fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
