//! The access lists: which clients may query, register, transfer and update zones,
//! and have queries forwarded.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use ipnet::IpNet;

use crate::{
    keys::{self, Key},
    settings::{Document, Spanned, Table},
};

/// The access lists of a configuration.
#[derive(Debug, Clone)]
pub struct Access {
    pub query: AccessList,
    pub register: AccessList,
    pub transfer: AccessList,
    pub update: AccessList,
    pub forward: AccessList,
    /// Networks of this node whose addresses other nodes do not see: the node masquerades
    /// what leaves it.
    pub masqueraded: Vec<IpNet>,
}

/// The clients that may do something: in one of these networks, or with one of these
/// keys.
#[derive(Debug, Clone, Default)]
pub struct AccessList {
    pub networks: Vec<IpNet>,
    /// The names of the keys.
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

/// The prefix of the name of a key in a list.
const KEY_PREFIX: &str = "key:";

impl Default for Access {
    /// Any client may query. Private, link-local and loopback networks may register
    /// and have queries forwarded. Loopback addresses may transfer and update zones.
    fn default() -> Self {
        let list = |texts: &[&str]| AccessList {
            networks: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            keys: Vec::new(),
        };
        let private = [&PRIVATE[..], &LOOPBACK[..]].concat();
        Self {
            query: list(&ANYONE),
            register: list(&private),
            transfer: list(&LOOPBACK),
            update: list(&LOOPBACK),
            forward: list(&private),
            masqueraded: Vec::new(),
        }
    }
}

impl Access {
    /// Reads the table `[access]`, which may refer to `keys`.
    pub fn take(table: &mut Table<'_>, keys: &[Key], document: &mut Document<'_>) -> Self {
        let mut access = Self::default();
        for (name, list) in [
            ("query", &mut access.query),
            ("register", &mut access.register),
            ("transfer", &mut access.transfer),
            ("update", &mut access.update),
            ("forward", &mut access.forward),
        ] {
            if let Some(texts) = table.texts(name, document) {
                *list = read(&texts, keys, document);
            }
        }
        if let Some(texts) = table.texts("masqueraded", document) {
            access.masqueraded = read(&texts, &[], document).networks;
        }
        table.finish(document);
        access
    }
}

fn read(texts: &[Spanned<String>], keys: &[Key], document: &mut Document<'_>) -> AccessList {
    let mut list = AccessList::default();
    for text in texts {
        if let Err(message) = list.add(text.get_ref(), keys) {
            document.problem(text.span(), message);
        }
    }
    list
}

impl AccessList {
    /// Adds a network, or one of the `keys`.
    fn add(&mut self, text: &str, keys: &[Key]) -> Result<(), String> {
        if let Some(name) = text.strip_prefix(KEY_PREFIX) {
            let name = keys::name(name)?;
            if !keys.iter().any(|key| key.name == name) {
                return Err(keys::unknown(&name));
            }
            self.keys.push(name);
            return Ok(());
        }
        let single = text.parse::<IpAddr>().map(IpNet::from);
        self.networks.push(text.parse().or(single).map_err(|_| {
            format!("invalid network `{text}`: write \"10.0.0.0/8\", \"fd00::/8\" or \"key:NAME\"")
        })?);
        Ok(())
    }
}
