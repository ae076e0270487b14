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

/// A set of exit codes. There are 256 of them (wait(2)), so it is a plain value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitCodes([u64; 4]);

impl ExitCodes {
    /// No code at all.
    pub const NONE: Self = Self([0; 4]);

    /// Adds a code.
    #[must_use]
    pub fn with(mut self, code: u8) -> Self {
        self.0[usize::from(code / 64)] |= 1 << (code % 64);
        self
    }

    /// Tells whether a process ended with one of these codes.
    #[must_use]
    pub fn contains(&self, status: ExitStatus) -> bool {
        let code = status.code.and_then(|code| u8::try_from(code).ok());
        code.is_some_and(|code| self.0[usize::from(code / 64)] & (1 << (code % 64)) != 0)
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

    #[test]
    fn a_set_of_codes_has_what_was_added_and_no_signal() {
        let codes = ExitCodes::NONE.with(0).with(64).with(255);
        for code in 0..=255 {
            let expected = [0, 64, 255].contains(&code);
            assert_eq!(codes.contains(ExitStatus::code(code)), expected, "{code}");
        }
        assert!(!codes.contains(ExitStatus::signal(64)));
    }
}
