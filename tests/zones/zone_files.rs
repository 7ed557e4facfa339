//! Mistakes in zone and configuration files: all of them are reported at once,
//! each with its file and line and a correction.

use crate::common::{
    self, PARAMD, fails_with, rejected_configuration, run, shipped_zones, simple_zone, zones,
};

/// The output of `paramd check` for a zone file.
fn said_of(zone: &str) -> String {
    let zones = zones(&[("z.toml", zone)]);
    let path = zones.path().to_str().unwrap();
    fails_with(1, PARAMD, &["check", "--zones", path]).replace(path, "ZONES")
}

#[test]
fn the_shipped_zones_are_right() {
    let said = run(
        PARAMD,
        &["check", "--zones", shipped_zones().to_str().unwrap()],
    );
    assert!(
        said.contains("pbft.fabric.internal, n = 4, f = 1"),
        "{said}"
    );
    assert!(
        said.contains("noops.fabric.internal, roles mixed (default)"),
        "{said}"
    );
}

#[test]
fn each_mistake_is_shown_with_its_line_and_remedy() {
    let good = simple_zone("n = 4", "limit = \"n\"");
    for (from, to, line, expected) in [
        ("n = 4", "n = 0", 5, "`n`: expected an integer from 1 to"),
        (
            "n = 4",
            "n = \"four\"",
            5,
            "`n`: expected an integer from 1 to",
        ),
        ("n = 4", "", 9, "the zone has no n: write n = 4"),
        (
            "n = 4",
            "m = 4",
            5,
            "unknown key `m`: expected one of origin, n, lease",
        ),
        (
            "n = 4",
            "n = 4\nlease = \"soon\"",
            6,
            "invalid duration `soon`",
        ),
        (
            "n = 4",
            "n = 4\nlease = \"0s\"",
            6,
            "`lease` must be between 1s and 86400s",
        ),
        (
            "n = 4",
            "n = 4\nlease = 30",
            6,
            "`lease`: expected a string: write lease = \"…\"",
        ),
        (
            "n = 4",
            "n = 4\nreclaim = \"later\"",
            6,
            "invalid duration `later`",
        ),
        (
            "n = 4",
            "n = 4\nroots = 6",
            6,
            "`roots`: expected an integer from 1 to 5",
        ),
        ("n = 4", "n = 4\nn = 5", 6, "duplicate key"),
        ("n = 4", "n = = 4", 5, ""),
        (
            "test.internal",
            "no..name",
            1,
            "`no..name` is not a domain name: write origin =",
        ),
        ("test.internal", ".", 1, "`.` is not a domain name"),
        ("test.internal", "", 1, "`` is not a domain name"),
        (
            "origin = \"test.internal\"",
            "",
            1,
            "has no `origin`: write origin = \"pbft",
        ),
        (
            "root_port = \"grpc\"",
            "root_port = \"rpc\"",
            2,
            "there is no port `rpc`: the zone has grpc",
        ),
        (
            "root_sequence = \"vp\"",
            "root_sequence = \"xp\"",
            3,
            "there is no sequence `xp`: the zone has vp",
        ),
        (
            "default_role = \"mixed\"",
            "default_role = \"none\"",
            4,
            "there is no role `none`: the zone has mixed",
        ),
        (
            "grpc = 7051",
            "grpc = 70510",
            7,
            "`grpc`: expected an integer from 1 to 65535",
        ),
        (
            "grpc = 7051",
            "GRPC = 7051",
            7,
            "`GRPC` is not a valid port name",
        ),
        (
            "limit = \"n\"",
            "limit = \"m\"",
            9,
            "`limit`: expected \"n\" or a number",
        ),
        (
            "[sequences.vp]",
            "[sequences.vp1]",
            8,
            "`vp1` is not a valid sequence name",
        ),
        (
            "[roles.mixed]",
            "[roles.dns]",
            10,
            "`dns` is not a valid role name",
        ),
        ("[roles.mixed]", "[roles.vp1]", 10, "nor an ID"),
        (
            "sequence = \"vp\"\n[env",
            "sequence = \"xp\"\n[env",
            11,
            "there is no sequence `xp`",
        ),
        (
            "sequence = \"vp\"\n[env",
            "sequence = \"vp\"\nports = [\"rest\"]\n[env",
            12,
            "there is no port `rest`",
        ),
        (
            "sequence = \"vp\"\n[env",
            "sequence = \"vp\"\nport = \"rest\"\n[env",
            12,
            "unknown key `port` in [roles.mixed]",
        ),
        (
            "{{ id }}",
            "{{ idd }}",
            13,
            "CORE_PEER_ID uses the unknown value `idd`: expected one of id, number",
        ),
        (
            "{{ id }}",
            "{{ id",
            13,
            "CORE_PEER_ID is not a valid template",
        ),
        (
            "{{ id }}",
            "{{ ports.rest }}",
            13,
            "CORE_PEER_ID cannot be rendered",
        ),
        ("{{ id }}", "{{ id | shout }}", 13, "CORE_PEER_ID"),
        (
            "CORE_PEER_ID",
            "core_peer_id",
            13,
            "is not a valid name: use capital letters",
        ),
        (
            "CORE_PEER_ID = \"{{ id }}\"",
            "CORE_PEER_ID = \"a\\nb\"",
            13,
            "contains a control character",
        ),
        (
            "{{ id }}",
            "{% for i in [1] * 9999 %}{% for j in [1] * 9999 %}{% endfor %}{% endfor %}",
            13,
            "CORE_PEER_ID cannot be rendered: engine ran out of fuel",
        ),
        (
            "{{ id }}",
            "{{ 'x' * 32769 }}",
            13,
            "CORE_PEER_ID has 32769 bytes: shorten it to at most 32768",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let said = said_of(&good.replacen(from, to, 1));
        let place = format!("ZONES/z.toml:{line}: ");
        assert!(
            said.contains(&place) && said.contains(expected),
            "{to}: {said}"
        );
    }
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let bad = simple_zone(
        "n = 0\nroots = 9\nttl = \"x\"\nunheard = 1",
        "limit = \"m\"",
    );
    let said = said_of(&bad.replace("{{ id }}", "{{ idd }}"));
    assert_eq!(said.lines().count(), 6, "{said}");
    assert!(
        said.lines()
            .all(|line| line.starts_with("paramd: ZONES/z.toml:")),
        "{said}"
    );
}

#[test]
fn one_mistake_is_one_error() {
    let good = std::fs::read_to_string(shipped_zones().join("pbft.toml")).unwrap();
    for (from, to, expected) in [
        (
            "\ngrpc = 7051",
            "\ngrpc = 70510",
            "`grpc`: expected an integer",
        ),
        (
            "\ngrpc = 7051",
            "\ngrpc = \"7051\"",
            "`grpc`: expected an integer",
        ),
        (
            "\ngrpc = 7051",
            "\nGRPC = 7051",
            "`GRPC` is not a valid port name",
        ),
        ("\ngrpc = 7051", "\ngrpc = ", "string values must be quoted"),
        ("\nn = 4", "\nn = 0", "`n`: expected an integer"),
        ("\nn = 4", "\nn = = 4", "extra `=`"),
        (
            "\nlease = \"30s\"",
            "\nlease = 30",
            "`lease`: expected a string",
        ),
        ("\nroots = 3", "\nroots = 9", "`roots`: expected an integer"),
        ("[sequences.vp]", "[sequences.vp", "unclosed table"),
        (
            "[sequences.vp]",
            "[sequences.vp1]",
            "`vp1` is not a valid sequence name",
        ),
        ("limit = \"n\"", "limit = 0", "`limit`: expected an integer"),
        (
            "[roles.validator]",
            "[roles.Validator]",
            "`Validator` is not a valid role name",
        ),
        (
            "[roles.mixed]\n",
            "[roles.nvp3]\n",
            "`nvp3` is not a valid role name",
        ),
        (
            "[roles.rest]\nsequence = \"nvp\"",
            "[roles.rest]",
            "[roles.rest] has no `sequence`",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        let bad = match to {
            "[roles.Validator]" => bad.replace("[roles.validator.", "[roles.Validator."),
            "[roles.nvp3]\n" => bad.replace("[roles.mixed.", "[roles.nvp3."),
            _ => bad,
        };
        let said = said_of(&bad);
        assert_eq!(said.trim_end().lines().count(), 1, "{to}: {said}");
        assert!(said.contains(expected), "{to}: {said}");
    }
    let simple = simple_zone("", "");
    for (from, to, expected) in [
        (
            "[roles.mixed]\nsequence = \"vp\"",
            "[roles]\nmixed = \"vp\"",
            "expected a table: write it under [roles.mixed]",
        ),
        (
            "[sequences.vp]\n",
            "[sequences]\nvp = 3\n",
            "expected a table",
        ),
        ("[ports]\ngrpc = 7051\n", "", "there is no port `grpc`"),
        (
            "default_role = \"mixed\"",
            "default_role = \"mixed\"\nports = 7",
            "duplicate key",
        ),
    ] {
        assert!(simple.contains(from), "{from}");
        let said = said_of(&simple.replacen(from, to, 1));
        assert_eq!(said.trim_end().lines().count(), 1, "{to}: {said}");
        assert!(said.contains(expected), "{to}: {said}");
    }
    let no_ports = simple.replace("[ports]\ngrpc = 7051\n", "");
    let said = said_of(&no_ports.replacen("default_role", "ports = 7\ndefault_role", 1));
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(
        said.contains("expected a table: write it under [ports]"),
        "{said}"
    );
}

#[test]
fn two_zones_with_one_origin_are_refused() {
    let zone = simple_zone("", "");
    let other = zone.replace("test.internal", "Test.INTERNAL.");
    let zones = zones(&[("a.toml", &zone), ("b.toml", &other)]);
    let said = fails_with(
        1,
        PARAMD,
        &["check", "--zones", zones.path().to_str().unwrap()],
    );
    assert!(
        said.contains("b.toml:1: ") && said.contains("a.toml already has the origin"),
        "{said}"
    );
}

#[test]
fn mistakes_stop_the_start_as_well() {
    let zones = zones(&[("z.toml", &simple_zone("n = 0", ""))]);
    let data = tempfile::tempdir().unwrap();
    let options = common::Options::new(zones.path(), data.path());
    let said = common::Service::try_start(&options).map(drop).unwrap_err();
    assert!(
        said.contains("z.toml:5: `n`: expected an integer"),
        "{said}"
    );
}

#[test]
fn mistakes_in_a_configuration_are_shown() {
    let said = rejected_configuration("[access]\nquery = [\"10.0.0.0/33\"]\nregsiter = []\n");
    assert!(
        said.contains("c.toml:2: invalid network `10.0.0.0/33`"),
        "{said}"
    );
    assert!(
        said.contains("c.toml:3: unknown key `regsiter` in [access]"),
        "{said}"
    );
}
