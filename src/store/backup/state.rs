//! A zone while commits are applied to it.

use std::collections::{BTreeMap, HashMap};

use crate::store::{Contents, Pin, Registration, journal::Entry};

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
    pub fn apply(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Put(registration) => self.put(registration.clone().into_owned()),
            Entry::Delete {
                host,
                sequence,
                number,
            } => {
                let id = (sequence.clone().into_owned(), *number);
                if self.ids.get(&**host) == Some(&id) {
                    self.ids.remove(&**host);
                    self.registrations.remove(&id);
                }
            }
            Entry::Pin(pin) => {
                self.pins.insert(pin.host.clone(), pin.clone().into_owned());
            }
            Entry::Unpin { host } => {
                self.pins.remove(&**host);
            }
            // Never decreases, whatever the order.
            Entry::Serial(serial) => self.serial = self.serial.max(*serial),
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
        let mut taken = Vec::new();
        let mut seen: HashMap<(String, u32), String> = HashMap::new();
        for (host, pin) in &self.pins {
            let id = (pin.sequence.clone(), pin.number);
            let holder = self.registrations.get(&id).map(|it| &it.host);
            let is_own = self.ids.get(host).is_none_or(|own| *own == id);
            let is_free = holder.is_none_or(|holder| holder == host);
            if !is_own || !is_free || seen.insert(id, host.clone()).is_some() {
                taken.push(host.clone());
            }
        }
        let said = |host: String| {
            let pin = self.pins.remove(&host)?;
            let id = format!("{}{}", pin.sequence, pin.number);
            Some(format!("the pin of {id} to {host}"))
        };
        taken.into_iter().filter_map(said).collect()
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
