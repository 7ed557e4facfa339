//! The TSIG keys of the configuration.

use std::path::Path;

use hickory_proto::rr::Name;

use crate::{
    keys::{self, Key},
    settings::{Document, Spanned, Table},
};

/// The configured keys.
#[derive(Debug, Clone, Default)]
pub struct Keys(pub Vec<Key>);

impl Keys {
    /// Reads the table `[keys]`: the keys in its files, and those in its subtables.
    pub fn take(table: &mut Table<'_>, document: &mut Document<'_>) -> Self {
        let directory = document.path().parent().unwrap_or(Path::new("")).to_owned();
        let mut keys: Vec<Key> = Vec::new();
        let mut read_keys = Vec::new();
        for file in table.texts("files", document).unwrap_or_default() {
            match keys::read(&directory.join(file.get_ref())) {
                Ok(keys) => read_keys.extend(keys.into_iter().map(|key| (file.span(), key))),
                Err(problems) => document.problems(problems),
            }
        }
        for (name, mut table) in table.tables(document) {
            let algorithm = table.text("algorithm", document);
            let secret = table.required("secret", "\"…\", as `tsig-keygen` prints it", document);
            table.finish(document);
            let Some(secret) = secret else { continue };
            let algorithm = algorithm.map_or("hmac-sha256".into(), Spanned::into_inner);
            match Key::new(name.get_ref(), &algorithm, secret.get_ref()) {
                Ok(key) => read_keys.push((name.span(), key)),
                Err(message) => document.problem(name.span(), message),
            }
        }
        for (span, key) in read_keys {
            if keys.iter().any(|other| other.name == key.name) {
                document.problem(span, format!("duplicate key `{}`", key.name));
            } else {
                keys.push(key);
            }
        }
        Self(keys)
    }

    /// The key with this name.
    pub fn get(&self, name: &Name) -> Option<&Key> {
        self.0.iter().find(|key| key.name == *name)
    }
}
