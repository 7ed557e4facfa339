//! Members of etcd, started by a test.

use std::{
    fs::{File, read_to_string},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::common::{attempt, eventually, signal};

/// A cluster of etcd. Its members are killed when it is dropped.
pub struct Cluster {
    members: Vec<Member>,
    /// Further arguments of each member.
    more: Vec<String>,
    /// Further arguments of `etcdctl`.
    pub client: Vec<String>,
    scheme: &'static str,
    directory: TempDir,
    /// What tells the cluster from others with the same addresses.
    token: String,
}

struct Member {
    port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl Cluster {
    /// Starts this many members.
    pub fn start(members: usize) -> Self {
        Self::start_with(members, &[], &[], "http")
    }

    /// Starts members with further arguments. The second list is for `etcdctl`.
    pub fn start_with(
        members: usize,
        more: &[&str],
        client: &[&str],
        scheme: &'static str,
    ) -> Self {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        let mut ports = free_ports(2 * members).into_iter();
        let mut next = || ports.next().unwrap();
        let members = (0..members).map(|_| Member {
            port: next(),
            peer_port: next(),
            child: None,
        });
        let mut cluster = Self {
            members: members.collect(),
            more: owned(more),
            client: owned(client),
            scheme,
            directory: tempfile::tempdir().unwrap(),
            token: "paramd".to_owned(),
        };
        for place in 0..cluster.members.len() {
            cluster.start_member(place);
        }
        cluster.wait();
        cluster
    }

    /// `etcd://127.0.0.1:PORT,…`.
    pub fn store(&self) -> String {
        format!("etcd://{}", self.addresses().join(","))
    }

    /// `127.0.0.1:PORT` of each member.
    pub fn addresses(&self) -> Vec<String> {
        let members = self.members.iter();
        members
            .map(|member| format!("127.0.0.1:{}", member.port))
            .collect()
    }

    /// Waits until the cluster commits.
    pub fn wait(&self) {
        let answers = || self.try_ctl(&["put", "/test", "1"]).status.success();
        eventually(Duration::from_secs(30), "etcd commits", answers);
    }

    /// Starts a member, anew or with its data.
    pub fn start_member(&mut self, place: usize) {
        self.start_member_in(place, "new");
    }

    /// Replaces a member whose data is lost by one at the same addresses: it is removed,
    /// and the other is added as a learner and promoted.
    pub fn replace_member(&mut self, place: usize) {
        let name = format!("member-{place}");
        let id = |cluster: &Self, of: &str| {
            let members = cluster.ctl(&["member", "list"]);
            let line = members.lines().find(|line| line.contains(of));
            let line = line.unwrap_or_else(|| panic!("{of} in {members}"));
            line.split(',').next().unwrap().to_owned()
        };
        self.kill_member(place);
        std::fs::remove_dir_all(self.data_of(place)).unwrap();
        self.wait();
        let lost = id(self, &name);
        let within = Duration::from_secs(30);
        eventually(within, "the lost member is removed", || {
            self.try_ctl(&["member", "remove", &lost]).status.success()
        });
        let peer = format!("http://127.0.0.1:{}", self.members[place].peer_port);
        let urls = format!("--peer-urls={peer}");
        eventually(within, "the learner is added", || {
            let added = self.try_ctl(&["member", "add", &name, "--learner", &urls]);
            added.status.success()
        });
        self.start_member_in(place, "existing");
        let learner = id(self, &peer);
        eventually(within, "the learner is promoted", || {
            let promoted = self.try_ctl(&["member", "promote", &learner]);
            promoted.status.success()
        });
    }

    fn start_member_in(&mut self, place: usize, state: &str) {
        let name = |place: usize| format!("member-{place}");
        let members = self.members.iter().enumerate();
        let initial: Vec<String> = members
            .map(|(place, it)| format!("{}=http://127.0.0.1:{}", name(place), it.peer_port))
            .collect();
        let member = &self.members[place];
        let client = format!("{}://127.0.0.1:{}", self.scheme, member.port);
        let peer = format!("http://127.0.0.1:{}", member.peer_port);
        let log = File::create(self.log_of(place)).unwrap();
        let child = Command::new("etcd")
            .args(["--name", &name(place)])
            .arg("--data-dir")
            .arg(self.data_of(place))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-token", &self.token])
            .args(["--initial-cluster-state", state])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("etcd cannot be run ({error}): see scripts/test"));
        self.members[place].child = Some(child);
    }

    /// What a member has logged.
    pub fn log(&self, place: usize) -> String {
        read_to_string(self.log_of(place)).unwrap()
    }

    /// Kills a member.
    pub fn kill_member(&mut self, place: usize) {
        if let Some(mut child) = self.members[place].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal to a member.
    pub fn signal_member(&self, place: usize, name: &str) {
        signal(self.members[place].child.as_ref().unwrap().id(), name);
    }

    /// Replaces the data of the only member by that of a snapshot.
    pub fn restore(&mut self, snapshot: &Path, token: &str) {
        self.kill_member(0);
        self.token = token.to_owned();
        std::fs::remove_dir_all(self.data_of(0)).unwrap();
        let peer = format!("http://127.0.0.1:{}", self.members[0].peer_port);
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore", snapshot.to_str().unwrap()])
            .args(["--name", "member-0", "--initial-cluster-token", token])
            .args(["--initial-cluster", &format!("member-0={peer}")])
            .args(["--initial-advertise-peer-urls", &peer])
            .arg("--data-dir")
            .arg(self.data_of(0))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        self.start_member(0);
        self.wait();
    }

    /// Runs `etcdctl`, which must succeed. Returns its output.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.try_ctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn try_ctl(&self, arguments: &[&str]) -> Output {
        let members = self.addresses().into_iter();
        let endpoints: Vec<String> = members
            .map(|address| format!("{}://{address}", self.scheme))
            .collect();
        let endpoints = format!("--endpoints={}", endpoints.join(","));
        let client = self.client.iter().map(String::as_str);
        let mut all = vec!["ETCDCTL_API=3", "etcdctl", &endpoints];
        all.extend(client);
        all.extend(["--command-timeout=2s", "--dial-timeout=1s"]);
        all.extend(arguments);
        attempt("env", &all)
    }

    /// Writes keys in one transaction.
    pub fn transact(&self, puts: &[(&str, &str)]) {
        let puts = puts
            .iter()
            .map(|(key, value)| format!("put {key} {value:?}\n"));
        let text = format!("\n{}\n\n", puts.collect::<String>());
        let path = self.path("transaction");
        std::fs::write(&path, text).unwrap();
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.addresses().join(",")))
            .arg("txn")
            .stdin(File::open(path).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The keys and values of all that is stored.
    pub fn stored(&self) -> String {
        self.ctl(&["get", "--prefix", "/paramd/1/zones/"])
    }

    /// A path in the directory of the cluster.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log_of(&self, place: usize) -> PathBuf {
        self.path(&format!("{place}.log"))
    }

    fn data_of(&self, place: usize) -> PathBuf {
        self.path(&format!("data-{place}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for place in 0..self.members.len() {
            self.kill_member(place);
        }
    }
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let bound = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let bound: Vec<TcpListener> = bound.collect();
    bound
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}
