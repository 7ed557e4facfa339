//! A zone while commits are applied to it.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::store::{Contents, Pin, Registration, Write};

/// Each host has one ID, and each ID one host, whichever commits are missing.
#[derive(Default)]
pub struct State {
    /// By sequence and number.
    registrations: BTreeMap<(String, u32), Registration>,
    ids: HashMap<String, (String, u32)>,
    /// By host.
    pins: BTreeMap<String, Pin>,
    pub serial: u64,
}

impl From<Contents> for State {
    fn from(contents: Contents) -> Self {
        let mut state = Self {
            serial: contents.serial,
            ..Self::default()
        };
        for registration in contents.registrations {
            state.put(registration);
        }
        let pins = contents.pins.into_iter();
        state.pins = pins.map(|pin| (pin.host.clone(), pin)).collect();
        state
    }
}

impl State {
    /// Applies a write. A write that was applied before changes nothing, so a
    /// dump may contain some writes after the commit that it names.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Put { registration, .. } => self.put(registration.clone()),
            Write::Delete {
                host,
                sequence,
                number,
                ..
            } => {
                let id = (sequence.clone(), *number);
                if self.ids.get(host) == Some(&id) {
                    self.ids.remove(host);
                    self.registrations.remove(&id);
                }
            }
            Write::Pin { pin, .. } => {
                self.pins.insert(pin.host.clone(), pin.clone());
            }
            Write::Unpin { host, .. } => {
                self.pins.remove(host);
            }
            // Never decreases, whatever the order.
            Write::Serial { serial, .. } => self.serial = self.serial.max(*serial),
        }
    }

    fn put(&mut self, registration: Registration) {
        let id = (registration.sequence.clone(), registration.number);
        let host = registration.host.clone();
        if let Some(before) = self.registrations.insert(id.clone(), registration)
            && before.host != host
        {
            self.ids.remove(&before.host);
        }
        if let Some(before) = self.ids.insert(host, id.clone())
            && before != id
        {
            self.registrations.remove(&before);
        }
    }

    /// Removes the pins that contradict the registrations because commits are
    /// missing, and describes them.
    pub fn settle(&mut self) -> Vec<String> {
        let mut removed = Vec::new();
        let mut seen = HashSet::new();
        self.pins.retain(|host, pin| {
            let id = (pin.sequence.clone(), pin.number);
            let holder = self.registrations.get(&id).map(|it| &it.host);
            let is_own = self.ids.get(host).is_none_or(|own| *own == id);
            let is_free = holder.is_none_or(|holder| holder == host);
            let is_kept = is_own && is_free && seen.insert(id);
            if !is_kept {
                removed.push(format!(
                    "the pin of {}{} to {host}",
                    pin.sequence, pin.number
                ));
            }
            is_kept
        });
        removed
    }

    pub fn into_contents(self) -> Contents {
        Contents {
            registrations: self.registrations.into_values().collect(),
            pins: self.pins.into_values().collect(),
            serial: self.serial,
            ..Contents::default()
        }
    }
}
