//! How a request ended: the words of the record, the tables and the exit code.

use serde::{Deserialize, Serialize};

/// How a request, or a connection, ended. Nothing is ever tried again, so there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// A complete answer came, whatever its status.
    Ok,
    /// No connection came about.
    Refused,
    /// The connection was reset before the last byte of the answer.
    ResetBeforeAnswer,
    /// The connection was closed before the last byte of the answer.
    ClosedBeforeAnswer,
    /// No complete answer in time, or no connection.
    Timeout,
    /// What came is no answer.
    BadAnswer,
}

impl Outcome {
    /// All of them, in the order in which tables show them.
    pub(super) const ALL: [Self; 6] = [
        Self::Ok,
        Self::Refused,
        Self::ResetBeforeAnswer,
        Self::ClosedBeforeAnswer,
        Self::Timeout,
        Self::BadAnswer,
    ];

    /// Returns the place in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Returns the heading of a column of such requests.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Refused => "Refused",
            Self::ResetBeforeAnswer => "Reset",
            Self::ClosedBeforeAnswer => "Closed",
            Self::Timeout => "Timeout",
            Self::BadAnswer => "Bad answer",
        }
    }

    /// Returns what a sentence says of such a request.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Ok => "was answered",
            Self::Refused => "was refused",
            Self::ResetBeforeAnswer => "was reset",
            Self::ClosedBeforeAnswer => "was closed",
            Self::Timeout => "had no answer in time",
            Self::BadAnswer => "had no proper answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_knows_its_place() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), place);
        }
    }
}
