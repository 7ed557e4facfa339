//! Messages of an upstream, built by hand.

/// The size of a header.
const HEADER: usize = 12;

/// The question of a query: name, type and class.
pub fn question(query: &[u8]) -> &[u8] {
    let mut end = HEADER;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    &query[HEADER..end + 5]
}

/// Whether the query has an OPT record, the only record that it may have.
pub fn has_edns(query: &[u8]) -> bool {
    query[11] == 1
}

/// The fixed part of the query's OPT record.
pub fn opt_of(query: &[u8]) -> &[u8] {
    &query[HEADER + question(query).len()..][..11]
}

/// The options of the query's OPT record: their codes and data.
pub fn options_of(query: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut rest = &query[HEADER + question(query).len() + 11..];
    let mut options = Vec::new();
    while let [c1, c0, l1, l0, data @ ..] = rest {
        let (data, after) = data.split_at(u16::from_be_bytes([*l1, *l0]).into());
        options.push((u16::from_be_bytes([*c1, *c0]), data.to_vec()));
        rest = after;
    }
    options
}

/// A reply to a query, in parts.
#[derive(Clone, Default)]
pub struct Parts {
    /// Added to QR in the first octet of the flags.
    pub flags: u8,
    /// The second octet of the flags.
    pub more: u8,
    pub answers: Vec<Vec<u8>>,
    pub authority: Vec<Vec<u8>>,
    pub additional: Vec<Vec<u8>>,
}

impl Parts {
    /// One answer, an address, as a resolver gives it.
    pub fn address() -> Self {
        Self {
            flags: 1,
            more: 0x80,
            answers: vec![record(&POINTER, 1, 300, &[192, 0, 2, 7])],
            ..Self::default()
        }
    }

    /// Only a code.
    pub fn code(code: u8) -> Self {
        Self {
            flags: 1,
            more: 0x80 | code,
            ..Self::default()
        }
    }

    /// The response to the query, with an OPT record at the end if the query has
    /// one.
    pub fn reply(&self, query: &[u8]) -> Vec<u8> {
        let mut parts = self.clone();
        if has_edns(query) {
            parts.additional.push(opt(0, &[]));
        }
        parts.message(query)
    }

    /// The response to the query, without an OPT record of its own.
    pub fn message(&self, query: &[u8]) -> Vec<u8> {
        let sections = [&self.answers, &self.authority, &self.additional];
        let mut message = query[..2].to_vec();
        message.extend([0x80 | self.flags, self.more, 0, 1]);
        for section in sections {
            message.extend((section.len() as u16).to_be_bytes());
        }
        message.extend(question(query));
        message.extend(sections.into_iter().flatten().flatten());
        message
    }
}

/// A compressed name that refers to the one in the question.
pub const POINTER: [u8; 2] = [0xc0, HEADER as u8];

/// A record of class IN.
pub fn record(owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend(rtype.to_be_bytes());
    record.extend([0, 1]);
    record.extend(ttl.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

/// An OPT record with the high part of a code, and options.
pub fn opt(code: u8, options: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 41, 0x10, 0, code, 0, 0, 0];
    record.extend((options.len() as u16).to_be_bytes());
    record.extend(options);
    record
}

/// An option of an OPT record.
pub fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let mut option = code.to_be_bytes().to_vec();
    option.extend((data.len() as u16).to_be_bytes());
    option.extend(data);
    option
}

/// The data of a TXT record with one string, at the name in the question.
pub fn text(string: &str) -> Vec<u8> {
    let data = [&[string.len() as u8], string.as_bytes()].concat();
    record(&POINTER, 16, 300, &data)
}
