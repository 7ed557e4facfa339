//! The zones of the fuzzed service.

use std::{net::IpAddr, path::Path};

use param_daemon::zone::{self, Zone, master};

/// Further records of the zone `x`: aliases, also in a circle, and out of the
/// zone; names with nothing but names below them.
const MASTER: &str = "\
alias CNAME host-0
far CNAME alias
circle CNAME back
back CNAME circle
out CNAME www.example.
ca A 192.0.2.1
ca AAAA 2001:db8::1
deep.er TXT \"one\" \"two\"
mail MX 10 ca
@ MX 10 mail
";

/// The zones that are shipped.
pub fn shipped() -> Vec<Zone> {
    let texts = [
        include_str!("../../zones/pbft.toml"),
        include_str!("../../zones/noops.toml"),
    ];
    texts.iter().map(|text| parsed(text)).collect()
}

/// Zones with little to parse: the shortest origin, the longest, and one within
/// another.
pub fn small() -> Vec<Zone> {
    let longest = format!("{}.{}", "o".repeat(55), "p".repeat(62));
    let mut zones = vec![
        parsed(&text("x", "n = 4", "limit = \"n\"")),
        parsed(&text(&longest, "roots = 5", "start = 7")),
        parsed(&text("dns.x", "reclaim = \"never\"", "limit = 2")),
    ];
    let further = master::parse(Path::new("x.zone"), MASTER.as_bytes(), &zones[0]);
    zones[0].static_records = further.expect("the master file is right");
    zones
}

fn parsed(text: &str) -> Zone {
    let mut zone = zone::parse(Path::new("zone.toml"), text).expect("the zone is right");
    zone.servers = ["192.0.2.53", "2001:db8::53"]
        .iter()
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .collect();
    zone
}

/// A zone with two roles; `limit` is what its first sequence has.
fn text(origin: &str, head: &str, limit: &str) -> String {
    format!(
        "origin = \"{origin}\"\nroot_port = \"grpc\"\nroot_sequence = \"vp\"\n\
         default_role = \"mixed\"\n{head}\n[ports]\ngrpc = 7051\nrest = 7050\n\
         [sequences.vp]\n{limit}\n[sequences.nvp]\n\
         [environment]\nID = \"{{{{ id }}}}\"\nROOTS = \"{{{{ roots | join(',') }}}}\"\n\
         [roles.mixed]\nsequence = \"vp\"\n\
         [roles.rest]\nsequence = \"nvp\"\nports = [\"rest\"]\n"
    )
}
