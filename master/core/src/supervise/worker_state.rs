//! The states of a worker and of a slot without one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a worker process is in its life.
///
/// The variants stand in the order of that life, and a life has no way back: states may be
/// skipped, never entered again. So a late message of a worker that is already leaving
/// cannot make it look alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Ordered, perhaps not even forked; it has not spoken.
    Starting,
    /// It reads its channel.
    Online,
    /// It listens on a server. Unless its word is awaited, it is ready.
    Listening,
    /// It takes nothing new and finishes what it holds.
    Draining,
    /// It has to exit by itself soon, or is killed.
    Stopping,
    /// Its process is reaped.
    Dead,
}

/// What moves a worker from one state to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It spoke for the first time.
    CameOnline,
    /// It listens on a server.
    Listened,
    /// It was told to leave, or leaves by its own will.
    DrainBegun,
    /// It got a signal to go, or closed its channel.
    StopBegun,
    /// It was reaped.
    Exited,
}

impl WorkerState {
    /// Returns the state after an event: wherever the event leads, unless that lies behind.
    #[must_use]
    pub fn next(self, event: WorkerEvent) -> Self {
        let target = match event {
            WorkerEvent::CameOnline => Self::Online,
            WorkerEvent::Listened => Self::Listening,
            WorkerEvent::DrainBegun => Self::Draining,
            WorkerEvent::StopBegun => Self::Stopping,
            WorkerEvent::Exited => Self::Dead,
        };
        self.max(target)
    }

    /// Tells whether the worker is on its way out, or gone.
    #[must_use]
    pub fn is_leaving(self) -> bool {
        self >= Self::Draining
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Starting => "starting",
            Self::Online => "online",
            Self::Listening => "listening",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Dead => "dead",
        })
    }
}

/// What a slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// A worker lives there, or was ordered to.
    Occupied,
    /// Empty until its wait is over.
    Backoff,
    /// Empty, since everything is being shut down.
    Stopped,
    /// Empty, since its program does not come up.
    Errored,
}

impl fmt::Display for SlotState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Occupied => "occupied",
            Self::Backoff => "backoff",
            Self::Stopped => "stopped",
            Self::Errored => "errored",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::WorkerEvent::{CameOnline, DrainBegun, Exited, Listened, StopBegun};
    use super::WorkerState::{Dead, Draining, Listening, Online, Starting, Stopping};

    /// Written out, not computed: the table is what the states mean.
    #[test]
    fn every_state_answers_every_event() {
        let events = [CameOnline, Listened, DrainBegun, StopBegun, Exited];
        let table = [
            (Starting, [Online, Listening, Draining, Stopping, Dead]),
            (Online, [Online, Listening, Draining, Stopping, Dead]),
            (Listening, [Listening, Listening, Draining, Stopping, Dead]),
            (Draining, [Draining, Draining, Draining, Stopping, Dead]),
            (Stopping, [Stopping, Stopping, Stopping, Stopping, Dead]),
            (Dead, [Dead, Dead, Dead, Dead, Dead]),
        ];
        for (state, expected) in table {
            for (event, next) in events.into_iter().zip(expected) {
                assert_eq!(state.next(event), next, "{state} after {event:?}");
            }
        }
    }
}
