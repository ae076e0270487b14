//! Which of the workers with room gets the next connection.
//!
//! A policy knows its server's rotation and nothing else. It does not count handoffs, keep
//! connections or decide when to accept: that is the dispatcher's, and the same for all.
//!
//! | file | policy | a pick costs |
//! |---|---|---|
//! | `round_robin.rs` | `rr`, and `kernel` for what is left over | the same however many workers there are |
//! | `least_connections.rs` | `least-connections` | one look at each worker of the rotation |
//! | `sticky.rs` | `sticky` | one hash of 64 bits for each worker of the rotation |
//! | `weighted.rs` | `weighted` | one sum for each worker of the rotation |
//!
//! None allocates anything for a connection; they grow and shrink with the rotation only.

mod least_connections;
mod members;
mod round_robin;
mod sticky;
mod weighted;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pending::{HeldConnection, Pending};
use crate::id::{SlotId, WorkerId};
use least_connections::LeastConnections;
use round_robin::RoundRobin;
use sticky::Sticky;
use weighted::Weighted;

/// The scheduling policies by the names people type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PolicyName {
    /// The master accepts and hands each connection to the next ready worker.
    Rr,
    /// The master accepts and hands each connection to the worker with the fewest open ones.
    ///
    /// Open are those that the worker last reported, and those it was given since.
    LeastConnections,
    /// The master accepts and hands all connections of one client address to one worker.
    ///
    /// Behind a proxy all clients have the proxy's address, and so they all go to one worker.
    Sticky,
    /// The master accepts and hands each worker a share of connections by its weight.
    Weighted,
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
    pub const ALL: [Self; 6] = [
        Self::Rr,
        Self::LeastConnections,
        Self::Sticky,
        Self::Weighted,
        Self::Shared,
        Self::Kernel,
    ];

    /// Returns the name as it is written on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::LeastConnections => "least-connections",
            Self::Sticky => "sticky",
            Self::Weighted => "weighted",
            Self::Shared => "shared",
            Self::Kernel => "kernel",
        }
    }

    /// Tells whether the master accepts under this policy, if only what is left over.
    #[must_use]
    pub const fn accepts_in_master(self) -> bool {
        !matches!(self, Self::Shared)
    }

    /// Tells whether workers accept for themselves under this policy.
    ///
    /// A server keeps to that as long as it is open: its socket is with the workers or not, and
    /// neither can be undone while clients come.
    #[must_use]
    pub const fn has_workers_accept(self) -> bool {
        matches!(self, Self::Shared | Self::Kernel)
    }

    /// Tells whether the kernel spreads connections by itself, and so has to be told who is in
    /// the rotation.
    #[must_use]
    pub const fn rotates_in_kernel(self) -> bool {
        matches!(self, Self::Kernel)
    }

    /// Tells whether workers have to report how many connections they have open.
    #[must_use]
    pub const fn needs_reports(self) -> bool {
        matches!(self, Self::LeastConnections)
    }

    /// Makes a policy for a server whose rotation is still empty.
    pub(super) fn instantiate(self) -> Box<dyn Policy> {
        match self {
            // Under `kernel` this is about the few that are left over.
            Self::Rr | Self::Kernel => Box::new(RoundRobin::default()),
            Self::LeastConnections => Box::new(LeastConnections::default()),
            Self::Sticky => Box::new(Sticky::default()),
            Self::Weighted => Box::new(Weighted::default()),
            Self::Shared => Box::new(Shared),
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

/// A worker as it takes its place in a rotation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) worker: WorkerId,
    pub(super) slot: SlotId,
    pub(super) weight: u32,
}

/// What a policy may ask about workers while it picks one.
pub(super) trait Staff {
    /// Tells whether a worker may be handed one more connection.
    fn has_room(&self, worker: WorkerId) -> bool;

    /// Counts the connections a worker has, as far as the master can know.
    fn load(&self, worker: WorkerId) -> u64;
}

/// Chooses a worker for each connection of one server.
///
/// A policy hears of a worker in this order: `joined`, then `entered` and `filled` in turns,
/// then `left`; it may join again. A policy that cares for one of these only overrides that
/// one.
pub(super) trait Policy: fmt::Debug + Send {
    /// Tells whether a connection may wait for one worker while another has room.
    ///
    /// If so, accepting goes on while anybody has room, whoever waits.
    fn waits_for_one(&self) -> bool {
        false
    }

    /// A worker stands in the rotation and may be picked once it has room.
    fn joined(&mut self, _seat: Seat) {}

    /// A worker of the rotation has room.
    ///
    /// Called when it comes to listen, when an ack or its `Ready` makes room, and after a
    /// handoff that left it some. A worker that is known already keeps its place.
    fn entered(&mut self, worker: WorkerId);

    /// A worker of the rotation has no room any more.
    fn filled(&mut self, _worker: WorkerId) {}

    /// A worker must not be picked any more: it left, drains, rests or is gone.
    ///
    /// Who waited for it alone waits for anybody again; the queue has been told.
    fn left(&mut self, worker: WorkerId);

    /// A worker of the rotation has another weight.
    fn weighed(&mut self, _worker: WorkerId, _weight: u32) {}

    /// Finds the place in the queue of the connection that moves next, if one can.
    ///
    /// Called only while some worker has room. It may note of connections for which worker
    /// they wait.
    fn seek(&mut self, pending: &mut Pending) -> Option<usize> {
        (!pending.is_empty()).then_some(0)
    }

    /// Picks the worker for the connection that was just found.
    ///
    /// A worker may have lost its room to another server's connection since it entered. The
    /// dispatcher calls this only while some worker that entered has room, and gives the
    /// picked one its next turn through `entered`. `None` makes the connection wait.
    fn pick(&mut self, connection: &HeldConnection, staff: &dyn Staff) -> Option<WorkerId>;

    /// Lists the workers for people who watch: whose turn comes next first, as far as that
    /// does not depend on the client.
    fn order(&self) -> Vec<WorkerId>;
}

/// The workers hold the listening socket; there is nothing to pick.
#[derive(Debug)]
struct Shared;

impl Policy for Shared {
    fn entered(&mut self, _worker: WorkerId) {}

    fn left(&mut self, _worker: WorkerId) {}

    fn pick(&mut self, _connection: &HeldConnection, _staff: &dyn Staff) -> Option<WorkerId> {
        None
    }

    fn order(&self) -> Vec<WorkerId> {
        Vec::new()
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
            "unknown scheduling policy `rrr`: the policies are `rr`, `least-connections`, \
             `sticky`, `weighted`, `shared`, `kernel`"
        );
    }
}
