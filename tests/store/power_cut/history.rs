//! What a program did to the files below a directory, and what it told the world,
//! as events in order.
//!
//! Files and directories are nodes with numbers; node 0 is the directory itself,
//! which represents the root of a file system. An unknown call on files is a
//! panic, since the model could not account for it.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Component, Path, PathBuf},
};

use super::{
    base::Base,
    descriptors::Descriptors,
    strace::{self, Call},
};

/// The directory whose files are traced, as in the traces.
pub const LIVE: &str = "/live";

pub type Node = usize;

pub const ROOT: Node = 0;

/// A change of a file's data or its length.
#[derive(Debug, Clone)]
pub enum Change {
    Write { at: u64, octets: Vec<u8> },
    Length(u64),
}

/// A name in a directory refers to a node, or to none any more.
#[derive(Debug, Clone)]
pub struct Naming {
    pub directory: Node,
    pub name: String,
    pub node: Option<Node>,
}

#[derive(Debug, Clone)]
pub enum What {
    Change(Node, Change),
    /// The effect of one call on names, of which `subject` is the node. It is
    /// atomic.
    Name {
        subject: Node,
        namings: Vec<Naming>,
    },
    Sync {
        node: Node,
        /// fdatasync: of the file's names, it only affects the first.
        data_only: bool,
        succeeds: bool,
    },
    /// A datagram, or a write to standard output.
    Told(Vec<u8>),
}

#[derive(Debug, Clone)]
pub struct Event {
    /// The lines at which the call began and ended. A call that never ended may
    /// have had its effect.
    pub begin: usize,
    pub end: usize,
    pub what: What,
}

#[derive(Debug)]
pub struct History {
    pub base: Base,
    pub events: Vec<Event>,
    /// The end of the last trace.
    pub length: usize,
    /// The names as the program sees them.
    names: BTreeMap<Node, BTreeMap<String, Node>>,
    lengths: BTreeMap<Node, u64>,
}

impl History {
    /// Initially, the directory [`LIVE`] has these contents.
    pub fn new(base: Base) -> Self {
        let lengths = base.files.iter();
        let mut names = base.directories.clone();
        // A directory that a failure has left empty has no names.
        for node in base.directories.values().flat_map(BTreeMap::values) {
            if !base.files.contains_key(node) {
                names.entry(*node).or_default();
            }
        }
        Self {
            lengths: lengths.map(|(node, it)| (*node, it.len() as u64)).collect(),
            names,
            base,
            events: Vec::new(),
            length: 0,
        }
    }

    /// Continues with another process, after the previous one has ended.
    pub fn add(&mut self, trace: &str) {
        let offset = self.length;
        let mut descriptors = Descriptors::default();
        for mut call in strace::calls(trace) {
            call.begin += offset;
            call.end = call.end.saturating_add(offset);
            self.take(&call, &mut descriptors);
        }
        self.length += trace.lines().count();
    }

    /// All lines of all traces.
    pub fn lines(&self) -> Range<usize> {
        0..self.length + 1
    }

    /// The lines before the world is told anything.
    pub fn silence(&self) -> Range<usize> {
        let told = |event: &&Event| matches!(event.what, What::Told(_));
        0..self
            .events
            .iter()
            .find(told)
            .map_or(self.length, |it| it.begin)
    }

    pub fn failed_syncs(&self) -> usize {
        let failed = |event: &&Event| {
            matches!(
                event.what,
                What::Sync {
                    succeeds: false,
                    ..
                }
            )
        };
        self.events.iter().filter(failed).count()
    }

    /// All files that have ever existed.
    pub fn files(&self) -> impl Iterator<Item = Node> {
        self.lengths.keys().copied()
    }

    fn take(&mut self, call: &Call, descriptors: &mut Descriptors) {
        // An interrupted call may have happened, but has returned nothing.
        let may_have_happened = call.succeeded() || call.result.is_none();
        match call.name.as_str() {
            "fsync" | "fdatasync" => {
                if let Some(open) = descriptors.get(call.descriptor(0).0) {
                    let sync = What::Sync {
                        node: open.node,
                        data_only: call.name == "fdatasync",
                        succeeds: call.succeeded(),
                    };
                    // An interrupted call has made nothing durable.
                    if call.result.is_some() {
                        self.event(call, sync);
                    }
                }
            }
            "sendto" | "sendmsg" | "sendmmsg" if may_have_happened => self.sent(call),
            // It makes nothing durable.
            "sync_file_range" => {}
            _ if !may_have_happened => {}
            "openat" => self.opened(call, descriptors),
            "close" => descriptors.close(call.descriptor(0).0),
            "dup" | "dup2" | "dup3" => descriptors.copy(call),
            "fcntl" if call.arguments[1].starts_with("F_DUPFD") => descriptors.copy(call),
            "lseek" | "read" | "readv" => descriptors.advance(call),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
                self.written(call, descriptors);
            }
            "ftruncate" | "fallocate" => self.resized(call, descriptors),
            "mkdir" | "mkdirat" => self.made(call),
            "rename" | "renameat" | "renameat2" => self.renamed(call),
            "unlink" | "unlinkat" | "rmdir" => self.removed(call),
            "execve" | "fcntl" => {}
            "mmap" => {
                let shared = call.has_flag(3, "MAP_SHARED") && call.has_flag(2, "PROT_WRITE");
                let open = descriptors.get(call.descriptor(4).0);
                assert!(
                    !shared || open.is_none(),
                    "a file is written through memory"
                );
            }
            // Other calls do no harm to files elsewhere.
            _ => {
                let mut all = call.arguments.iter();
                let concerns = |it: &String| {
                    let path = strace::octets_in(it);
                    String::from_utf8_lossy(&path).starts_with(LIVE)
                        || descriptors.get(strace::descriptor(it).0).is_some()
                };
                assert!(!all.any(concerns), "not in the model: {call:?}");
            }
        }
    }

    fn event(&mut self, call: &Call, what: What) {
        let (begin, end) = (call.begin, call.end);
        self.events.push(Event { begin, end, what });
    }

    fn sent(&mut self, call: &Call) {
        for datagram in call.arguments[1..].join(",").split("iov_base=").skip(1) {
            let quoted = datagram.split('"').nth(1).unwrap_or("");
            let octets = strace::octets_in(&format!("\"{quoted}\""));
            self.event(call, What::Told(octets));
        }
    }

    fn opened(&mut self, call: &Call, descriptors: &mut Descriptors) {
        let path = self.path(call, 0, 1);
        let Some((directory, name)) = self.place(&path) else {
            return;
        };
        let node = match self.names[&directory].get(&name) {
            _ if name == "." => directory,
            Some(node) => *node,
            None if call.has_flag(2, "O_CREAT") => {
                let node = self.new_node();
                self.lengths.insert(node, 0);
                self.name(call, node, vec![(directory, name, Some(node))]);
                node
            }
            None if call.result.is_none() => return,
            None => panic!("a file that nobody made: {}", path.display()),
        };
        if call.has_flag(2, "O_TRUNC") && self.lengths.get(&node).is_some_and(|it| *it > 0) {
            self.lengths.insert(node, 0);
            self.event(call, What::Change(node, Change::Length(0)));
        }
        if let Some(number) = call.result {
            let appends = call.has_flag(2, "O_APPEND");
            descriptors.insert(number, node, appends);
        }
    }

    fn written(&mut self, call: &Call, descriptors: &mut Descriptors) {
        let (number, _) = call.descriptor(0);
        let mut octets = call.octets(1);
        if let Some(written) = call.result {
            octets.truncate(written as usize);
        }
        let Some(open) = descriptors.get_mut(number) else {
            if number == 1 {
                self.event(call, What::Told(octets));
            }
            return;
        };
        let length = self.lengths[&open.node];
        let at = match call.name.starts_with('p') {
            true => call.number(3) as u64,
            false => {
                let at = if open.appends { length } else { open.position };
                open.position = at + octets.len() as u64;
                at
            }
        };
        let node = open.node;
        self.lengths
            .insert(node, length.max(at + octets.len() as u64));
        self.event(call, What::Change(node, Change::Write { at, octets }));
    }

    fn resized(&mut self, call: &Call, descriptors: &Descriptors) {
        let Some(open) = descriptors.get(call.descriptor(0).0) else {
            return;
        };
        let node = open.node;
        let length = match call.name.as_str() {
            "ftruncate" => call.number(1) as u64,
            _ if call.arguments[1] == "0" => {
                self.lengths[&node].max((call.number(2) + call.number(3)) as u64)
            }
            _ => panic!("not in the model: {call:?}"),
        };
        self.lengths.insert(node, length);
        self.event(call, What::Change(node, Change::Length(length)));
    }

    fn made(&mut self, call: &Call) {
        let path = match call.name.as_str() {
            "mkdir" => self.path(call, usize::MAX, 0),
            _ => self.path(call, 0, 1),
        };
        let Some((directory, name)) = self.place(&path) else {
            return;
        };
        let node = self.new_node();
        self.names.insert(node, BTreeMap::new());
        self.name(call, node, vec![(directory, name, Some(node))]);
    }

    fn renamed(&mut self, call: &Call) {
        let (from, to) = match call.name.as_str() {
            "rename" => (
                self.path(call, usize::MAX, 0),
                self.path(call, usize::MAX, 1),
            ),
            _ => (self.path(call, 0, 1), self.path(call, 2, 3)),
        };
        let (Some(from), Some(to)) = (self.place(&from), self.place(&to)) else {
            return;
        };
        let node = self.names[&from.0][&from.1];
        let other = match call.name == "renameat2" && call.has_flag(4, "RENAME_EXCHANGE") {
            true => Some(self.names[&to.0][&to.1]),
            false => None,
        };
        let namings = vec![(from.0, from.1, other), (to.0, to.1, Some(node))];
        self.name(call, node, namings);
    }

    fn removed(&mut self, call: &Call) {
        let path = match call.name.as_str() {
            "unlinkat" => self.path(call, 0, 1),
            _ => self.path(call, usize::MAX, 0),
        };
        if let Some((directory, name)) = self.place(&path)
            // The name of a socket is one that nobody has opened.
            && let Some(node) = self.names[&directory].get(&name).copied()
        {
            self.name(call, node, vec![(directory, name, None)]);
        }
    }

    fn name(&mut self, call: &Call, subject: Node, namings: Vec<(Node, String, Option<Node>)>) {
        let mut all = Vec::new();
        for (directory, name, node) in namings {
            let names = self.names.get_mut(&directory).expect("a directory");
            match node {
                Some(node) => names.insert(name.clone(), node),
                None => names.remove(&name),
            };
            all.push(Naming {
                directory,
                name,
                node,
            });
        }
        let namings = all;
        self.event(call, What::Name { subject, namings });
    }

    fn new_node(&self) -> Node {
        let files = self.lengths.last_key_value().map_or(0, |(node, _)| *node);
        let directories = self.names.last_key_value().map_or(0, |(node, _)| *node);
        files.max(directories) + 1
    }

    /// The path in an argument, relative to that of the directory's descriptor.
    fn path(&self, call: &Call, directory: usize, place: usize) -> PathBuf {
        let text = |octets: Vec<u8>| String::from_utf8(octets).expect("a path is text");
        let path = PathBuf::from(text(call.octets(place)));
        match call.arguments.get(directory) {
            Some(_) => PathBuf::from(text(call.descriptor(directory).1)).join(path),
            None => path,
        }
    }

    /// The directory and the name of a path below the root.
    fn place(&self, path: &Path) -> Option<(Node, String)> {
        let below = path.strip_prefix(LIVE).ok()?;
        let mut node = ROOT;
        let mut name = ".".to_owned();
        let mut parts = below.components().peekable();
        while let Some(Component::Normal(part)) = parts.next() {
            let part = part.to_string_lossy().into_owned();
            match parts.peek() {
                Some(_) => node = *self.names[&node].get(&part)?,
                None => name = part,
            }
        }
        Some((node, name))
    }
}
