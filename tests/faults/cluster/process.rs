//! A process in a namespace, under a supervisor that starts it again when it ends.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::signal;

/// How long the supervisor waits before it starts a process again.
const PAUSE: Duration = Duration::from_millis(500);

pub struct Process {
    pub name: String,
    namespace: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
    /// When it ended by itself; the supervisor starts it again a while later.
    ended: Option<Instant>,
    /// Whether a fault keeps the supervisor from starting it.
    is_held: bool,
}

impl Process {
    /// A process that is not running yet. Its output is appended to the log.
    pub fn new(
        name: String,
        namespace: &str,
        program: impl Into<PathBuf>,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> Self {
        Self {
            name,
            namespace: namespace.to_owned(),
            program: program.into(),
            arguments,
            environment: Vec::new(),
            log,
            child: None,
            ended: None,
            is_held: false,
        }
    }

    pub fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it, unless it is running. It ends with the thread that started it,
    /// however that ends.
    pub fn start(&mut self) {
        if self.child.is_some() {
            return;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .args(["setpriv", "--pdeathsig", "KILL", "env"])
            .args(
                self.environment
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            )
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.ended = None;
        self.is_held = false;
    }

    /// Sends a signal, if it is running.
    pub fn signal(&mut self, name: &str) {
        if let Some(child) = &mut self.child
            && child.try_wait().unwrap().is_none()
        {
            signal(child.id(), name);
        }
    }

    /// Kills it, and keeps it down until it is started.
    pub fn hold_down(&mut self) {
        self.is_held = true;
        self.kill();
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again if it ended by itself. Returns how it ended.
    pub fn supervise(&mut self) -> Option<String> {
        if self.is_held {
            return None;
        }
        let Some(child) = &mut self.child else {
            if self.ended.is_none_or(|ended| ended.elapsed() > PAUSE) {
                self.start();
            }
            return None;
        };
        let status = child.try_wait().unwrap()?;
        self.child = None;
        self.ended = Some(Instant::now());
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let last = log.lines().last().unwrap_or_default();
        Some(format!("{} ended by itself, {how}: {last}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
