//! A file of which a part is certainly on disk, and what a power failure may
//! leave of it.

use super::history::Change;
use crate::common::random::Random;

/// The data that is on disk, and the changes that may be.
#[derive(Debug, Clone, Default)]
pub struct File {
    disk: Vec<u8>,
    /// Each with the line at which its call ended.
    pending: Vec<(usize, Change)>,
}

/// What happens to unsynced changes when the power fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// None of them is on disk.
    All,
    /// All of them are.
    Nothing,
    /// The older ones are, up to any byte of any change.
    Tail,
    /// Each sector is as it was after any of the changes.
    Sectors,
}

/// The behaviour of a file system and its disk at a failure.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub loss: Loss,
    /// The size that a disk writes atomically.
    pub sector: usize,
    /// The new length of a file may be on disk before its data, as in ext4 with
    /// `data=writeback`; earlier contents of the disk are in its place.
    pub length_first: bool,
}

impl File {
    pub fn new(disk: Vec<u8>) -> Self {
        let pending = Vec::new();
        Self { disk, pending }
    }

    pub fn change(&mut self, end: usize, change: &Change) {
        self.pending.push((end, change.clone()));
    }

    /// Syncs the changes before this line.
    pub fn sync(&mut self, begin: usize) {
        let (done, rest) = self.split(begin);
        done.iter().for_each(|change| apply(&mut self.disk, change));
        self.pending = rest;
    }

    /// A failing sync: earlier changes are on disk or not, and no later sync
    /// writes them, since the kernel considers them as written.
    pub fn give_up(&mut self, begin: usize, manner: &Manner, random: &mut Random) {
        let (done, rest) = self.split(begin);
        self.disk = survivors(&self.disk, &done, manner, random);
        self.pending = rest;
    }

    /// The contents on disk after a power failure.
    pub fn cut(&self, manner: &Manner, random: &mut Random) -> Vec<u8> {
        let pending: Vec<Change> = self.pending.iter().map(|(_, it)| it.clone()).collect();
        survivors(&self.disk, &pending, manner, random)
    }

    fn split(&mut self, begin: usize) -> (Vec<Change>, Vec<(usize, Change)>) {
        let pending = std::mem::take(&mut self.pending);
        let (done, rest): (Vec<_>, Vec<_>) = pending.into_iter().partition(|(end, _)| *end < begin);
        (done.into_iter().map(|(_, change)| change).collect(), rest)
    }
}

fn apply(octets: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => octets.resize(*length as usize, 0),
        Change::Write { at, octets: new } => {
            let at = *at as usize;
            let end = at + new.len();
            if octets.len() < end {
                octets.resize(end, 0);
            }
            octets[at..end].copy_from_slice(new);
        }
    }
}

fn survivors(disk: &[u8], changes: &[Change], manner: &Manner, random: &mut Random) -> Vec<u8> {
    let mut octets = disk.to_vec();
    match manner.loss {
        _ if changes.is_empty() => {}
        Loss::All => {}
        Loss::Nothing => changes.iter().for_each(|it| apply(&mut octets, it)),
        Loss::Tail => {
            let whole = random.below(changes.len());
            changes[..whole]
                .iter()
                .for_each(|it| apply(&mut octets, it));
            if let Change::Write { at, octets: new } = &changes[whole] {
                let sectors = new.len() / manner.sector;
                let kept = random.below(sectors + 1) * manner.sector;
                let octets_kept = new[..kept.min(new.len())].to_vec();
                let (at, new) = (*at, octets_kept);
                if !new.is_empty() {
                    apply(&mut octets, &Change::Write { at, octets: new });
                }
            }
        }
        Loss::Sectors => octets = sectors(disk, changes, manner, random),
    }
    if manner.length_first {
        let mut all = disk.to_vec();
        changes.iter().for_each(|it| apply(&mut all, it));
        let (known, length) = (octets.len(), all.len());
        octets.resize(length, 0);
        if known < length && random.percent(50) {
            octets[known..].fill_with(|| random.next() as u8);
        }
    }
    octets
}

/// Each sector as it was after any of the changes, with any of the lengths.
fn sectors(disk: &[u8], changes: &[Change], manner: &Manner, random: &mut Random) -> Vec<u8> {
    let newest = random.below(101);
    let mut octets = disk.to_vec();
    let mut lengths = vec![octets.len()];
    let mut all = disk.to_vec();
    for change in changes {
        apply(&mut all, change);
        lengths.push(all.len());
    }
    let longest = lengths.iter().max().copied().unwrap_or(0);
    octets.resize(longest, 0);
    // The last change of each sector that is on disk.
    let count = longest.div_ceil(manner.sector);
    let last: Vec<usize> = (0..count)
        .map(|_| match random.percent(newest) {
            true => changes.len(),
            false => random.below(changes.len() + 1),
        })
        .collect();
    for (place, change) in changes.iter().enumerate() {
        let Change::Write { at, octets: new } = change else {
            continue;
        };
        let at = *at as usize;
        let mut from = 0;
        while from < new.len() {
            let sector = (at + from) / manner.sector;
            let to = ((sector + 1) * manner.sector - at).min(new.len());
            if place < last[sector] {
                octets[at + from..at + to].copy_from_slice(&new[from..to]);
            }
            from = to;
        }
    }
    let length = match random.percent(60) {
        true => all.len(),
        false => *random.choose(&lengths),
    };
    octets.truncate(length);
    octets
}
