//! The values of options.

use clap::Parser as _;
use param_daemon::cli::{Cli, Command, StoreKind};

fn store(text: &str) -> Result<StoreKind, String> {
    let cli = Cli::try_parse_from(["paramd", "serve", "--store", text]);
    match cli.map_err(|error| error.to_string())?.command {
        Command::Serve(options) => Ok(options.store),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_is_sled_or_the_members_of_a_cluster() {
    let members = |list: &[&str]| {
        let list = list.iter().map(|member| (*member).to_owned());
        Ok(StoreKind::Etcd(list.collect()))
    };
    assert_eq!(store(" sled"), Ok(StoreKind::Sled));
    assert_eq!(store("etcd://10.0.0.1"), members(&["10.0.0.1:2379"]));
    assert_eq!(
        store("etcd://a.example:1, [fd00::1]:2 ,fd00::2/"),
        members(&["a.example:1", "[fd00::1]:2", "[fd00::2]:2379"])
    );
    for wrong in [
        "",
        "etcd",
        "etcd://",
        "etcd:10.0.0.1",
        "etcd://a,",
        "etcd://a:b",
        "etcd://a:1:2",
        "etcd://a/b",
        "etcd://user@a",
        "http://10.0.0.1",
        "etcd://a:70000",
    ] {
        let said = store(wrong).unwrap_err();
        assert!(said.contains("etcd://10.0.0.1:2379"), "{wrong}: {said}");
    }
}
