//! A name as SERVER stands for all of its addresses. The real service is the
//! resolver, and answers at one of them.

use std::process::Output;
use std::thread;
use std::time::Duration;

use super::script::Shell;
use crate::common::namespaces::{Network, service_in};
use crate::common::{Service, simple_zone, zones};

under_both_shells! {
    dig_finds_the_addresses_of_a_name
    the_hosts_file_comes_first
    addresses_of_the_peers_family_come_first
    a_name_is_looked_up_until_it_is_known
    a_name_is_looked_up_again_if_no_address_answers
    known_addresses_are_enough_while_the_resolver_is_silent
}

/// The service at 10.77.0.1 and fd77::1; nothing answers at 10.77.0.99 and fd77::99.
struct Field {
    network: Network,
    _service: Service,
    _files: [tempfile::TempDir; 2],
}

impl Field {
    /// With these records of the zone.
    fn new(records: &str) -> Self {
        let network = Network::new(1);
        let zone = simple_zone("records = \"more.zone\"", "");
        let zones = zones(&[("t.toml", &zone), ("more.zone", records)]);
        let data = tempfile::tempdir().unwrap();
        let service = service_in(&network, zones.path(), data.path());
        for silent in ["10.77.0.99", "fd77::99"] {
            network.drop_packets(1, silent);
        }
        let resolver = "search test.internal\nnameserver 10.77.0.2\n";
        network.resolver(1, resolver);
        network.configuration(1, "hosts", "127.0.0.1 localhost\n");
        Self {
            network,
            _service: service,
            _files: [zones, data],
        }
    }

    fn hosts(&self, text: &str) {
        self.network.configuration(1, "hosts", text);
    }

    /// Makes these all of its IPv4 addresses.
    fn move_service(&self, addresses: &[&str]) {
        let command = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            self.network.run(0, &words);
        };
        command("ip address flush dev br0 to 10.77.0.0/24");
        for address in addresses {
            command(&format!("ip address add {address} dev br0"));
        }
    }

    /// Starts a peer that lives for this many seconds.
    fn run(&self, shell: Shell, server: &str, address: &str, lives: u32) -> Output {
        let mut command = self.network.command(1, "env");
        command.arg(format!("PATH={}", shell.path(None)));
        command.args(["PARAM_ZONE=test.internal", "PARAM_HOST=peer-1"]);
        command.args(["PARAM_TOOLS=/nowhere", "PARAM_RENEW=1", "PARAM_TIMEOUT=10"]);
        command.arg(format!("PARAM_ADDRESS={address}"));
        command.arg(format!("PARAM_EXEC=sleep {lives}; exit 5"));
        command.args(shell.command()).arg(server);
        command.output().unwrap()
    }

    /// Starts a peer, and changes something after two seconds. Returns what the
    /// script says.
    fn run_while(&self, shell: Shell, server: &str, change: impl FnOnce()) -> String {
        let output = thread::scope(|scope| {
            let run = scope.spawn(|| self.run(shell, server, V4, 12));
            thread::sleep(Duration::from_secs(2));
            change();
            run.join().unwrap()
        });
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{said}");
        said
    }

    /// Asserts that the peer starts, and what the script says of the servers: `None`
    /// if nothing.
    fn assert_change(&self, shell: Shell, server: &str, address: &str, change: Option<&str>) {
        let output = self.run(shell, server, address, 4);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{server}: {said}");
        let lines = said
            .lines()
            .filter(|line| !line.contains("peer-1 is vp0 at "));
        let lines: Vec<&str> = lines.collect();
        match change {
            Some(change) => {
                let change = format!("start_peer: going on with {change}: ");
                assert!(lines[0].starts_with(&change), "{server}: {said}");
                assert_eq!(lines.len(), 2, "{server}: {said}");
            }
            None => assert_eq!(lines.len(), 1, "{server}: {said}"),
        }
        assert_eq!(
            lines.last(),
            Some(&"start_peer: the peer ended with status 5")
        );
    }
}

const V4: &str = "10.77.0.11";
const V6: &str = "fd77::11";
const PAST_V4: Option<&str> = Some("10.77.0.1: no answer from 10.77.0.99");
const PAST_V6: Option<&str> = Some("fd77::1: no answer from fd77::99");

fn dig_finds_the_addresses_of_a_name(shell: Shell) {
    let field = Field::new(
        "several A 10.77.0.99\nseveral A 10.77.0.1\n\
         alias CNAME several\none A 10.77.0.1\nsix AAAA fd77::99\nsix AAAA fd77::1\n",
    );
    field.assert_change(shell, "several.test.internal", V4, PAST_V4);
    // By the search list, in a list, and without an address of the peer's family.
    field.assert_change(shell, "alias", V4, PAST_V4);
    field.assert_change(shell, "10.77.0.99,several", V4, PAST_V4);
    field.assert_change(shell, "six", V4, PAST_V6);
    field.assert_change(shell, "one", V4, None);
}

fn the_hosts_file_comes_first(shell: Shell) {
    let field = Field::new("service A 10.77.0.98\nservice A 10.77.0.97\n");
    field.hosts("# 10.77.0.96 service\n10.77.0.99 a service # b\n10.77.0.1\tSERVICE c\n");
    field.assert_change(shell, "service", V4, PAST_V4);
    field.hosts("10.77.0.1 service\n");
    field.assert_change(shell, "service", V4, None);
}

fn addresses_of_the_peers_family_come_first(shell: Shell) {
    let field =
        Field::new("both AAAA fd77::99\nboth AAAA fd77::1\nboth A 10.77.0.99\nboth A 10.77.0.1\n");
    field.assert_change(shell, "both", V4, PAST_V4);
    field.assert_change(shell, "both", V6, PAST_V6);
    field.hosts("fd77::99 both\nfd77::1 both\n10.77.0.99 both\n10.77.0.1 both\n");
    field.assert_change(shell, "both", V4, PAST_V4);
    field.assert_change(shell, "both", V6, PAST_V6);
}

fn a_name_is_looked_up_until_it_is_known(shell: Shell) {
    let field = Field::new("");
    let later = || field.hosts("10.77.0.99 service\n10.77.0.1 service\n");
    let said = field.run_while(shell, "service", later);
    let why = "start_peer: waiting: no answer from service: ";
    assert_eq!(said.matches(why).count(), 1, "{said}");
    let why = "start_peer: going on with 10.77.0.1: no answer from 10.77.0.99: ";
    assert_eq!(said.matches(why).count(), 1, "{said}");
}

fn a_name_is_looked_up_again_if_no_address_answers(shell: Shell) {
    let field = Field::new("");
    field.hosts("10.77.0.1 service\n10.77.0.2 service\n");
    let moves = || {
        field.hosts("10.77.0.3 service\n10.77.0.4 service\n");
        field.move_service(&["10.77.0.3/24", "10.77.0.4/24"]);
    };
    let said = field.run_while(shell, "service", moves);
    let why = "start_peer: going on with 10.77.0.3: no answer from 10.77.0.1: ";
    assert_eq!(said.matches(why).count(), 1, "{said}");
    assert_eq!(
        said.matches("; no answer from 10.77.0.2: ").count(),
        1,
        "{said}"
    );
    assert_eq!(said.matches("not renewed").count(), 0, "{said}");
    assert_eq!(said.matches("did not leave").count(), 0, "{said}");
}

fn known_addresses_are_enough_while_the_resolver_is_silent(shell: Shell) {
    let field = Field::new("several A 10.77.0.1\nseveral A 10.77.0.2\n");
    let dies = || {
        field.network.resolver(1, "nameserver 10.77.0.99\n");
        field.move_service(&["10.77.0.2/24"]);
    };
    let said = field.run_while(shell, "several.test.internal", dies);
    let why = "start_peer: going on with 10.77.0.2: no answer from 10.77.0.1: ";
    assert_eq!(said.matches(why).count(), 1, "{said}");
    assert_eq!(said.matches("not renewed").count(), 0, "{said}");
    assert_eq!(said.matches("did not leave").count(), 0, "{said}");
}
