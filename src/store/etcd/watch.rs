//! A watch of everything that is stored: each commit comes out once, in order.
//!
//! etcd sends events on a stream, which may fall silent without an error when its
//! connection is dead. So the stream is asked for a sign of life all the time, and one
//! that gives none is replaced by another, on the next member, which continues after the
//! last commit that was received. If that was compacted away, there is no continuing:
//! everything must be read anew.

use std::{pin::Pin, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tonic::{Code, Streaming};
use tracing::debug;

use super::{
    call_error::CallError,
    reading,
    session::Session,
    wire::{KeyValue, WatchAnswer, WatchRequest},
};
use crate::store::{StoreError, replication::Stored};

/// How often the stream is asked for a sign of life, and how long it may be silent.
const PROBE: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_secs(2);

/// How soon a watch that failed is started again.
const RETRY: Duration = Duration::from_millis(200);

/// What a watch has seen.
#[derive(Debug)]
pub enum Seen {
    /// Commits, or parts of one that is stored in several transactions.
    Stored(Stored),
    /// The leader key was written, or removed.
    Leader(Option<KeyValue>),
    /// Another key that is not of a zone was written.
    Other(KeyValue),
}

/// Why a watch has ended.
#[derive(Debug)]
pub enum WatchEnd {
    /// What follows the last commit was compacted away, or is too much for one message.
    Compacted,
    /// The key of the last commit was removed, and with it perhaps everything.
    Emptied,
    Failed(StoreError),
}

/// A watch of all keys below the prefix.
pub struct Watch<'s> {
    session: &'s Session,
    /// The first revision that was not received.
    next: i64,
    stream: Option<Stream>,
    /// What was received and not returned yet, last first.
    waiting: Vec<Seen>,
}

struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    answers: Pin<Box<Streaming<WatchAnswer>>>,
    /// When the last message came.
    heard: Instant,
}

impl<'s> Watch<'s> {
    /// A watch that starts after a revision. It connects when it is first waited for.
    pub fn after(session: &'s Session, revision: i64) -> Self {
        Self {
            session,
            next: revision + 1,
            stream: None,
            waiting: Vec::new(),
        }
    }

    /// Waits for what is stored next. This can be dropped and called again.
    pub async fn next(&mut self) -> Result<Seen, WatchEnd> {
        loop {
            if let Some(seen) = self.waiting.pop() {
                return Ok(seen);
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await;
                continue;
            };
            let probe = Instant::now() + PROBE;
            match timeout_at(probe, stream.answers.message()).await {
                Ok(Ok(Some(answer))) if answer.canceled && answer.compact_revision == 0 => {
                    self.leave(&answer.cancel_reason).await;
                }
                Ok(Ok(Some(answer))) => {
                    stream.heard = Instant::now();
                    self.receive(answer)?;
                }
                // A message that is larger than what is accepted.
                Ok(Err(status)) if status.code() == Code::OutOfRange => {
                    self.stream = None;
                    return Err(WatchEnd::Compacted);
                }
                Ok(Ok(None)) => self.leave("etcd has ended it").await,
                Ok(Err(status)) => self.leave(status.message()).await,
                Err(_) if stream.heard.elapsed() > SILENCE => self.leave("it is silent").await,
                // If this fails, the stream will be silent.
                Err(_) => drop(stream.requests.try_send(WatchRequest::progress())),
            }
        }
    }

    async fn connect(&mut self) {
        let create = WatchRequest::create(self.session.keys.all(), self.next);
        let (requests, receiver) = mpsc::channel(4);
        // The channel is empty.
        let _ = requests.try_send(create);
        match self.session.connection.watch(receiver, SILENCE).await {
            Ok(answers) => {
                self.stream = Some(Stream {
                    requests,
                    answers: Box::pin(answers),
                    heard: Instant::now(),
                });
            }
            Err(error) => {
                debug!("the watch cannot start: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn leave(&mut self, reason: &str) {
        debug!("the watch is started again: {reason}");
        self.stream = None;
        self.session.connection.leave_current();
        tokio::time::sleep(RETRY).await;
    }

    fn receive(&mut self, answer: WatchAnswer) -> Result<(), WatchEnd> {
        let checked = self.session.connection.check_cluster(&answer);
        if let Err(error @ CallError::OtherCluster(_)) = checked {
            let error = self.session.failed(error, Session::unreachable);
            return Err(WatchEnd::Failed(error));
        }
        if answer.compact_revision > 0 {
            self.stream = None;
            return Err(WatchEnd::Compacted);
        }
        let mut seen = Vec::new();
        let mut stored = Stored::default();
        for event in answer.events {
            let is_removed = event.is_deletion();
            let Some(pair) = event.kv else {
                continue;
            };
            // Each transaction by itself: the last one may be part of a commit.
            if pair.mod_revision >= self.next {
                seen.extend(take(&mut stored));
                self.next = pair.mod_revision + 1;
            }
            let keys = &self.session.keys;
            if pair.key == keys.commit() && is_removed {
                // Received again unless everything is read anew.
                self.next = pair.mod_revision;
                self.stream = None;
                return Err(WatchEnd::Emptied);
            }
            if pair.key == keys.leader() {
                seen.push(Seen::Leader((!is_removed).then_some(pair)));
            } else if pair.key == keys.cookies() {
                seen.push(Seen::Other(pair));
            } else {
                let added = reading::add(self.session, &mut stored, &pair, is_removed);
                added.map_err(WatchEnd::Failed)?;
            }
        }
        seen.extend(take(&mut stored));
        seen.reverse();
        self.waiting = seen;
        Ok(())
    }
}

/// What was collected, if there is anything.
fn take(stored: &mut Stored) -> Option<Seen> {
    let stored = std::mem::take(stored);
    (stored != Stored::default()).then_some(Seen::Stored(stored))
}
