//! The contents of a disk: files and directories.

use std::{collections::BTreeMap, fs, path::Path};

use super::history::{Node, ROOT};

#[derive(Debug, Clone, Default)]
pub struct Base {
    pub files: BTreeMap<Node, Vec<u8>>,
    pub directories: BTreeMap<Node, BTreeMap<String, Node>>,
}

impl Base {
    /// An empty directory.
    pub fn empty() -> Self {
        let mut base = Self::default();
        base.directories.insert(ROOT, BTreeMap::new());
        base
    }

    /// Writes everything that has a name to an empty directory.
    pub fn write(&self, path: &Path) {
        self.write_directory(path, ROOT);
    }

    fn write_directory(&self, path: &Path, node: Node) {
        for (name, child) in self.directories.get(&node).into_iter().flatten() {
            let path = path.join(name);
            match self.files.get(child) {
                Some(octets) => fs::write(path, octets).unwrap(),
                None => {
                    fs::create_dir(&path).unwrap();
                    self.write_directory(&path, *child);
                }
            }
        }
    }
}
