//! Which of the workers with room gets the next connection.
//!
//! A policy knows its server's rotation and nothing else. It does not count handoffs, keep
//! connections or decide when to accept: that is the dispatcher's, and the same for all.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ready::ReadyRing;
use crate::id::WorkerId;

/// The scheduling policies by the names people type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PolicyName {
    /// The master accepts and hands each connection to the next ready worker.
    Rr,
    /// The workers share the listening socket and race for each connection.
    ///
    /// Even under saturation, but not under light load: the kernel wakes whom it likes.
    /// It is here for the comparison that shows why `rr` exists.
    Shared,
    /// The kernel gives each connection to the next worker's own listener.
    ///
    /// The rotation is as exact as that of `rr`, and costs the master nothing. What the kernel
    /// cannot give to anybody the master accepts, and hands over as `rr` does.
    Kernel,
}

impl PolicyName {
    /// Every policy there is, the default first.
    pub const ALL: [Self; 3] = [Self::Rr, Self::Shared, Self::Kernel];

    /// Returns the name as it is written on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Shared => "shared",
            Self::Kernel => "kernel",
        }
    }

    /// Makes a policy for a server whose rotation is still empty.
    pub(super) fn instantiate(self) -> Box<dyn Policy> {
        match self {
            Self::Rr => Box::new(RoundRobin::default()),
            Self::Shared => Box::new(Shared),
            Self::Kernel => Box::new(Kernel::default()),
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for PolicyName {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|name| name.as_str() == text);
        known.ok_or_else(|| UnknownPolicy {
            name: text.to_owned(),
        })
    }
}

/// A policy was asked for that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scheduling policy `{name}`: the policies are {}",
    known_names()
)]
pub struct UnknownPolicy {
    /// What was asked for.
    pub name: String,
}

fn known_names() -> String {
    PolicyName::ALL.map(|name| format!("`{name}`")).join(", ")
}

/// Chooses a worker for each connection of one server.
pub(super) trait Policy: fmt::Debug + Send {
    /// Tells whether the master accepts for this server at all.
    fn accepts_in_master(&self) -> bool {
        true
    }

    /// Tells whether the kernel spreads connections by itself, and so has to be told who is in
    /// the rotation.
    fn rotates_in_kernel(&self) -> bool {
        false
    }

    /// A worker of the rotation has room.
    ///
    /// Called when it comes to listen, when an ack or its `Ready` makes room, and after a
    /// handoff that left it some. A worker that is known already keeps its place.
    fn entered(&mut self, worker: WorkerId);

    /// A worker must not be picked any more: it left, drains, rests or is gone.
    fn left(&mut self, worker: WorkerId);

    /// Picks the worker for a connection from `client`.
    ///
    /// A worker may have lost its room to another server's connection without being told
    /// off with `left`, so ask `has_room`. The dispatcher calls this only while some worker
    /// that entered has room, and gives the picked one its next turn through `entered`.
    /// `None` makes the connection wait.
    fn pick(
        &mut self,
        client: Option<SocketAddr>,
        has_room: &dyn Fn(WorkerId) -> bool,
    ) -> Option<WorkerId>;

    /// Lists who would be picked, next one first, for people who watch.
    fn order(&self) -> Vec<WorkerId>;
}

/// Strict rotation among the workers that have room: see [`ReadyRing`].
#[derive(Debug, Default)]
struct RoundRobin {
    ring: ReadyRing,
}

impl Policy for RoundRobin {
    fn entered(&mut self, worker: WorkerId) {
        self.ring.enter(worker);
    }

    fn left(&mut self, worker: WorkerId) {
        self.ring.remove(worker);
    }

    fn pick(
        &mut self,
        _client: Option<SocketAddr>,
        has_room: &dyn Fn(WorkerId) -> bool,
    ) -> Option<WorkerId> {
        self.ring.take_head(has_room)
    }

    fn order(&self) -> Vec<WorkerId> {
        self.ring.iter().collect()
    }
}

/// The workers hold the listening socket; there is nothing to pick.
#[derive(Debug)]
struct Shared;

impl Policy for Shared {
    fn accepts_in_master(&self) -> bool {
        false
    }

    fn entered(&mut self, _worker: WorkerId) {}

    fn left(&mut self, _worker: WorkerId) {}

    fn pick(
        &mut self,
        _client: Option<SocketAddr>,
        _has_room: &dyn Fn(WorkerId) -> bool,
    ) -> Option<WorkerId> {
        None
    }

    fn order(&self) -> Vec<WorkerId> {
        Vec::new()
    }
}

/// The kernel picks. Here is decided about the few that come to the master's own listener, or
/// are left at that of a worker that is out of the rotation: they are handed over in turn.
#[derive(Debug, Default)]
struct Kernel {
    left_over: RoundRobin,
}

impl Policy for Kernel {
    fn rotates_in_kernel(&self) -> bool {
        true
    }

    fn entered(&mut self, worker: WorkerId) {
        self.left_over.entered(worker);
    }

    fn left(&mut self, worker: WorkerId) {
        self.left_over.left(worker);
    }

    fn pick(
        &mut self,
        client: Option<SocketAddr>,
        has_room: &dyn Fn(WorkerId) -> bool,
    ) -> Option<WorkerId> {
        self.left_over.pick(client, has_room)
    }

    fn order(&self) -> Vec<WorkerId> {
        self.left_over.order()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_itself() {
        for name in PolicyName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn an_unknown_name_is_told_which_exist() {
        let error = "rrr".parse::<PolicyName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown scheduling policy `rrr`: the policies are `rr`, `shared`, `kernel`"
        );
    }
}
