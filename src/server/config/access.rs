//! The access lists: who may query, register, transfer, update and have names
//! forwarded.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use ipnet::IpNet;

use crate::{
    keys::{self, Key},
    settings::{Document, Spanned, Table},
};

/// Who may do what.
#[derive(Debug, Clone)]
pub struct Access {
    pub query: List,
    pub register: List,
    pub transfer: List,
    pub update: List,
    pub forward: List,
}

/// Those who may: from one of these networks, or with one of these keys.
#[derive(Debug, Clone, Default)]
pub struct List {
    pub networks: Vec<IpNet>,
    /// Names of keys.
    pub keys: Vec<Name>,
}

const ANYONE: [&str; 2] = ["0.0.0.0/0", "::/0"];
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// Private (RFC 1918, RFC 4193) and link-local networks (RFC 3927, RFC 4291).
const PRIVATE: [&str; 6] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// Stands before the name of a key in a list.
const KEY: &str = "key:";

impl Default for Access {
    /// Anyone may query; private, link-local and loopback networks may
    /// register and have names forwarded; loopback may transfer and update.
    fn default() -> Self {
        let list = |texts: &[&str]| List {
            networks: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            keys: Vec::new(),
        };
        let near = [&PRIVATE[..], &LOOPBACK[..]].concat();
        Self {
            query: list(&ANYONE),
            register: list(&near),
            transfer: list(&LOOPBACK),
            update: list(&LOOPBACK),
            forward: list(&near),
        }
    }
}

impl Access {
    /// Reads the table `[access]`. `keys` are those that it may name.
    pub fn take(table: &mut Table<'_>, keys: &[Key], source: &mut Document<'_>) -> Self {
        let mut access = Self::default();
        for (name, list) in [
            ("query", &mut access.query),
            ("register", &mut access.register),
            ("transfer", &mut access.transfer),
            ("update", &mut access.update),
            ("forward", &mut access.forward),
        ] {
            if let Some(texts) = table.texts(name, source) {
                *list = read(&texts, keys, source);
            }
        }
        table.finish(source);
        access
    }
}

fn read(texts: &[Spanned<String>], keys: &[Key], source: &mut Document<'_>) -> List {
    let mut list = List::default();
    for text in texts {
        match entry(text.get_ref(), keys) {
            Ok(Entry::Network(network)) => list.networks.push(network),
            Ok(Entry::Key(name)) => list.keys.push(name),
            Err(message) => source.problem(text.span(), message),
        }
    }
    list
}

enum Entry {
    Network(IpNet),
    Key(Name),
}

fn entry(text: &str, keys: &[Key]) -> Result<Entry, String> {
    if let Some(name) = text.strip_prefix(KEY) {
        let name = keys::name(name)?;
        return match keys.iter().any(|key| key.name == name) {
            true => Ok(Entry::Key(name)),
            false => Err(keys::unknown(&name)),
        };
    }
    let single = text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse().or(single);
    network.map(Entry::Network).map_err(|_| {
        format!("`{text}` is no network: write \"10.0.0.0/8\", \"fd00::/8\" or \"key:NAME\"")
    })
}
