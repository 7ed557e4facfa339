//! Which networks may query, register, transfer and forward.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::settings::{Source, Table};

/// Who may do what, by the network of the source.
#[derive(Debug, Clone)]
pub struct Access {
    pub query: Vec<IpNet>,
    pub register: Vec<IpNet>,
    pub transfer: Vec<IpNet>,
    pub forward: Vec<IpNet>,
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

impl Default for Access {
    /// Anyone may query; private, link-local and loopback networks may
    /// register and have names forwarded; loopback may transfer.
    fn default() -> Self {
        let networks = |texts: &[&str]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        let near = [&PRIVATE[..], &LOOPBACK[..]].concat();
        Self {
            query: networks(&ANYONE),
            register: networks(&near),
            transfer: networks(&LOOPBACK),
            forward: networks(&near),
        }
    }
}

/// Whether the address is in one of the networks.
pub fn allows(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

impl Access {
    /// Reads the table `[access]`.
    pub fn take(table: &mut Table<'_>, source: &mut Source<'_>) -> Self {
        let mut access = Self::default();
        networks(table, "query", &mut access.query, source);
        networks(table, "register", &mut access.register, source);
        networks(table, "transfer", &mut access.transfer, source);
        networks(table, "forward", &mut access.forward, source);
        table.finish(source);
        access
    }
}

fn networks(
    table: &mut Table<'_>,
    key: &'static str,
    networks: &mut Vec<IpNet>,
    source: &mut Source<'_>,
) {
    let Some(texts) = table.texts(key, source) else {
        return;
    };
    networks.clear();
    for text in texts {
        let single = text.get_ref().parse::<IpAddr>().map(IpNet::from);
        match text.get_ref().parse().or(single) {
            Ok(network) => networks.push(network),
            Err(_) => source.problem(
                text.span(),
                format!(
                    "`{}` is no network: write \"10.0.0.0/8\" or \"fd00::/8\"",
                    text.get_ref()
                ),
            ),
        }
    }
}
