//! Why a call of etcd has no answer, and what is known of its outcome.

use std::error::Error as _;

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
    let said = || explained(Some(message), status.source());
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

/// An error with its causes. Those that say nothing, or repeat another one, are left
/// out.
pub fn described(error: &dyn std::error::Error) -> String {
    explained(None, Some(error))
}

fn explained(message: Option<&str>, error: Option<&dyn std::error::Error>) -> String {
    let mut texts: Vec<String> = message.map(str::to_owned).into_iter().collect();
    let mut cause = error;
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.retain(|text| !text.is_empty());
    let mut parts: Vec<String> = Vec::new();
    for text in &texts {
        let is_empty = EMPTY.contains(&text.as_str());
        if is_empty || parts.iter().any(|part| part.contains(text)) {
            continue;
        }
        parts.retain(|part| !text.contains(part));
        parts.push(text.clone());
    }
    let text = if parts.is_empty() {
        texts.pop().unwrap_or_default()
    } else {
        parts.join(": ")
    };
    with_hint(text)
}

/// What the libraries say of an error whose cause says more.
const EMPTY: [&str; 4] = [
    "transport error",
    "tcp connect error",
    "client error (Connect)",
    "stream closed because of a broken pipe",
];

const NO_TLS: &str =
    "it does not seem to answer by TLS: remove `ca` from [etcd], or specify another port";

/// What a text of the libraries means, and what to do about it.
const HINTS: [(&str, &str); 5] = [
    ("tls handshake eof", NO_TLS),
    ("InvalidContentType", NO_TLS),
    (
        "UnknownIssuer",
        "its certificate was not issued by the CA in `ca` in [etcd]",
    ),
    (
        "CertificateRequired",
        "it requires `certificate` and `key` in [etcd]",
    ),
    (
        "user name is empty",
        "it requires `user` and `password_file` in [etcd]",
    ),
];

fn with_hint(text: String) -> String {
    let hint = HINTS.iter().find(|(said, _)| text.contains(said));
    match hint {
        Some((_, hint)) => format!("{hint} ({text})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of a library with its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Nested(&'static str, #[source] Option<Box<Nested>>);

    fn nested(texts: &[&'static str]) -> Nested {
        let mut texts = texts.iter().rev();
        let last = Nested(texts.next().unwrap(), None);
        texts.fold(last, |cause, text| Nested(text, Some(Box::new(cause))))
    }

    #[test]
    fn each_cause_is_said_once() {
        let causes = [
            "transport error",
            "tcp connect error",
            "Connection refused (os error 111)",
        ];
        let all = nested(&causes);
        assert_eq!(described(&all), causes[2]);
        assert_eq!(explained(Some(causes[1]), Some(&all)), causes[2]);
        assert_eq!(described(&nested(&causes[..2])), causes[1]);
        assert_eq!(described(&nested(&["a: b", "b", "c"])), "a: b: c");
    }
}
