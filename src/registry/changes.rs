//! The log of changes.

use std::sync::Arc;

use tracing::{debug, info};

use super::PublishedZone;
use crate::network::Change;

/// The maximum number of changes of one commit that have a line each in the log.
const MAX_LOGGED_CHANGES: usize = 16;

/// Logs each change, or only their number if there are many.
pub(super) fn log(zones: &[Arc<PublishedZone>], changes: &[(usize, Change)]) {
    if changes.len() > MAX_LOGGED_CHANGES {
        info!(
            "{} changes at once (use --log debug to log each)",
            changes.len()
        );
    }
    for (place, change) in changes {
        let zone = &zones[*place].zone;
        let line = || match change {
            Change::Put(peer) => format!(
                "zone {zone}: {} is {} at {}",
                peer.host,
                zone.rules.id_text(peer.id),
                peer.holder.address
            ),
            Change::Delete(host, id) => {
                format!(
                    "zone {zone}: {} released from {host}",
                    zone.rules.id_text(*id)
                )
            }
            Change::Pin(host, id) => {
                format!("zone {zone}: {} pinned to {host}", zone.rules.id_text(*id))
            }
            Change::Unpin(host) => format!("zone {zone}: pin of {host} removed"),
        };
        if changes.len() > MAX_LOGGED_CHANGES {
            debug!("{}", line());
        } else {
            info!("{}", line());
        }
    }
}
