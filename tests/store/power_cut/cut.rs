//! The disk after a power failure.

use std::{collections::BTreeMap, ops::Range};

use super::{
    base::Base,
    file::{File, Loss, Manner},
    history::{History, Naming, Node, What},
};
use crate::common::random::Random;

/// Which names are on disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Names {
    /// The rules of ext4: names are written in order, and a sync of a file or a
    /// directory writes everything that happened before its own last name.
    Ordered,
    /// The rules of POSIX: the names in a synced directory; any of the others may
    /// be on disk.
    Strict,
}

/// The effect of a sync.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Syncs {
    Work,
    /// For the proof that the test can fail.
    DoNothing,
}

#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Nothing that begins at this line or later has happened.
    pub line: usize,
    pub names: Names,
    pub syncs: Syncs,
    pub manner: Manner,
}

impl Cut {
    /// No failure: everything reaches the disk.
    pub const NONE: Self = Self {
        line: usize::MAX,
        names: Names::Ordered,
        syncs: Syncs::Work,
        manner: Manner {
            loss: Loss::Nothing,
            sector: 512,
            length_first: false,
        },
    };

    /// A failure at one of these lines: directly before or after an event that
    /// affects the files or the world.
    pub fn random(history: &History, lines: Range<usize>, random: &mut Random) -> Self {
        let events = history.events.iter();
        let moments = events.flat_map(|it| [it.begin, it.begin + 1]);
        let moments: Vec<usize> = moments.filter(|it| lines.contains(it)).collect();
        let line = *random.choose(&moments);
        let losses = [
            Loss::All,
            Loss::Nothing,
            Loss::Tail,
            Loss::Sectors,
            Loss::Sectors,
        ];
        Self {
            line,
            names: *random.choose(&[Names::Ordered, Names::Strict]),
            syncs: Syncs::Work,
            manner: Manner {
                loss: *random.choose(&losses),
                sector: *random.choose(&[512, 4096]),
                length_first: random.percent(30),
            },
        }
    }
}

/// A change of names, and whether it is certainly on disk.
struct Pending<'h> {
    subject: Node,
    namings: &'h [Naming],
    end: usize,
    durable: bool,
}

/// The contents of the disk after the failure.
pub fn disk_after(history: &History, cut: &Cut, random: &mut Random) -> Base {
    let on_disk = |node| history.base.files.get(&node).cloned().unwrap_or_default();
    let mut files: BTreeMap<Node, File> = history
        .files()
        .map(|node| (node, File::new(on_disk(node))))
        .collect();
    let mut pending: Vec<Pending> = Vec::new();
    for event in history.events.iter().filter(|it| it.begin < cut.line) {
        match &event.what {
            What::Told(_) => {}
            What::Change(node, change) => {
                let file = files.get_mut(node).expect("a file");
                file.change(event.end, change);
            }
            What::Name { subject, namings } => pending.push(Pending {
                subject: *subject,
                namings,
                end: event.end,
                durable: false,
            }),
            What::Sync { .. } if cut.syncs == Syncs::DoNothing => {}
            What::Sync { succeeds, .. } if *succeeds && event.end >= cut.line => {}
            What::Sync {
                node,
                data_only,
                succeeds,
            } => {
                // A directory has no data.
                let file = files.get_mut(node);
                match succeeds {
                    true => {
                        file.into_iter().for_each(|it| it.sync(event.begin));
                        let of_file = move |it: &Pending| {
                            cut.names == Names::Ordered
                                && it.subject == *node
                                && (it.namings.len() == 1 || !data_only)
                        };
                        sync_names(&mut pending, *node, event.begin, cut.names, &of_file);
                    }
                    false => file
                        .into_iter()
                        .for_each(|it| it.give_up(event.begin, &cut.manner, random)),
                }
            }
        }
    }
    Base {
        directories: names_after(history, &pending, cut, random),
        files: files
            .iter()
            .map(|(node, file)| (*node, file.cut(&cut.manner, random)))
            .collect(),
    }
}

/// Syncs the names in a directory, and those of the files that `of_file` selects.
fn sync_names(
    pending: &mut [Pending],
    node: Node,
    begin: usize,
    names: Names,
    of_file: &dyn Fn(&Pending) -> bool,
) {
    let mut its_own = Vec::new();
    for (place, it) in pending.iter().enumerate() {
        let in_directory = it.namings.iter().any(|naming| naming.directory == node);
        if it.end < begin && (in_directory || of_file(it)) {
            its_own.push(place);
        }
    }
    match names {
        Names::Strict => its_own.iter().for_each(|it| pending[*it].durable = true),
        Names::Ordered => {
            let last = its_own.last().map_or(0, |it| it + 1);
            pending[..last].iter_mut().for_each(|it| it.durable = true);
        }
    }
}

fn names_after(
    history: &History,
    pending: &[Pending],
    cut: &Cut,
    random: &mut Random,
) -> BTreeMap<Node, BTreeMap<String, Node>> {
    let durable = pending.iter().filter(|it| it.durable).count();
    let kept = match cut.manner.loss {
        Loss::All => durable,
        Loss::Nothing => pending.len(),
        Loss::Tail | Loss::Sectors => durable + random.below(pending.len() - durable + 1),
    };
    let chance = random.below(101);
    let mut directories = history.base.directories.clone();
    for (place, it) in pending.iter().enumerate() {
        let kept = match cut.names {
            Names::Ordered => place < kept,
            Names::Strict => {
                let by_chance = match cut.manner.loss {
                    Loss::All => false,
                    Loss::Nothing => true,
                    Loss::Tail | Loss::Sectors => random.percent(chance),
                };
                it.durable || by_chance
            }
        };
        for naming in it.namings.iter().filter(|_| kept) {
            let names = directories.entry(naming.directory).or_default();
            match naming.node {
                Some(node) => names.insert(naming.name.clone(), node),
                None => names.remove(&naming.name),
            };
        }
    }
    directories
}
