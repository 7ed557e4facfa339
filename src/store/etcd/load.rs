//! Reads everything that is stored, as of one revision, in pages.
//!
//! The first page is read linearizably: it has every commit that was acknowledged
//! before. The other pages are read as of its revision.

use super::{
    call_error::CallError,
    connection::CALL,
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
    let found = session.ask(&Range::key(session.keys.commit())).await?;
    for pair in &found.kvs {
        reading::add(session, &mut stored, pair, false)?;
    }
    Ok(stored)
}

async fn below(session: &Session, prefix: Vec<u8>) -> Result<Listing, StoreError> {
    let first = Range::prefix(prefix.clone(), PAGE);
    let (mut range, mut stored) = (first.clone(), Stored::default());
    let mut attempts = 1;
    loop {
        let page = match session.connection.ask(&range, CALL).await {
            // etcd was compacted between two pages.
            Err(CallError::Refused(_)) if range.revision > 0 && attempts < ATTEMPTS => {
                attempts += 1;
                (range, stored) = (first.clone(), Stored::default());
                continue;
            }
            page => page.map_err(|error| session.failed(error, Session::unreachable))?,
        };
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
        range.range_end = after_prefix(&prefix);
    }
}
