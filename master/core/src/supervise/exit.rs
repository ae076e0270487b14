//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a worker process ended, as `wait` tells it: Node's `code` and `signal` of `exit`.
///
/// The kernel fills exactly one of the two. Both stay empty only where nobody knows, for
/// instance of a worker that another master started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
}

impl ExitStatus {
    /// Returns the status of a process that ended by itself.
    #[must_use]
    pub const fn code(code: i32) -> Self {
        Self {
            code: Some(code),
            signal: None,
        }
    }

    /// Returns the status of a process that a signal ended.
    #[must_use]
    pub const fn signal(signal: i32) -> Self {
        Self {
            code: None,
            signal: Some(signal),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal, self.code) {
            (Some(signal), _) => write!(formatter, "signal {signal}"),
            (None, Some(code)) => write!(formatter, "code {code}"),
            (None, None) => write!(formatter, "an unknown status"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_what_ended_the_process() {
        assert_eq!(ExitStatus::code(1).to_string(), "code 1");
        assert_eq!(ExitStatus::signal(9).to_string(), "signal 9");
        assert_eq!(ExitStatus::default().to_string(), "an unknown status");
    }
}
