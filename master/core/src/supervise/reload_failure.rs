//! Why a reload ended early, and how that is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exit::ExitStatus;
use crate::id::{ServerId, SlotId, WorkerId};

/// What one does that is ready by its word.
const SAY: &str = "say that it is ready";

/// The option that grants more time.
const PATIENCE: &str = "--listen-timeout";

/// The same, and the one by which a word is awaited.
const BOTH: &str = "--listen-timeout, --wait-ready";

/// Why a reload did not replace every worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadFailure {
    /// A new worker ended before it was ready.
    Exited(ExitStatus),
    /// A new worker could not even be started.
    SpawnFailed,
    /// A new worker was not ready in time.
    NotReady {
        /// Where its predecessor listens and it does not. Empty if that one listened nowhere.
        missing: Vec<ServerId>,
        /// Whether its word was awaited, and it did not say that it is ready.
        is_silent: bool,
    },
    /// Something else was asked for meanwhile: a restart, or an end. Fewer workers are no
    /// reason, for those that stay wanted are still replaced.
    Superseded,
}

impl ReloadFailure {
    /// Says in a sentence without its full stop who failed and how. Of one that was late it
    /// names the patience and its option, for that may be what has to change.
    #[must_use]
    pub fn describe(
        &self,
        culprit: Option<(WorkerId, SlotId)>,
        listen_timeout: Duration,
        address_of: impl Fn(ServerId) -> String,
    ) -> String {
        let who = culprit.map_or_else(
            || "a new worker".to_owned(),
            |(worker, slot)| format!("new worker {} (slot {})", worker.0, slot.0),
        );
        match self {
            Self::Exited(status) => format!("{who} exited with {status} before it was ready"),
            Self::SpawnFailed => format!("{who} could not be started"),
            Self::NotReady { missing, is_silent } => {
                let addresses: Vec<String> = missing.iter().copied().map(address_of).collect();
                let (lack, options) = match (missing.is_empty(), is_silent) {
                    (true, true) => (SAY.to_owned(), BOTH),
                    (true, false) => ("listen anywhere".to_owned(), PATIENCE),
                    (false, true) => (
                        format!("listen on {} nor {SAY}", addresses.join(", ")),
                        BOTH,
                    ),
                    (false, false) => (format!("listen on {}", addresses.join(", ")), PATIENCE),
                };
                format!("{who} did not {lack} within {listen_timeout:?} ({options})")
            }
            Self::Superseded => "something else was asked for meanwhile".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(failure: &ReloadFailure) -> String {
        let culprit = Some((WorkerId(7), SlotId(2)));
        let address = |server: ServerId| format!("127.0.0.1:{}", server.0);
        failure.describe(culprit, Duration::from_millis(1500), address)
    }

    #[test]
    fn one_that_was_late_is_told_with_what_it_lacks_the_patience_and_its_option() {
        let two = [ServerId(80), ServerId(443)];
        let on_two = "listen on 127.0.0.1:80, 127.0.0.1:443";
        let table = [
            (&two[..], false, on_two.to_owned(), PATIENCE),
            (&[], false, "listen anywhere".to_owned(), PATIENCE),
            (
                &two,
                true,
                format!("{on_two} nor say that it is ready"),
                BOTH,
            ),
            (&[], true, "say that it is ready".to_owned(), BOTH),
        ];
        for (missing, is_silent, lack, options) in table {
            let missing = missing.to_vec();
            assert_eq!(
                describe(&ReloadFailure::NotReady { missing, is_silent }),
                format!("new worker 7 (slot 2) did not {lack} within 1.5s ({options})")
            );
        }
    }

    #[test]
    fn one_that_ended_is_told_with_how_it_did() {
        let exited = ReloadFailure::Exited(ExitStatus::code(3));
        assert_eq!(
            describe(&exited),
            "new worker 7 (slot 2) exited with code 3 before it was ready"
        );
        assert_eq!(
            describe(&ReloadFailure::SpawnFailed),
            "new worker 7 (slot 2) could not be started"
        );
    }
}
