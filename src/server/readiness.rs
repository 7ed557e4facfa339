//! Whether the service can register peers.

use crate::{
    clock::{Clock, MAX_BREAK},
    registry::{Registry, Writability},
};

/// What decides whether the service can register peers.
#[derive(Clone)]
pub struct Readiness {
    pub registry: Registry,
    pub clock: Clock,
}

impl Readiness {
    /// Fails with the reason if a part of the service has been stalled, which then
    /// answers no queries.
    pub fn check_alive(&self) -> Result<(), String> {
        let moment = self.clock.moment();
        if moment.heard_since == moment.now {
            return Err(format!(
                "a part of the service has been stalled for more than {MAX_BREAK:?}"
            ));
        }
        Ok(())
    }

    /// Fails with the reason if the service cannot register peers now: it is stalled,
    /// its store cannot write, or it has no contact with the replica that writes.
    pub fn check_ready(&self) -> Result<(), String> {
        self.check_alive()?;
        if self.registry.zones().is_empty() {
            return Err("there are no zones".to_owned());
        }
        match self.registry.writability() {
            Writability::Writable => Ok(()),
            Writability::StoreFails => Err("the service cannot write to its store".to_owned()),
            Writability::NoWriter => {
                Err("this replica has no contact with the writer, or none is elected".to_owned())
            }
        }
    }
}
