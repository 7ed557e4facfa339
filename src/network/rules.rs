//! The rules of a network, which its zone file defines.

use std::time::Duration;

use super::{PeerId, Role, Sequence};

#[derive(Debug, Clone)]
pub struct Rules {
    /// The time for which a peer may stay silent and still counts as live.
    pub lease: Duration,
    /// The time after the end of a lease when the number may pass to a new host, if
    /// the sequence is full; `None` for never.
    pub reclaim: Option<Duration>,
    /// The number of root nodes that an answer names.
    pub roots: usize,
    pub sequences: Vec<SequenceRule>,
    pub roles: Vec<RoleRule>,
    /// The role of a host that states none.
    pub default_role: Role,
    /// The sequence whose live peers are root nodes.
    pub root_sequence: Sequence,
}

/// The size of a sequence without a `limit`: more than any network has peers, and few
/// enough that invented hosts fill neither memory nor disk.
pub const DEFAULT_LIMIT: u32 = 1 << 20;

#[derive(Debug, Clone)]
pub struct SequenceRule {
    /// The prefix of the IDs: `vp`.
    pub name: String,
    /// The first number.
    pub start: u32,
    /// The count of numbers.
    pub limit: u32,
}

#[derive(Debug, Clone)]
pub struct RoleRule {
    pub name: String,
    /// The sequence from which peers of this role draw their ID.
    pub sequence: Sequence,
}

impl Rules {
    pub fn sequence(&self, sequence: Sequence) -> &SequenceRule {
        &self.sequences[usize::from(sequence.0)]
    }

    pub fn role(&self, role: Role) -> &RoleRule {
        &self.roles[usize::from(role.0)]
    }

    /// The role with the name, in any case.
    pub fn role_named(&self, name: &str) -> Option<Role> {
        let mut roles = self.roles.iter();
        let place = roles.position(|role| role.name.eq_ignore_ascii_case(name))?;
        Some(Role(place as u16))
    }

    /// Parses an ID, in any case: `vp1`.
    pub fn id_named(&self, text: &str) -> Option<PeerId> {
        self.sequences.iter().enumerate().find_map(|(place, rule)| {
            let digits = str::from_utf8(rule.strip_name(text.as_bytes())?).ok()?;
            let canonical = digits == "0" || !digits.starts_with('0');
            let decimal = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| canonical && decimal)?;
            Some(PeerId {
                sequence: Sequence(place as u16),
                number,
            })
        })
    }

    /// Whether a text has the shape of an ID: the name of a sequence and digits. No
    /// host may have such a name, not even `vp01` or `vp99999999999`.
    pub fn is_id_shaped(&self, text: &[u8]) -> bool {
        self.sequences.iter().any(|rule| rule.has_shape(text))
    }

    /// Whether a host may have the ID: the last number is never assigned.
    pub(super) fn contains(&self, id: PeerId) -> bool {
        self.sequence(id.sequence).contains(id.number) && id.number != u32::MAX
    }

    /// The ID as text: `vp1`.
    pub fn id_text(&self, id: PeerId) -> String {
        format!("{}{}", self.sequence(id.sequence).name, id.number)
    }
}

impl SequenceRule {
    /// Whether a text is the name of the sequence, in any case, and digits.
    pub fn has_shape(&self, text: &[u8]) -> bool {
        self.strip_name(text)
            .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
    }

    /// The part of a text after the name of the sequence.
    fn strip_name<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (name, rest) = text.split_at_checked(self.name.len())?;
        name.eq_ignore_ascii_case(self.name.as_bytes())
            .then_some(rest)
    }

    /// Whether the sequence has this number.
    pub fn contains(&self, number: u32) -> bool {
        number >= self.start && number - self.start < self.limit
    }
}
