//! Decides what a worker answers: take or reject, when to say `Ready`, when it has finished.
//!
//! The session is told what happened and knows nothing else: it reads no clock, touches no
//! socket and counts no open connections itself. So each of its promises is a test of a few
//! lines, at the bottom of this file.
//!
//! ```text
//!              Drain              Disconnect, or         last connection closed,
//! Accepting ──────────► Draining ─ the worker's own ─►  Leaving ─ own wish acknowledged ─► Closed
//!     │                     │      wish                    │                                 ▲
//!     │                     │      (skips Draining)        │        last connection closed   │
//!     └─────────────────────┴───────── master gone ────────┴──► Orphaned ────────────────────┘
//! ```
//!
//! **Invariant:** at most `window` connections are held un-acked, whatever the master sends.

use std::collections::{BTreeMap, BTreeSet};

use maitred_protocol::ServerId;
use maitred_protocol::message::RejectReason;

/// Who wants this worker to leave, and so what it must say and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The master. It knows already, so nothing is said.
    Master,
    /// The program, with `disconnect`: it goes on without a master.
    Own,
    /// The program, with `kill`: the process ends, whatever it holds.
    Kill,
}

/// Where in its life with a master a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes connections.
    Accepting,
    /// It takes none, and finishes those it holds.
    Draining,
    /// Its servers are closed, and it waits for its last connection; if it was its own wish,
    /// also for the master's word that it knows.
    Leaving(Wish),
    /// The master is gone.
    Orphaned,
    /// It has closed the channel itself.
    Closed,
}

/// What is to be done next on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Say `ExitedAfterDisconnect`.
    SayExited,
    /// Close the channel.
    Close(Wish),
}

/// One server, as far as decisions need it.
#[derive(Debug)]
struct Server {
    /// Connections in the listener's queue, un-acked.
    queued: usize,
    /// Most connections that may be open or queued.
    connections_max: Option<usize>,
}

impl Server {
    fn has_room(&self, open: usize) -> bool {
        self.connections_max
            .is_none_or(|max| open + self.queued < max)
    }
}

/// A worker's standing with its master.
#[derive(Debug)]
pub(crate) struct Session {
    phase: Phase,
    /// Whether somebody wanted it to leave. A phase alone cannot tell: it moves on.
    is_wanted: bool,
    /// Whether the master was told that the leaving is wanted, and has acknowledged it.
    has_said_exited: bool,
    is_acknowledged: bool,
    window: usize,
    servers: BTreeMap<ServerId, Server>,
    /// A `Ready` is owed: the master leaves us out until we say it.
    owes_ready: bool,
    /// The servers that must have room before it is said.
    full: BTreeSet<ServerId>,
}

impl Session {
    /// Starts a session. Its window is unknown, and so 0, until the master's welcome.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Accepting,
            is_wanted: false,
            has_said_exited: false,
            is_acknowledged: false,
            window: 0,
            servers: BTreeMap::new(),
            owes_ready: false,
            full: BTreeSet::new(),
        }
    }

    pub(crate) fn welcome(&mut self, window: u32) {
        self.window = usize::try_from(window).unwrap_or(usize::MAX);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Tells whether there is a master, and a channel to it.
    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.phase, Phase::Orphaned | Phase::Closed)
    }

    /// Tells whether new servers and new connections are wanted.
    pub(crate) fn is_accepting(&self) -> bool {
        self.phase == Phase::Accepting
    }

    /// Tells whether the program may still be given what is queued.
    ///
    /// An orphan's queue is given out, too: with the master its copies went, so nobody else
    /// can serve them.
    pub(crate) fn hands_out(&self) -> bool {
        matches!(self.phase, Phase::Accepting | Phase::Orphaned)
    }

    pub(crate) fn open_server(&mut self, server: ServerId, connections_max: Option<usize>) {
        let entry = Server {
            queued: 0,
            connections_max,
        };
        self.servers.insert(server, entry);
    }

    /// Forgets a server, and returns whether it was open.
    pub(crate) fn close_server(&mut self, server: ServerId) -> bool {
        self.full.remove(&server);
        self.servers.remove(&server).is_some()
    }

    /// Decides about one connection: `Ok` puts it into its server's queue.
    ///
    /// `open` is asked for the server's open connections only if the answer depends on it,
    /// for counting them costs a system call each.
    pub(crate) fn offer(
        &mut self,
        server: ServerId,
        arrived: bool,
        open: impl FnOnce() -> usize,
    ) -> Result<(), RejectReason> {
        let queued = self.queued();
        let accepting = self.is_accepting();
        let Some(target) = self.servers.get_mut(&server).filter(|_| accepting) else {
            // The worker may listen elsewhere still, and there it wants to be asked again.
            self.owes_ready |= accepting;
            return Err(RejectReason::Draining);
        };
        let refusal = if !arrived {
            Some(RejectReason::NoDescriptor)
        } else if queued >= self.window {
            Some(RejectReason::Full)
        } else if target.connections_max.is_some() && !target.has_room(open()) {
            self.full.insert(server);
            Some(RejectReason::Full)
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.owes_ready = true;
            return Err(reason);
        }
        target.queued += 1;
        Ok(())
    }

    /// So many queued connections went to the program.
    pub(crate) fn took(&mut self, server: ServerId, count: usize) {
        if let Some(server) = self.servers.get_mut(&server) {
            server.queued = server.queued.saturating_sub(count);
        }
    }

    /// A queued connection was rejected after all.
    pub(crate) fn gave_back(&mut self, server: ServerId) {
        self.took(server, 1);
        self.owes_ready |= self.is_accepting();
    }

    /// Tells whether a `Ready` is owed.
    pub(crate) fn owes_ready(&self) -> bool {
        self.owes_ready
    }

    /// Returns whether to say `Ready` now; to be asked after a pause, never at once.
    ///
    /// Without the pause a worker without descriptors and one connection would be sent back
    /// and forth at full speed. A rest is the whole worker's, so a full server waits until
    /// it has room itself: to be asked again earlier would cost its clients their turns,
    /// for the master refuses a connection that everybody gives back twice.
    pub(crate) fn ready_due(&mut self, open: impl Fn(ServerId) -> usize) -> bool {
        if !self.owes_ready || self.queued() >= self.window {
            return false;
        }
        let servers = &self.servers;
        self.full.retain(|id| {
            servers
                .get(id)
                .is_some_and(|server| !server.has_room(open(*id)))
        });
        self.owes_ready = !self.full.is_empty();
        !self.owes_ready
    }

    /// Stops taking connections; returns whether that is news.
    pub(crate) fn drain(&mut self) -> bool {
        if self.phase != Phase::Accepting {
            return false;
        }
        self.phase = Phase::Draining;
        self.owes_ready = false;
        true
    }

    /// Begins to leave; returns whether that is news.
    pub(crate) fn leave(&mut self, wish: Wish) -> bool {
        let news = match (self.phase, wish) {
            (Phase::Accepting | Phase::Draining, _) => true,
            // Whoever kills waits for nobody.
            (Phase::Leaving(_), Wish::Kill) => true,
            _ => return false,
        };
        self.phase = Phase::Leaving(wish);
        self.is_wanted = true;
        self.owes_ready = false;
        self.servers.clear();
        news
    }

    /// The master has acknowledged that we leave.
    pub(crate) fn parted(&mut self) {
        self.is_acknowledged = true;
    }

    /// The master is gone; returns whether that is news.
    pub(crate) fn orphan(&mut self) -> bool {
        if matches!(self.phase, Phase::Orphaned | Phase::Closed) {
            return false;
        }
        self.phase = Phase::Orphaned;
        self.owes_ready = false;
        true
    }

    /// Ends an orphan's life with its last connection; returns whether that is news.
    pub(crate) fn end_orphan(&mut self, any_open: impl FnOnce() -> bool) -> bool {
        let ends = self.phase == Phase::Orphaned && !any_open();
        if ends {
            self.phase = Phase::Closed;
        }
        ends
    }

    /// Tells whether somebody wanted this worker to leave, before or after it did.
    pub(crate) fn is_wanted_to_leave(&self) -> bool {
        self.is_wanted
    }

    /// Tells whether nothing can come any more and nothing is held.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Returns the next step on the way out, if it is time for one.
    ///
    /// That the leaving is wanted is said first of all: a program that ends as soon as its
    /// last connection is served would otherwise be taken for one that died.
    pub(crate) fn next_step(&mut self, any_open: impl FnOnce() -> bool) -> Option<Step> {
        let Phase::Leaving(wish) = self.phase else {
            return None;
        };
        let is_own = wish != Wish::Master;
        if is_own && !std::mem::replace(&mut self.has_said_exited, true) {
            return Some(Step::SayExited);
        }
        if is_own && !self.is_acknowledged || wish != Wish::Kill && any_open() {
            return None;
        }
        self.phase = Phase::Closed;
        Some(Step::Close(wish))
    }

    fn queued(&self) -> usize {
        self.servers.values().map(|server| server.queued).sum()
    }
}

#[cfg(test)]
mod tests;
