//! Dumps: each zone as of some commit, in `dumps/ORIGIN/COMMIT.json`.
//!
//! A dump never overwrites another, and is never removed in favour of one that is
//! older or has a lower serial, so that a store which was recreated by mistake
//! does not cost the last backup. Files are named by the numbers of commits,
//! which rise whatever the clock does. The last [`RECENT_KEPT`] dumps of a zone
//! are kept, and one of each day for [`DAYS_KEPT`] days before these, as long as
//! all of them take no more than [`MAX_TOTAL_BYTES`]; the newest two are always
//! kept. `form` defines the contents of a dump.

mod form;

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use super::{Contents, Identity, files};

pub use self::form::{Dump, DumpError, Head, MissingChecksum, Timestamp};

/// How many recent dumps of a zone are kept.
pub const RECENT_KEPT: usize = 10;

/// For how many earlier days one dump is kept.
pub const DAYS_KEPT: usize = 30;

/// The maximum size of all dumps of a zone.
pub const MAX_TOTAL_BYTES: u64 = 1 << 30;

/// The dumps of a data directory.
#[derive(Debug, Clone)]
pub struct Dumps {
    directory: PathBuf,
    network: Identity,
}

/// A dump, identified by its file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub path: PathBuf,
    /// The last commit in the dump; 0 for a dump of an earlier release, which
    /// does not name it.
    pub commit: u64,
}

/// A dump whose checksum is right.
#[derive(Debug)]
pub struct SoundDump {
    pub generation: Generation,
    pub head: Head,
}

/// The result of a search for the newest dump of a zone.
#[derive(Debug)]
pub struct Newest {
    pub sound: Option<SoundDump>,
    /// What is wrong with newer dumps.
    pub problems: Vec<String>,
}

impl Dumps {
    /// The dumps in the data directory with this identity.
    pub fn new(data: &Path, network: Identity) -> Self {
        Self {
            directory: Self::directory_in(data),
            network,
        }
    }

    /// The directory of all dumps in a data directory.
    pub fn directory_in(data: &Path) -> PathBuf {
        data.join("dumps")
    }

    /// The identity that is stored in the dumps of a data directory.
    pub fn network_in(data: &Path) -> Option<Identity> {
        // The identity makes no difference here.
        let all = Self::new(data, Identity::default()).all();
        all.iter().find_map(|it| it.head().ok()?.network)
    }

    /// The highest commit that a file is named by.
    pub fn highest(&self) -> u64 {
        self.all().iter().map(|it| it.commit).max().unwrap_or(0)
    }

    /// The dumps of all zones.
    fn all(&self) -> Vec<Generation> {
        let origins = self.origins();
        origins.iter().flat_map(|it| self.of(it)).collect()
    }

    /// The origins that have dumps.
    pub fn origins(&self) -> BTreeSet<String> {
        let names = names_in(&self.directory);
        names
            .filter_map(|name| {
                if self.directory.join(&name).is_dir() {
                    return origin_of(&name);
                }
                Some(format!("{}.", name.strip_suffix(".json")?))
            })
            .collect()
    }

    /// The dumps of a zone, newest first.
    pub fn of(&self, origin: &str) -> Vec<Generation> {
        let folder = self.folder(origin);
        let mut found: Vec<Generation> = names_in(&folder)
            .filter_map(|name| {
                let commit = name.strip_suffix(".json")?.parse().ok()?;
                let path = folder.join(name);
                Some(Generation { path, commit })
            })
            .collect();
        // An earlier release kept one dump of each zone.
        let name = format!("{}.json", origin.trim_end_matches('.'));
        let path = self.directory.join(name);
        if path.is_file() {
            found.push(Generation { path, commit: 0 });
        }
        found.sort_by_key(|it| Reverse(it.commit));
        found
    }

    /// Reads a dump of a zone, and verifies that it is whole and belongs to this
    /// directory.
    pub fn read(&self, generation: &Generation, origin: &str) -> Result<Dump, String> {
        let bytes = fs::read(&generation.path).map_err(|error| error.to_string())?;
        let missing_checksum = match generation.commit {
            0 => MissingChecksum::Accept,
            _ => MissingChecksum::Reject,
        };
        let dump = Dump::read(&bytes, missing_checksum).map_err(|error| error.to_string())?;
        self.check(generation, &dump.head, origin)?;
        Ok(dump)
    }

    fn check(&self, generation: &Generation, head: &Head, origin: &str) -> Result<(), String> {
        if head.origin != origin {
            return Err(format!("it is a dump of {}", head.origin));
        }
        if head.network.is_some_and(|network| network != self.network) {
            return Err("it belongs to another data directory".into());
        }
        if head.commit.unwrap_or(0) != generation.commit {
            return Err("its name does not match its commit".into());
        }
        Ok(())
    }

    /// The head of a dump that belongs to this directory.
    pub fn head(&self, generation: &Generation, origin: &str) -> Result<Head, String> {
        let head = generation.head().map_err(|error| error.to_string())?;
        self.check(generation, &head, origin)?;
        Ok(head)
    }

    /// The newest dump of a zone with the right checksum, and what is wrong with
    /// newer ones.
    pub fn newest_sound(&self, origin: &str) -> Newest {
        let mut problems = Vec::new();
        let sound = self.of(origin).into_iter().find_map(|generation| {
            let head = self.verify(&generation, origin);
            let head = head.inspect_err(|problem| problems.push(generation.problem(problem)));
            head.ok().map(|head| SoundDump { generation, head })
        });
        Newest { sound, problems }
    }

    fn verify(&self, generation: &Generation, origin: &str) -> Result<Head, String> {
        if generation.commit == 0 {
            return self.read(generation, origin).map(|dump| dump.head);
        }
        let bytes = fs::read(&generation.path).map_err(|error| error.to_string())?;
        form::verify(&bytes).map_err(|error| error.to_string())?;
        self.head(generation, origin)
    }

    /// Writes a dump of a zone, and removes dumps that need not be kept.
    ///
    /// # Errors
    ///
    /// The file system fails, or there is a dump of this commit or a later one,
    /// or one with a higher serial.
    pub fn write(&self, origin: &str, contents: Contents) -> io::Result<Generation> {
        let commit = contents.commit;
        let mut dump = Dump::now(origin, contents);
        dump.head.commit = Some(commit);
        dump.head.network = Some(self.network);
        let serial = dump.head.serial;
        if let Some(newest) = self.newest_sound(origin).sound
            && (newest.generation.commit >= commit || newest.head.serial > serial)
        {
            return Err(io::Error::other(format!(
                "{} is of commit {} and has serial {}: a dump of commit {commit} with serial \
                 {serial} is not newer",
                newest.generation.path.display(),
                newest.generation.commit,
                newest.head.serial,
            )));
        }
        let folder = self.folder(origin);
        files::make_directory(&self.directory)?;
        files::make_directory(&folder)?;
        let path = folder.join(format!("{commit:012}.json"));
        files::write(&path, files::SHARED, &dump.to_bytes()?)?;
        self.prune(origin);
        Ok(Generation { path, commit })
    }

    /// Removes the dumps of a zone that need not be kept, and incomplete files.
    fn prune(&self, origin: &str) {
        let folder = self.folder(origin);
        for name in names_in(&folder).filter(|name| name.ends_with(".part")) {
            let _ = fs::remove_file(folder.join(name));
        }
        let (mut days, mut bytes) = (BTreeSet::new(), 0);
        for (place, generation) in self.of(origin).into_iter().enumerate() {
            bytes += generation.bytes();
            let is_due = place >= RECENT_KEPT && {
                let made = generation.head().ok().and_then(|head| head.made);
                days.len() >= DAYS_KEPT || !made.is_some_and(|made| days.insert(made.day()))
            };
            if place >= 2 && (is_due || bytes > MAX_TOTAL_BYTES) {
                // A file that cannot be removed does no harm beyond its size.
                let _ = fs::remove_file(&generation.path);
            }
        }
    }

    /// Moves all dumps of a zone to a directory such as `dumps.before-1`, where
    /// they are kept but not used. Returns that directory if there were any
    /// dumps.
    pub fn set_aside(&self, origin: &str) -> io::Result<Option<PathBuf>> {
        let dumps = self.of(origin);
        if dumps.is_empty() {
            return Ok(None);
        }
        let (before, _) = files::next_free(&files::beside(&self.directory, ".before"));
        files::make_directory(&before)?;
        let folder = self.folder(origin);
        for from in dumps.iter().filter(|it| !it.path.starts_with(&folder)) {
            let name = from.path.file_name().unwrap_or_default();
            fs::rename(&from.path, before.join(name))?;
        }
        if folder.is_dir() {
            fs::rename(&folder, before.join(folder.file_name().unwrap_or_default()))?;
        }
        files::sync_directory(&before)?;
        files::sync_directory(&self.directory)?;
        Ok(Some(before))
    }

    /// The commit up to which the journal is not needed for a zone: that of the
    /// newest dump but one, so that the newest may be damaged.
    pub fn covered(&self, origin: &str) -> u64 {
        self.of(origin).get(1).map_or(0, |before| before.commit)
    }

    fn folder(&self, origin: &str) -> PathBuf {
        self.directory.join(folder_name(origin))
    }
}

impl Generation {
    /// Reads the first line.
    pub fn head(&self) -> Result<Head, DumpError> {
        Head::read(BufReader::new(File::open(&self.path)?))
    }

    /// The size of the file.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |it| it.len())
    }

    /// A problem, with the path.
    pub fn problem(&self, reason: &str) -> String {
        format!("{}: {reason}", self.path.display())
    }
}

fn names_in(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The folder of a zone: its origin without the trailing dot. Bytes that are not
/// allowed in a file name are written as `%` and two hexadecimal digits.
fn folder_name(origin: &str) -> String {
    let mut name = String::new();
    for byte in origin.trim_end_matches('.').bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

/// The origin of a folder.
fn origin_of(folder: &str) -> Option<String> {
    let mut pieces = folder.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let origin = String::from_utf8(bytes).ok()?;
    let is_whole = folder_name(&origin) == folder && !folder.is_empty();
    (is_whole && !folder.starts_with('.')).then(|| format!("{origin}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_has_a_folder_of_its_own() {
        let origins = ["a.b.", "a/b.", "%2f.", "a%2fb.", "..", "\\047."];
        let names: BTreeSet<String> = origins.iter().map(|it| folder_name(it)).collect();
        assert_eq!(names.len(), origins.len());
        assert!(names.iter().all(|name| !name.contains('/')));
        for origin in ["a.b.", "a/b.", "%2f.", "\\047."] {
            assert_eq!(origin_of(&folder_name(origin)).unwrap(), origin);
        }
        assert_eq!(origin_of("..").or(origin_of(".hidden")), None);
    }
}
