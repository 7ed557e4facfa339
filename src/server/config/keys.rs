//! The TSIG keys that the service knows.

use std::path::Path;

use hickory_proto::rr::Name;

use crate::{
    keys::{self, Key},
    settings::{Document, Spanned, Table},
};

/// The keys that the service knows.
#[derive(Debug, Clone, Default)]
pub struct Keys(pub Vec<Key>);

impl Keys {
    pub fn has(&self, name: &Name) -> bool {
        self.named(name).is_some()
    }

    /// Reads the table `[keys]`: those of its files, and its own.
    pub fn take(table: &mut Table<'_>, source: &mut Document<'_>) -> Self {
        let directory = source.path().parent().unwrap_or(Path::new("")).to_owned();
        let mut keys: Vec<Key> = Vec::new();
        let mut found = Vec::new();
        for file in table.texts("files", source).unwrap_or_default() {
            match keys::read(&directory.join(file.get_ref())) {
                Ok(read) => found.extend(read.into_iter().map(|key| (file.span(), key))),
                Err(problems) => source.problems(problems),
            }
        }
        for (name, mut table) in table.tables(source) {
            let algorithm = table.text("algorithm", source);
            let secret = table.required("secret", "\"…\", as `tsig-keygen` prints it", source);
            table.finish(source);
            let Some(secret) = secret else { continue };
            let algorithm = algorithm.map_or("hmac-sha256".into(), Spanned::into_inner);
            match Key::new(name.get_ref(), &algorithm, secret.get_ref()) {
                Ok(key) => found.push((name.span(), key)),
                Err(message) => source.problem(name.span(), message),
            }
        }
        for (span, key) in found {
            match keys.iter().any(|other| other.name == key.name) {
                true => source.problem(span, format!("there is a key `{}` already", key.name)),
                false => keys.push(key),
            }
        }
        Self(keys)
    }

    /// The key of that name.
    pub fn named(&self, name: &Name) -> Option<&Key> {
        self.0.iter().find(|key| key.name == *name)
    }
}
