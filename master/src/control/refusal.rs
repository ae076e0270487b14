//! Why the master did not do what it was asked, in a form for programs and for people.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A refusal as it travels: `{"error": {"kind", "message", "exit_code"}}`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RefusalAnswer {
    /// The refusal.
    pub(crate) error: Refusal,
}

/// What the master says instead of doing what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// What programs may decide by.
    pub(crate) kind: Kind,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
    /// What a command that is refused so exits with.
    pub(crate) exit_code: u8,
}

/// Kinds of refusals. Each has one HTTP status and one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub(crate) enum Kind {
    /// What was asked makes no sense.
    BadRequest,
    /// The user may not command this master.
    NotAllowed,
    /// There is no such route.
    NoSuchRoute,
    /// The route wants another method.
    WrongMethod,
    /// No app has that name.
    NoSuchApp,
    /// No worker has that slot.
    NoSuchWorker,
    /// The request is too long.
    TooLarge,
    /// All places are taken, or something is going on that must end first.
    Busy,
    /// This master cannot do it.
    Unsupported,
    /// It was tried and failed; all is as before.
    Failed,
    /// The master is ending.
    Ending,
    /// No master is there to be asked.
    NoMaster,
    /// There is one, but it cannot be asked.
    Unreachable,
    /// A kind that this program is too old to know.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// Returns the HTTP status.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotAllowed => 403,
            Self::NoSuchRoute | Self::NoSuchApp | Self::NoSuchWorker => 404,
            Self::WrongMethod => 405,
            Self::Busy => 409,
            Self::TooLarge => 413,
            Self::Failed | Self::Unknown => 500,
            Self::Unsupported => 501,
            Self::Ending | Self::NoMaster | Self::Unreachable => 503,
        }
    }

    /// Returns the exit code of a command that gets this refusal.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::BadRequest | Self::NoSuchRoute | Self::WrongMethod | Self::TooLarge => 2,
            Self::NoSuchApp | Self::NoSuchWorker => 3,
            Self::NoMaster => 4,
            Self::NotAllowed
            | Self::Busy
            | Self::Unsupported
            | Self::Failed
            | Self::Ending
            | Self::Unreachable
            | Self::Unknown => 1,
        }
    }
}

impl Refusal {
    /// Makes a refusal.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            exit_code: kind.exit_code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_the_same_at_both_ends() {
        let error = Refusal::new(Kind::NoSuchApp, "no app is called 'x'");
        let json = serde_json::to_string(&RefusalAnswer {
            error: error.clone(),
        })
        .unwrap();
        assert_eq!(
            json,
            r#"{"error":{"kind":"no_such_app","message":"no app is called 'x'","exit_code":3}}"#
        );
        let back: RefusalAnswer = serde_json::from_str(&json).unwrap();
        assert_eq!(back.error, error);
    }

    #[test]
    fn a_kind_of_the_future_is_understood_as_far_as_may_be() {
        let json = r#"{"error":{"kind":"on_strike","message":"no","exit_code":7}}"#;
        let answer: RefusalAnswer = serde_json::from_str(json).unwrap();
        assert_eq!(
            (answer.error.kind, answer.error.exit_code),
            (Kind::Unknown, 7)
        );
    }
}
