//! The configuration of a network, read from its zone file.

use std::time::Duration;

use super::{PeerId, Role, Sequence};

#[derive(Debug, Clone)]
pub struct Rules {
    /// How long a peer may stay silent before it no longer counts as live.
    pub lease: Duration,
    /// How long after the end of a peer's lease its number may pass to a new host
    /// when the sequence is full; `None` for never.
    pub reclaim: Option<Duration>,
    /// How many root nodes a peer is given.
    pub roots: usize,
    pub sequences: Vec<SequenceRule>,
    pub roles: Vec<RoleRule>,
    /// The role of a host that states none.
    pub default_role: Role,
    /// The sequence whose live peers are root nodes.
    pub root_sequence: Sequence,
}

/// The size of a sequence without a limit: more than any network has peers, and
/// small enough that invented host names exhaust neither memory nor disk.
pub const DEFAULT_LIMIT: u32 = 1 << 20;

#[derive(Debug, Clone)]
pub struct SequenceRule {
    /// The prefix of an ID: `vp`.
    pub name: String,
    /// The first number.
    pub start: u32,
    /// How many numbers there are.
    pub limit: u32,
}

#[derive(Debug, Clone)]
pub struct RoleRule {
    pub name: String,
    /// The sequence that IDs of this role are drawn from.
    pub sequence: Sequence,
}

impl Rules {
    pub fn sequence(&self, sequence: Sequence) -> &SequenceRule {
        &self.sequences[usize::from(sequence.0)]
    }

    pub fn role(&self, role: Role) -> &RoleRule {
        &self.roles[usize::from(role.0)]
    }

    /// The role of that name, in any case.
    pub fn role_named(&self, name: &str) -> Option<Role> {
        let mut roles = self.roles.iter();
        let place = roles.position(|role| role.name.eq_ignore_ascii_case(name))?;
        Some(Role(place as u16))
    }

    /// Parses an ID such as `vp1`, in any case.
    pub fn id_named(&self, text: &str) -> Option<PeerId> {
        self.sequences.iter().enumerate().find_map(|(place, rule)| {
            let digits = str::from_utf8(rule.behind_name(text.as_bytes())?).ok()?;
            let canonical = digits == "0" || !digits.starts_with('0');
            let decimal = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| canonical && decimal)?;
            Some(PeerId {
                sequence: Sequence(place as u16),
                number,
            })
        })
    }

    /// Whether a text looks like an ID: the name of a sequence and digits. No
    /// host may have such a name, not even `vp01` or `vp99999999999`.
    pub fn is_id_shaped(&self, text: &[u8]) -> bool {
        self.sequences.iter().any(|rule| rule.has_shape(text))
    }

    /// The ID as text: `vp1`.
    pub fn id_text(&self, id: PeerId) -> String {
        format!("{}{}", self.sequence(id.sequence).name, id.number)
    }
}

impl SequenceRule {
    /// Whether a text consists of the sequence's name, in any case, and digits.
    pub fn has_shape(&self, text: &[u8]) -> bool {
        self.behind_name(text)
            .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
    }

    /// The rest of a text that starts with the sequence's name.
    fn behind_name<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (name, rest) = text.split_at_checked(self.name.len())?;
        name.eq_ignore_ascii_case(self.name.as_bytes())
            .then_some(rest)
    }

    /// Whether the sequence has this number.
    pub fn contains(&self, number: u32) -> bool {
        number >= self.start && number - self.start < self.limit
    }
}
