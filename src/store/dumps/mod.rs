//! Dumps: each zone as it was at some commit, in `dumps/ORIGIN/COMMIT.json`.
//!
//! A dump is never written over another, and none is taken away for one that is
//! older or has a lower serial: a store that was begun anew by mistake must not
//! cost the last backup. The names are numbers of commits, which rise whatever
//! the clock does. Kept are the last [`LAST`], and behind these one of each day
//! for [`DAYS`] days, as long as all of a zone take no more than [`OCTETS`]; the
//! newest two in any case. `form`: what is in a dump.

mod form;

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::{Contents, Identity, files};

pub use self::form::{Dump, DumpError, Head, Made, Unchecked};

/// How many dumps of a zone are kept in any case.
pub const LAST: usize = 10;

/// Of how many further days one is kept.
pub const DAYS: usize = 30;

/// How many octets the dumps of a zone may take.
pub const OCTETS: u64 = 1 << 30;

/// The dumps of a data directory.
#[derive(Debug, Clone)]
pub struct Dumps {
    directory: PathBuf,
    network: Identity,
}

/// One dump, as its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub path: PathBuf,
    /// The last commit that is in it; 0 for a dump of an earlier release, which
    /// does not say.
    pub commit: u64,
}

impl Dumps {
    /// Those below a data directory that has this identity.
    pub fn new(data: &Path, network: Identity) -> Self {
        Self {
            directory: data.join("dumps"),
            network,
        }
    }

    /// The identity that the dumps of a data directory have.
    pub fn network_in(data: &Path) -> Option<Identity> {
        // Which one they are asked as makes no difference here.
        let dumps = Self::new(data, Identity::default());
        let origins = dumps.origins().into_iter();
        let mut generations = origins.flat_map(|origin| dumps.of(&origin));
        generations.find_map(|generation| generation.head().ok()?.network)
    }

    /// The highest commit that a dump is named by.
    pub fn highest(&self) -> u64 {
        let origins = self.origins().into_iter();
        let commits = origins.flat_map(|origin| self.of(&origin));
        commits
            .map(|generation| generation.commit)
            .max()
            .unwrap_or(0)
    }

    /// The origins of which there are dumps.
    pub fn origins(&self) -> BTreeSet<String> {
        let names = names_in(&self.directory);
        names
            .filter_map(|name| match self.directory.join(&name).is_dir() {
                true => origin_of(&name),
                false => Some(format!("{}.", name.strip_suffix(".json")?)),
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
        // An earlier release had one dump of each zone.
        let name = format!("{}.json", origin.trim_end_matches('.'));
        let path = self.directory.join(name);
        if path.is_file() {
            found.push(Generation { path, commit: 0 });
        }
        found.sort_by_key(|it| Reverse(it.commit));
        found
    }

    /// Reads a dump of a zone, and checks that it is whole and of this directory.
    pub fn read(&self, generation: &Generation, origin: &str) -> Result<Dump, String> {
        let octets = fs::read(&generation.path).map_err(|error| error.to_string())?;
        let unchecked = match generation.commit {
            0 => Unchecked::Taken,
            _ => Unchecked::Refused,
        };
        let dump = Dump::read(&octets, unchecked).map_err(|error| error.to_string())?;
        self.check(generation, &dump.head, origin)?;
        Ok(dump)
    }

    fn check(&self, generation: &Generation, head: &Head, origin: &str) -> Result<(), String> {
        if head.origin != origin {
            return Err(format!("it is of {}", head.origin));
        }
        if head.network.is_some_and(|network| network != self.network) {
            return Err("it belongs to another data directory".into());
        }
        match head.commit.unwrap_or(0) == generation.commit {
            true => Ok(()),
            false => Err("its name is not that of its commit".into()),
        }
    }

    /// What a dump of a zone is of, if it is of this directory.
    pub fn head(&self, generation: &Generation, origin: &str) -> Result<Head, String> {
        let head = generation.head().map_err(|error| error.to_string())?;
        self.check(generation, &head, origin)?;
        Ok(head)
    }

    /// The newest dump of a zone that is whole, by its checksum alone, and what is
    /// wrong with newer ones.
    pub fn newest_sound(&self, origin: &str) -> (Option<(Generation, Head)>, Vec<String>) {
        let mut problems = Vec::new();
        for generation in self.of(origin) {
            match self.verify(&generation, origin) {
                Ok(head) => return (Some((generation, head)), problems),
                Err(problem) => problems.push(generation.problem(&problem)),
            }
        }
        (None, problems)
    }

    fn verify(&self, generation: &Generation, origin: &str) -> Result<Head, String> {
        if generation.commit == 0 {
            return self.read(generation, origin).map(|dump| dump.head);
        }
        let octets = fs::read(&generation.path).map_err(|error| error.to_string())?;
        form::verify(&octets).map_err(|error| error.to_string())?;
        let head = Head::read(&octets[..]).map_err(|error| error.to_string())?;
        self.check(generation, &head, origin)?;
        Ok(head)
    }

    /// Writes a dump of a zone, and removes those that are no longer to be kept.
    ///
    /// # Errors
    ///
    /// Those of the file system, and that there is a dump already of this commit
    /// or a later one, or with a higher serial.
    pub fn write(&self, origin: &str, contents: Contents) -> io::Result<Generation> {
        let commit = contents.commit;
        let mut dump = Dump::now(origin, contents);
        dump.head.commit = Some(commit);
        dump.head.network = Some(self.network);
        if let (Some((newest, head)), _) = self.newest_sound(origin)
            && (newest.commit >= commit || head.serial > dump.head.serial)
        {
            return Err(io::Error::other(format!(
                "{} is of commit {} and has the serial {}: a dump of commit {commit} with the \
                 serial {} is not newer",
                newest.path.display(),
                newest.commit,
                head.serial,
                dump.head.serial
            )));
        }
        let folder = self.folder(origin);
        files::make_directory(&self.directory)?;
        files::make_directory(&folder)?;
        let path = folder.join(format!("{commit:012}.json"));
        files::replace(&path, files::SHARED, |file| {
            let mut out = BufWriter::new(file);
            dump.write(&mut out)?;
            out.flush()?;
            Ok(out.into_inner()?)
        })?;
        self.prune(origin);
        Ok(Generation { path, commit })
    }

    /// Removes the dumps of a zone that are no longer to be kept, and what was not
    /// written to its end.
    fn prune(&self, origin: &str) {
        let folder = self.folder(origin);
        for name in names_in(&folder).filter(|name| name.ends_with(".part")) {
            let _ = fs::remove_file(folder.join(name));
        }
        let (mut days, mut octets) = (BTreeSet::new(), 0);
        for (place, generation) in self.of(origin).into_iter().enumerate() {
            octets += fs::metadata(&generation.path).map_or(0, |it| it.len());
            let is_due = place >= LAST && {
                let day = generation
                    .head()
                    .ok()
                    .and_then(|head| Some(head.made?.day()));
                days.len() >= DAYS || !day.is_some_and(|day| days.insert(day))
            };
            if place >= 2 && (is_due || octets > OCTETS) {
                // What cannot be removed takes room, and does no other harm.
                let _ = fs::remove_file(&generation.path);
            }
        }
    }

    /// Moves all dumps of a zone away, where they are kept and no longer used:
    /// below `dumps.before-1` or so. Gives that directory, if there were any.
    pub fn set_aside(&self, origin: &str) -> io::Result<Option<PathBuf>> {
        let dumps = self.of(origin);
        if dumps.is_empty() {
            return Ok(None);
        }
        let mut before = self.directory.as_os_str().to_owned();
        before.push(".before");
        let (before, _) = files::next_free(Path::new(&before));
        files::make_directory(&before)?;
        let folder = self.folder(origin);
        for from in dumps.iter().filter(|it| !it.path.starts_with(&folder)) {
            fs::rename(
                &from.path,
                before.join(from.path.file_name().unwrap_or_default()),
            )?;
        }
        if folder.is_dir() {
            fs::rename(&folder, before.join(folder.file_name().unwrap_or_default()))?;
        }
        files::sync_directory(&before)?;
        files::sync_directory(&self.directory)?;
        Ok(Some(before))
    }

    /// Up to which commit nothing of a zone needs to be in the journal: the newest
    /// dump but one has it, so that the newest may be damaged.
    pub fn covered(&self, origin: &str) -> u64 {
        self.of(origin).get(1).map_or(0, |before| before.commit)
    }

    fn folder(&self, origin: &str) -> PathBuf {
        self.directory.join(folder_name(origin))
    }
}

impl Generation {
    /// What stands in its first line.
    pub fn head(&self) -> Result<Head, DumpError> {
        Head::read(BufReader::new(File::open(&self.path)?))
    }

    /// How many octets it has.
    pub fn octets(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |it| it.len())
    }

    /// What is wrong with it, with its path.
    pub fn problem(&self, reason: &str) -> String {
        format!("{}: {reason}", self.path.display())
    }
}

fn names_in(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The folder of a zone: its origin without the last dot, and what no file name
/// may have as `%` and two digits.
fn folder_name(origin: &str) -> String {
    let mut name = String::new();
    for octet in origin.trim_end_matches('.').bytes() {
        match octet {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => name.push(char::from(octet)),
            _ => name.push_str(&format!("%{octet:02x}")),
        }
    }
    name
}

/// The origin that such a folder is of.
fn origin_of(folder: &str) -> Option<String> {
    let mut pieces = folder.split('%');
    let mut octets = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend_from_slice(rest.as_bytes());
    }
    let origin = String::from_utf8(octets).ok()?;
    let is_whole = folder_name(&origin) == folder && !folder.is_empty();
    let is_hidden = OsStr::new(folder) == OsStr::new("..") || folder.starts_with('.');
    (is_whole && !is_hidden).then(|| format!("{origin}."))
}

#[cfg(test)]
mod tests;
