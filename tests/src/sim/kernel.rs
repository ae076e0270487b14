//! The kernel's side of a listener, and what became of each client.

use maitred_core::dispatch::RefusalReason;
use maitred_core::id::WorkerId;

/// A listening socket with clients in its backlog.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listener {
    /// Whether anybody listens; if not, clients are refused by the kernel.
    pub is_open: bool,
    /// Whether the shell is to accept.
    pub is_accepting: bool,
    /// Clients that connected and were not accepted.
    pub backlog: u64,
}

/// How far an accepted connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fortune {
    /// The worker that took it. It acked, so it may have read, so no other may ever get it.
    pub taken_by: Option<WorkerId>,
    /// How its time in the master ended.
    pub ended: Option<End>,
}

/// How a connection's time in the master ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The master closed its copy: the worker has the connection.
    Released,
    /// The master closed the connection.
    Refused(RefusalReason),
}

impl Fortune {
    /// Tells whether the end fits what really happened to the client.
    #[must_use]
    pub fn is_just(&self) -> bool {
        match self.ended {
            Some(End::Released) => self.taken_by.is_some(),
            Some(End::Refused(_)) => self.taken_by.is_none(),
            None => false,
        }
    }
}
