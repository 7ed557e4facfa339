//! Reads everything that is stored, as of one revision, in pages.
//!
//! The first page is read linearizably: it has every commit that was acknowledged
//! before. The other pages are read as of its revision.

use super::{
    call_error::CallError,
    election::CALL,
    reading,
    session::Session,
    wire::{Range, after_prefix, revision},
};
use crate::store::{StoreError, replication::Stored};

/// How many keys a page has: blocks take up to 10 kB each.
const PAGE: i64 = 500;

/// How often everything is read anew when its revision was compacted meanwhile.
const ATTEMPTS: u32 = 5;

/// Everything that is stored, and the revision as of which it was read.
pub struct Listing {
    pub stored: Stored,
    pub revision: i64,
}

/// Reads everything; `None` in the middle of a commit, of which nobody may see a part.
pub async fn all(session: &Session) -> Result<Option<Listing>, StoreError> {
    let listing = below(session, session.keys.all()).await?;
    Ok((!listing.stored.is_open).then_some(listing))
}

/// Reads all zones, even in the middle of a commit.
pub async fn zones(session: &Session) -> Result<Stored, StoreError> {
    Ok(below(session, session.keys.zones()).await?.stored)
}

/// Reads one zone, and the number of the last commit.
pub async fn zone(session: &Session, origin: &str) -> Result<Stored, StoreError> {
    let mut stored = below(session, session.keys.zone(origin)).await?.stored;
    let commit = Range::key(session.keys.commit());
    let found = session.connection.ask(&commit, CALL).await;
    let found = found.map_err(|error| session.failed(error, Session::unreachable))?;
    for pair in &found.kvs {
        reading::add(session, &mut stored, pair, false)?;
    }
    Ok(stored)
}

async fn below(session: &Session, prefix: Vec<u8>) -> Result<Listing, StoreError> {
    let mut attempt = 1;
    loop {
        match read(session, &prefix).await {
            // etcd was compacted between two pages.
            Err(Failure::Call(CallError::Refused(_))) if attempt < ATTEMPTS => attempt += 1,
            Err(Failure::Call(error)) => {
                return Err(session.failed(error, Session::unreachable));
            }
            Err(Failure::Store(error)) => return Err(error),
            Ok(listing) => return Ok(listing),
        }
    }
}

enum Failure {
    Call(CallError),
    Store(StoreError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn read(session: &Session, prefix: &[u8]) -> Result<Listing, Failure> {
    let mut range = Range::prefix(prefix.to_vec(), PAGE);
    let mut stored = Stored::default();
    loop {
        let page = session.connection.ask(&range, CALL).await?;
        if range.revision == 0 {
            range.revision = revision(&page);
        }
        for pair in &page.kvs {
            reading::add(session, &mut stored, pair, false)?;
        }
        // In the middle of a commit, nobody wants the rest.
        let has_more = page.more && !stored.is_open;
        let Some(last) = page.kvs.last().filter(|_| has_more) else {
            let revision = range.revision;
            return Ok(Listing { stored, revision });
        };
        // The next key.
        range.key = [&*last.key, b"\0"].concat();
        range.range_end = after_prefix(prefix);
    }
}
