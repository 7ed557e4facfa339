//! Whether changes can be stored now, as the registry's thread publishes it.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether changes can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writability {
    Writable,
    /// The last commit failed.
    StoreFails,
    /// This replica has no contact with the writer, or none is elected.
    NoWriter,
}

/// The published value.
#[derive(Debug)]
pub struct WritabilityCell(AtomicU8);

impl WritabilityCell {
    pub(super) fn new(first: Writability) -> Self {
        Self(AtomicU8::new(first as u8))
    }

    pub(super) fn set(&self, value: Writability) {
        self.0.store(value as u8, Ordering::Relaxed);
    }

    pub fn get(&self) -> Writability {
        [Writability::Writable, Writability::StoreFails]
            .into_iter()
            .find(|value| *value as u8 == self.0.load(Ordering::Relaxed))
            .unwrap_or(Writability::NoWriter)
    }
}
