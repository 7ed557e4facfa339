//! Renders a peer's environment from templates.
//!
//! The templates are part of a zone file, in the syntax of Jinja. They may use the values
//! of [`Parameters`]; a template that uses any other value is an error when the file is
//! read. A template that cannot be rendered for a peer is an error in the answer to that
//! peer, so that no peer starts with an incomplete environment.

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

/// The values that a template may use.
#[derive(Debug, Clone)]
pub struct Parameters<'a> {
    /// `vp1`.
    pub id: &'a str,
    /// The number in the ID: `1`.
    pub number: u32,
    /// The stable name of the peer in the zone, such as `vp1.O`, without the
    /// trailing dot.
    pub name: &'a str,
    pub hostname: &'a str,
    pub role: &'a str,
    /// The address, with brackets around an IPv6 address, so that a port can
    /// follow.
    pub address: &'a str,
    /// The root nodes, best first.
    pub roots: Vec<Member>,
    /// One entry for each number of the limited sequences, those of the root
    /// sequence first. A sequence of more than [`MAX_MEMBERS`] numbers has no
    /// entries.
    pub members: Vec<Member>,
    /// `None` in a zone without `n`, like `f`.
    pub n: Option<u32>,
    pub f: Option<u32>,
    /// The zone's origin, without the trailing dot.
    pub origin: &'a str,
    /// Rises whenever the ID passes to another holder.
    pub epoch: u64,
    /// The address at which the service was queried.
    pub server: IpAddr,
}

/// A number of a sequence, with the peer that has it, if any.
///
/// A template can read its fields (`{{ root.name }}`). Printed as a whole it is
/// the address and port at which other peers join the network, or nothing if no
/// peer has the number: `{{ roots | join(',') }}`.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: String,
    pub number: u32,
    /// The stable name, without the trailing dot.
    pub name: String,
    /// The address as in [`Parameters::address`]; empty if no peer is registered.
    pub address: String,
    /// Whether the lease is running.
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
        if self.address.is_empty() {
            return Ok(());
        }
        write!(f, "{}:{}", self.address, self.port)
    }
}

impl Parameters<'_> {
    /// Makes the values available to the template engine. `ports` maps the names
    /// of ports to numbers: `{{ ports.grpc }}`.
    fn values(&self, ports: &Value) -> Value {
        let list = |members: &[Member]| -> Value {
            members.iter().cloned().map(Value::from_object).collect()
        };
        // A variable that renders to an empty string is omitted, so a number that the
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

/// An address that a port can follow: an IPv6 address is put in brackets.
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

/// The functions of the template engine that a template may use.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// The maximum size of a sequence in `members`. The names of more peers would not
/// fit one variable.
pub const MAX_MEMBERS: u32 = 512;

/// The maximum number of steps of a template. A loop over [`MAX_MEMBERS`] takes about ten
/// thousand. A template that loops longer would occupy the service at each query of a
/// peer.
const FUEL: u64 = 100_000;

/// The maximum length of a value. A whole environment must fit in a message of 64 kB.
const MAX_VALUE_BYTES: usize = 32_768;

/// The environment of the peers of one role.
#[derive(Debug, Default)]
pub struct Environment {
    engine: minijinja::Environment<'static>,
    variables: Vec<String>,
    /// The same for all peers.
    ports: Value,
    /// The values and functions that the templates use.
    used: BTreeSet<String>,
}

/// A variable that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {reason}")]
pub struct RenderError {
    pub variable: String,
    pub reason: String,
}

impl Environment {
    /// Compiles variables, each a name and a template. `ports` are the zone's ports by
    /// name.
    ///
    /// # Errors
    ///
    /// One error for each variable whose template is invalid.
    pub fn new<'t>(
        variables: impl Iterator<Item = (&'t str, &'t str)>,
        ports: &BTreeMap<String, u16>,
    ) -> Result<Self, Vec<RenderError>> {
        let mut environment = Self {
            engine: minijinja::Environment::new(),
            ports: Value::from(ports),
            ..Self::default()
        };
        let engine = &mut environment.engine;
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_fuel(Some(FUEL));
        let mut errors = Vec::new();
        for (variable, template) in variables {
            if let Err(reason) = environment.add(variable, template) {
                let variable = variable.to_owned();
                errors.push(RenderError { variable, reason });
            }
        }
        if errors.is_empty() {
            Ok(environment)
        } else {
            Err(errors)
        }
    }

    fn add(&mut self, variable: &str, template: &str) -> Result<(), String> {
        if !is_variable_name(variable) {
            return Err(
                "is not a valid name: use capital letters, digits and _, and start with a letter"
                    .into(),
            );
        }
        if template.contains(|c: char| c.is_control()) {
            return Err("contains a control character: write the template in one line".into());
        }
        self.engine
            .add_template_owned(variable.to_owned(), template.to_owned())
            .map_err(|error| format!("is not a valid template: {}", reason(&error)))?;
        let compiled = self.engine.get_template(variable);
        let compiled = compiled.map_err(|error| reason(&error))?;
        let used = compiled.undeclared_variables(false);
        let is_known = |name: &str| NAMES.contains(&name) || FUNCTIONS.contains(&name);
        if let Some(unknown) = used.iter().find(|name| !is_known(name)) {
            let known = NAMES.join(", ");
            return Err(format!(
                "uses the unknown value `{unknown}`: expected one of {known}"
            ));
        }
        self.used.extend(used);
        self.variables.push(variable.to_owned());
        Ok(())
    }

    /// Whether a template uses this value.
    pub fn uses(&self, value: &str) -> bool {
        self.used.contains(value)
    }

    /// Renders the variables of a peer. A variable that renders to an empty string is
    /// omitted.
    pub fn render(&self, parameters: &Parameters<'_>) -> Result<Vec<(&str, String)>, RenderError> {
        let values = parameters.values(&self.ports);
        let mut variables = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            match self.render_one(variable, &values) {
                Ok(value) if value.is_empty() => {}
                Ok(value) => variables.push((variable.as_str(), value)),
                Err(reason) => {
                    let variable = variable.clone();
                    return Err(RenderError { variable, reason });
                }
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
        if value.len() > MAX_VALUE_BYTES {
            let bytes = value.len();
            return Err(format!(
                "has {bytes} bytes: shorten it to at most {MAX_VALUE_BYTES}"
            ));
        }
        if value.contains(|c: char| c.is_control()) {
            return Err("contains a control character".into());
        }
        Ok(value)
    }
}

/// Whether a text is a valid name of a variable: `[A-Z][A-Z0-9_]*`. The start
/// script accepts no other.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
}

/// The engine's message, without its position: the caller knows a better one.
fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
