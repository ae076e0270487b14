//! How refusals of the cluster read on the control socket.

use maitred::{ClusterError, PolicyError, ReloadError};

use super::refusal::{Kind, Refusal};

/// Why not now, but later. What comes to rest can be asked for anything again.
const STOPPING: &str = "everything is being stopped; wait for that to end";

/// Says why a reload failed, with what the worker that failed printed last.
fn in_words(error: &ReloadError) -> String {
    let mut words = error.to_string();
    if let ReloadError::Failed { last_lines, .. } = error {
        words = with_last_lines(words, last_lines);
    }
    words
}

pub(super) fn with_last_lines(mut words: String, last_lines: &[String]) -> String {
    if !last_lines.is_empty() {
        words += "; its last lines:";
        for line in last_lines {
            words += &format!("\n  {line}");
        }
    }
    words
}

pub(super) fn reload_refused(error: &ReloadError) -> Refusal {
    let kind = match error {
        ReloadError::Busy | ReloadError::Stopping => Kind::Busy,
        ReloadError::Ending | ReloadError::Ended => Kind::Ending,
        ReloadError::NothingRuns => Kind::NoSuchWorker,
        ReloadError::Failed { .. } | _ => Kind::Failed,
    };
    Refusal::new(kind, in_words(error))
}

pub(super) fn policy_refused(error: PolicyError) -> Refusal {
    let kind = match error {
        PolicyError::Ended => Kind::Ending,
        PolicyError::NoSuchSlot(_) => Kind::NoSuchWorker,
        PolicyError::CannotReport { .. }
        | PolicyError::OtherAcceptor { .. }
        | PolicyError::TooHeavy(_)
        | _ => Kind::BadRequest,
    };
    Refusal::new(kind, error.to_string())
}

pub(super) fn refused(error: ClusterError) -> Refusal {
    match error {
        ClusterError::Stopping => Refusal::new(Kind::Busy, STOPPING),
        ClusterError::Ending => Refusal::new(Kind::Ending, "the master is ending"),
        ClusterError::IsWorker
        | ClusterError::Setting(_)
        | ClusterError::Ended
        | ClusterError::Io(_)
        | _ => Refusal::new(Kind::Ending, format!("the master is ending: {error}")),
    }
}
