//! Why a call of etcd has no answer, and what is known of its outcome.

use std::{error::Error as _, fmt::Write as _};

use tonic::{Code, Status};

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The member does not answer, or cannot: the call may have been executed.
    #[error("{0}")]
    Unavailable(String),
    /// Nothing was executed.
    #[error("{0}")]
    Refused(String),
    /// The login has expired; nothing was executed.
    #[error("the login has expired: {0}")]
    Expired(String),
    /// Nothing was executed.
    #[error(
        "etcd has reached its quota (--quota-backend-bytes): compact and defragment it, then \
         disarm the alarm with `etcdctl alarm disarm`"
    )]
    NoSpace,
    /// A lease that has ended.
    #[error("{0}")]
    NotFound(String),
    /// The member belongs to another cluster.
    #[error("it belongs to the cluster {0:x}")]
    OtherCluster(u64),
}

/// What a status of gRPC means.
pub fn call_error(status: Status) -> CallError {
    let message = status.message().trim_start_matches("etcdserver: ");
    let said = || match status.source() {
        Some(source) => format!("{message}: {}", described(source)),
        None => message.to_owned(),
    };
    match status.code() {
        Code::Unauthenticated => CallError::Expired(said()),
        // The users have changed since the login.
        Code::InvalidArgument if message.contains("revision of auth store is old") => {
            CallError::Expired(said())
        }
        Code::ResourceExhausted if message.contains("database space exceeded") => {
            CallError::NoSpace
        }
        Code::NotFound => CallError::NotFound(said()),
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::AlreadyExists => CallError::Refused(said()),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => CallError::Unavailable(said()),
    }
}

/// An error with its causes, each once.
pub fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            // Writing to a text does not fail.
            let _ = write!(text, ": {reason}");
        }
        cause = error.source();
    }
    text
}
