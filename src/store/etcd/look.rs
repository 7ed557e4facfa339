//! Reads what is stored without a data directory, for commands.

use std::collections::BTreeMap;

use super::{
    Settings, Worker, connection::Connection, keys::Keys, load, reading, session::Session,
};
use crate::{
    clock::Clock,
    store::{Contents, StoreError},
};

/// Everything that is stored, by origin. Also while replicas are running.
pub fn look(settings: &Settings) -> Result<BTreeMap<String, Contents>, StoreError> {
    let access = settings.access.clone();
    let keys = Keys::new(&settings.prefix);
    let name = format!("etcd://{}", access.members.join(","));
    let unreachable = |reason: String| StoreError::Unreachable {
        store: name.clone(),
        reason,
    };
    let worker = Worker::start().map_err(|error| unreachable(error.to_string()))?;
    let store = name.clone();
    let read = worker.handle().run(async move {
        let session = Session {
            connection: Connection::new(&access).map_err(|reason| StoreError::Unreachable {
                store: store.clone(),
                reason,
            })?,
            keys,
            name: store,
            clock: Clock::start(),
        };
        load::zones(&session).await
    });
    let stored = read.map_err(|ended| unreachable(ended.to_string()))??;
    let zones = stored.zones.into_iter();
    let zones = zones.map(|(origin, zone)| (origin, reading::contents(stored.commit, zone)));
    Ok(zones.collect())
}
