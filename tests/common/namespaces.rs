//! Hosts for the tests: network namespaces on one bridge.

use std::{
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Options, Service, run};

/// Moves this thread, and what it starts, into the network namespace.
pub fn enter(namespace: &str) {
    let file = fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(file.as_fd(), kind).unwrap();
}

/// A network: namespace 0 has the bridge with `10.77.0.1` and `10.77.0.2`,
/// `fd77::1` and `fd77::2`; namespace `k` has `10.77.0.{10 + k}` and `fd77::{10 +
/// k}` on `eth0`. All namespaces are removed when it is dropped.
pub struct Network {
    names: Vec<String>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Network {
    pub fn new(hosts: usize) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("pd{}-{count}", process::id());
        let network = Self {
            names: (0..=hosts).map(|host| format!("{tag}-{host}")).collect(),
        };
        for name in &network.names {
            run("ip", &["netns", "add", name]);
            network.ip(name, &["link", "set", "lo", "up"]);
        }
        let hub = network.name(0);
        network.ip(hub, &["link", "add", "br0", "type", "bridge"]);
        for address in ["10.77.0.1/24", "10.77.0.2/24", "fd77::1/64", "fd77::2/64"] {
            network.address(hub, "br0", address);
        }
        network.ip(hub, &["link", "set", "br0", "up"]);
        for host in 1..=hosts {
            let name = network.name(host);
            let port = format!("port{host}");
            let arguments = [
                "link", "add", &port, "type", "veth", "peer", "eth0", "netns", name,
            ];
            network.ip(hub, &arguments);
            network.ip(hub, &["link", "set", &port, "master", "br0", "up"]);
            network.address(name, "eth0", &format!("10.77.0.{}/24", 10 + host));
            network.address(name, "eth0", &format!("fd77::{}/64", 10 + host));
            network.ip(name, &["link", "set", "eth0", "up"]);
        }
        network
    }

    pub fn name(&self, host: usize) -> &str {
        &self.names[host]
    }

    fn ip(&self, name: &str, arguments: &[&str]) {
        run("ip", &[&["-n", name][..], arguments].concat());
    }

    fn address(&self, name: &str, interface: &str, address: &str) {
        let mut arguments = vec!["address", "add", address, "dev", interface];
        if address.contains(':') {
            // Without duplicate address detection, which takes time.
            arguments.push("nodad");
        }
        self.ip(name, &arguments);
    }

    /// A command that runs in the namespace.
    pub fn command(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(host), program]);
        command
    }

    /// Runs a tool in the namespace. Returns its standard output.
    pub fn run(&self, host: usize, arguments: &[&str]) -> String {
        run(
            "ip",
            &[&["netns", "exec", self.name(host)][..], arguments].concat(),
        )
    }

    /// Sets `/etc/resolv.conf` in the namespace.
    pub fn resolver(&self, host: usize, text: &str) {
        self.configuration(host, "resolv.conf", text);
    }

    /// Sets a file in `/etc`, which must exist outside of the namespace, too.
    pub fn configuration(&self, host: usize, file: &str, text: &str) {
        let directory = self.configuration_directory(host);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), text).unwrap();
    }

    /// Makes an address one that drops every packet that the namespace sends to it.
    pub fn drop_packets(&self, host: usize, address: &str) {
        let nobody = ["lladdr", "02:00:00:00:00:99", "dev", "eth0"];
        self.ip(
            self.name(host),
            &[&["neigh", "add", address][..], &nobody].concat(),
        );
    }

    fn configuration_directory(&self, host: usize) -> PathBuf {
        PathBuf::from("/etc/netns").join(self.name(host))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 0..self.names.len() {
            // A namespace that cannot be removed does no harm.
            let _ = Command::new("ip")
                .args(["netns", "del", self.name(host)])
                .output();
            let _ = fs::remove_dir_all(self.configuration_directory(host));
        }
    }
}

/// A service in namespace 0, on port 53 of all addresses.
pub fn service_in(network: &Network, zones: &Path, data: &Path) -> Service {
    let mut options = Options::new(zones, data);
    options.namespace = Some(network.name(0));
    options.listen = vec!["0.0.0.0:53".into(), "[::]:53".into()];
    Service::start_with(&options)
}

pub fn dig(network: &Network, host: usize, arguments: &[&str]) -> String {
    network.run(
        host,
        &[&["dig", "+tries=1", "+time=3"][..], arguments].concat(),
    )
}
