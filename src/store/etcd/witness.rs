//! What a replica has seen of etcd, as its witness keeps it.

use crate::store::witness::Entry;

/// The cluster, since one that was set up anew looks like any other, and a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub cluster: u64,
    /// The highest commit that was acknowledged or read.
    pub commit: u64,
}

/// With the version of the format.
impl Entry for Seen {
    fn text(&self) -> String {
        format!("1 {:016x} {:020}", self.cluster, self.commit)
    }

    fn parse(text: &str) -> Option<Self> {
        let (cluster, commit) = text.strip_prefix("1 ")?.split_once(' ')?;
        Some(Self {
            cluster: u64::from_str_radix(cluster, 16).ok()?,
            commit: commit.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use crate::store::{checksum, witness::tests::assert_kept};

    #[test]
    fn it_is_read_as_it_was_noted() {
        let seen = [(1, 1), (u64::MAX, u64::MAX), (7, 0)];
        let text = "1 0000000000000007 00000000000000000000";
        assert_kept(
            &seen.map(|(cluster, commit)| Seen { cluster, commit }),
            &format!("{text} {}\n", checksum::of(text.as_bytes())),
        );
    }
}
