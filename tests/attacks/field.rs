//! The service in a container of 128 MB, and the networks around it.
//!
//! The container has no network of Docker's. Its namespace is connected to a bridge,
//! on which everybody has an address of a /24 (of a /56 by IPv6) of their own:
//! limits are counted by network.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{
    common::certificates::Certificates,
    common::namespaces::Network,
    common::{PARAMD, attempt, run, simple_zone},
};

pub const SERVICE: [&str; 2] = ["10.77.1.1", "fd78:0:100::1"];
pub const PEERS: [&str; 4] = ["10.77.20.1", "10.77.20.2", "10.77.20.3", "10.77.20.4"];
pub const GOOD: &str = "10.77.30.1";
/// Four addresses in three networks.
pub const ATTACKERS: [&str; 4] = ["10.77.41.1", "10.77.41.2", "10.77.42.1", "fd78:0:4300::1"];
pub const UPSTREAM: &str = "10.77.50.1";

/// The peers' lease, in seconds.
pub const LEASE: u64 = 30;

/// Where everybody is. The upstream is with the peers.
const AT_PEERS: usize = 1;
const AT_GOOD: usize = 2;
const AT_ATTACKERS: usize = 3;

pub struct Field {
    /// `docker run`.
    running: Child,
    container: String,
    /// The service as the machine sees it.
    process: u32,
    network: Network,
    files: TempDir,
    key: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Field {
    pub fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let container = format!("paramd-attacks-{}-{count}", process::id());
        let files = tempfile::tempdir().unwrap();
        import(&container);
        let key = run("tsig-keygen", &["admin"]);
        configure(files.path(), &key);
        let log = File::create(files.path().join("log")).unwrap();
        let mut running = docker_run(&container, files.path())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = running.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let mut field = Self {
            running,
            container,
            process: 0,
            network: Network::new(3),
            files,
            key,
        };
        assert!(line.contains("paramd answers"), "{}", field.log());
        let process = field.inspect("{{.State.Pid}}");
        field.process = process.parse().unwrap();
        field.compete();
        run("ip", &["netns", "attach", &field.container, &process]);
        field.connect();
        field
    }

    /// Gives the service the niceness of the test, which Docker's daemon has not.
    fn compete(&self) {
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        // The 19th field; the second has blanks perhaps, and ends with a parenthesis.
        let fields = own.rsplit(')').next().unwrap();
        let nice = fields.split_whitespace().nth(16).unwrap();
        for task in fs::read_dir(format!("/proc/{}/task", self.process)).unwrap() {
            let task = task.unwrap().file_name().into_string().unwrap();
            run("renice", &["-n", nice, "-p", &task]);
        }
    }

    fn inspect(&self, format: &str) -> String {
        let arguments = ["inspect", "-f", format, &self.container];
        run("docker", &arguments).trim().to_owned()
    }

    /// Connects the container, and gives everybody their addresses.
    fn connect(&self) {
        let hub = self.network.name(0);
        let port = [
            "-n", hub, "link", "add", "service", "type", "veth", "peer", "eth0", "netns",
        ];
        run("ip", &[&port[..], &[&self.container]].concat());
        let up = ["-n", hub, "link", "set", "service", "master", "br0", "up"];
        run("ip", &up);
        let at = |namespace: &str, addresses: &[&str]| {
            for address in addresses {
                let length = if address.contains(':') { 32 } else { 16 };
                let address = format!("{address}/{length}");
                let add = ["-n", namespace, "address", "add", &address, "dev", "eth0"];
                let more: &[&str] = if length == 32 { &["nodad"] } else { &[] };
                run("ip", &[&add[..], more].concat());
            }
        };
        at(&self.container, &SERVICE);
        let up = ["-n", &self.container, "link", "set", "eth0", "up"];
        run("ip", &up);
        at(self.peers(), &[&PEERS[..], &[UPSTREAM]].concat());
        at(self.good(), &[GOOD]);
        at(self.attackers(), &ATTACKERS);
        // As where packets from the wire may claim to come from loopback.
        for namespace in [&self.container, self.attackers()] {
            let settings = "cd /proc/sys/net/ipv4/conf; for it in all eth0; do \
                            echo 1 >$it/route_localnet; echo 0 >$it/rp_filter; \
                            echo 1 >$it/accept_local; done";
            let command = ["netns", "exec", namespace, "sh", "-c", settings];
            run("ip", &command);
        }
    }

    pub fn peers(&self) -> &str {
        self.network.name(AT_PEERS)
    }

    pub fn good(&self) -> &str {
        self.network.name(AT_GOOD)
    }

    pub fn attackers(&self) -> &str {
        self.network.name(AT_ATTACKERS)
    }

    /// The namespace of the container, whose loopback addresses its health check has.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The key that updates are signed with, as `tsig-keygen` writes it.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap()
    }

    /// In octets.
    pub fn logged(&self) -> u64 {
        fs::metadata(self.files.path().join("log")).unwrap().len()
    }

    /// Whether Docker has the same process still.
    pub fn is_alive(&self) -> bool {
        let format = "{{.State.Running}} {{.State.OOMKilled}}";
        let state = attempt("docker", &["inspect", "-f", format, &self.container]);
        state.stdout == b"true false\n"
    }

    /// Forgets the largest size so far.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process), "5").unwrap();
    }

    /// The largest resident size since that was forgotten, in kB.
    pub fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let peak = line.unwrap().split_whitespace().nth(1).unwrap();
        peak.parse().unwrap()
    }

    /// What the kernel holds for the service's TCP sockets, those among them that the
    /// service has closed, in kB. With version 2 of control groups it counts as the
    /// container's.
    pub fn socket_memory(&self) -> u64 {
        let arguments = ["netns", "exec", &self.container, "ss", "-Htanm"];
        let sockets = run("ip", &arguments);
        let fields = sockets.split("skmem:(").skip(1).flat_map(|socket| {
            let fields = socket.split(')').next().unwrap();
            fields.split(',').filter_map(|field| {
                // Received, to be sent, and what is allocated for more.
                let digits = field.strip_prefix(['r', 'w', 'f'])?;
                digits.parse::<u64>().ok()
            })
        });
        fields.sum::<u64>() >> 10
    }

    /// The health check, in the container as Docker runs it.
    pub fn health(&self) -> Result<(), String> {
        let output = Command::new("docker")
            .args(["exec", &self.container, "/paramd", "health"])
            .args(["--data", "/data/store"])
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        let quietly = |program: &str, arguments: &[&str]| {
            // Nothing to do about what is left.
            let _ = Command::new(program).args(arguments).output();
        };
        quietly("docker", &["rm", "-f", &self.container]);
        let _ = self.running.wait();
        quietly("docker", &["rmi", &self.container]);
        quietly("ip", &["netns", "del", &self.container]);
    }
}

/// Makes an image of the binary and the libraries that it needs.
fn import(image: &str) {
    let root = tempfile::tempdir().unwrap();
    let binary = root.path().join("paramd");
    run("strip", &["-o", binary.to_str().unwrap(), PARAMD]);
    let libraries = run("ldd", &[PARAMD]);
    for library in libraries.split_whitespace() {
        if let Some(path) = library.strip_prefix('/') {
            let copy = root.path().join(path);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
        }
    }
    let mut tar = Command::new("tar")
        .args(["-c", "-C", root.path().to_str().unwrap(), "."])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let imported = Command::new("docker")
        .args(["import", "-", image])
        .stdin(tar.stdout.take().unwrap())
        .output()
        .unwrap_or_else(|error| panic!("docker cannot be run ({error}): see scripts/test"));
    let said = String::from_utf8_lossy(&imported.stderr);
    assert!(imported.status.success(), "no Docker Engine: {said}");
    assert!(tar.wait().unwrap().success());
}

/// Zones, keys, certificates and the data directory.
fn configure(files: &Path, key: &str) {
    for name in ["zones", "store"] {
        fs::create_dir(files.join(name)).unwrap();
    }
    let zone = simple_zone(&format!("lease = \"{LEASE}s\""), "");
    fs::write(files.join("zones/t.toml"), zone).unwrap();
    fs::write(files.join("admin.key"), key).unwrap();
    let certificates = Certificates::new();
    certificates.authority("ours");
    certificates.issue("server", "ours", "paramd.test.internal");
    for name in ["server.pem", "server.key"] {
        fs::copy(certificates.file(name), files.join(name)).unwrap();
    }
    let config = "[keys]\nfiles = [\"admin.key\"]\n[access]\nupdate = [\"key:admin\"]\n\
                  [tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";
    fs::write(files.join("paramd.toml"), config).unwrap();
}

fn docker_run(container: &str, files: &Path) -> Command {
    let mut command = Command::new("docker");
    let volume = format!("{}:/data", files.display());
    command
        .args(["run", "--rm", "--name", container, "--network", "none"])
        .args(["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"])
        .args(["--sysctl", "net.ipv6.conf.default.disable_ipv6=0"])
        .args(["--memory", "128m", "--memory-swap", "128m"])
        .args(["--log-driver", "none", "-v", &volume, container])
        .args(["/paramd", "serve", "--config", "/data/paramd.toml"])
        .args(["--zones", "/data/zones", "--data", "/data/store"])
        .args(["--forward", UPSTREAM]);
    command
}

/// The address of the service that the client can reach.
pub fn service_for(client: IpAddr, port: u16) -> SocketAddr {
    let place = usize::from(client.is_ipv6());
    let address: IpAddr = match client.is_loopback() {
        true => client,
        false => SERVICE[place].parse().unwrap(),
    };
    SocketAddr::new(address, port)
}
