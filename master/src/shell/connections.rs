//! The descriptors of connections that the master still holds.
//!
//! A connection is here from accept to release or refusal. The descriptor is never
//! registered with the master's epoll and never read: it is a copy, kept so that the
//! connection can be given to another worker if the first one dies un-acked. It must go as
//! soon as the ack is there, since the client sees the end of the stream only when the last
//! copy is closed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use maitred_core::id::ConnectionId;

use super::outbox::Descriptors;

/// One connection as the shell knows it.
#[derive(Debug)]
pub(crate) struct Held {
    descriptor: OwnedFd,
    /// The client's address, from accept4 itself: asking later fails if the client has left.
    pub(crate) client: Option<SocketAddr>,
}

/// All connections between accept and release.
///
/// Filled by the acceptor, emptied by `Release` and `Refuse`; the dispatcher bounds it by
/// the pending queues and the windows.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    held: HashMap<ConnectionId, Held>,
    accepted: u64,
}

impl Connections {
    /// Takes a connection in and names it.
    pub(crate) fn admit(
        &mut self,
        descriptor: OwnedFd,
        client: Option<SocketAddr>,
    ) -> ConnectionId {
        self.accepted += 1;
        let connection = ConnectionId(self.accepted);
        self.held.insert(connection, Held { descriptor, client });
        connection
    }

    /// Returns whether none is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Closes the master's copy.
    pub(crate) fn close(&mut self, connection: ConnectionId) -> Option<Held> {
        self.held.remove(&connection)
    }

    /// Returns the client's address.
    pub(crate) fn client(&self, connection: ConnectionId) -> Option<SocketAddr> {
        self.held.get(&connection)?.client
    }
}

impl Descriptors for Connections {
    fn descriptor(&self, connection: ConnectionId) -> Option<BorrowedFd<'_>> {
        self.held
            .get(&connection)
            .map(|held| held.descriptor.as_fd())
    }
}
