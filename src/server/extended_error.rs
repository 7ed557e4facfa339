//! Extended errors (RFC 8914): why a query was refused or failed.

use hickory_proto::rr::rdata::opt::EdnsOption;

/// The option code of an extended error (RFC 8914, section 2).
pub const EXTENDED_ERROR: u16 = 15;

/// Why a query was refused: an extended error (RFC 8914) with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtendedError {
    pub info_code: u16,
    pub text: String,
}

impl ExtendedError {
    /// An error that no info code describes better.
    pub fn other(text: impl Into<String>) -> Self {
        Self {
            info_code: 0,
            text: text.into(),
        }
    }

    /// Whoever asks may not.
    pub fn prohibited(text: impl Into<String>) -> Self {
        Self {
            info_code: 18,
            text: text.into(),
        }
    }

    /// No server that could know the answer has sent anything.
    pub fn no_reachable_authority(text: impl Into<String>) -> Self {
        Self {
            info_code: 22,
            text: text.into(),
        }
    }

    /// The network has reported that they cannot be reached.
    pub fn network_error(text: impl Into<String>) -> Self {
        Self {
            info_code: 23,
            text: text.into(),
        }
    }
}

impl ExtendedError {
    /// The option of an OPT record.
    pub fn option(&self) -> EdnsOption {
        let value = [&self.info_code.to_be_bytes(), self.text.as_bytes()].concat();
        EdnsOption::Unknown(EXTENDED_ERROR, value)
    }
}
