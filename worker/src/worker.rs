//! This worker as its own program sees it: Node's `cluster.worker`.

use std::io;
use std::time::Duration;

use maitred_protocol::message::Welcome;
use maitred_protocol::{Generation, SlotId, WorkerId};
use serde::Serialize;

use crate::link::{Link, link};
use crate::messages::{Messages, SendError};
use crate::session::Wish;

/// Returns this worker; `None` if the program was started without a master.
///
/// The first call of this, or of a listen, greets the master.
///
/// # Errors
///
/// The channel could not be used, or the master speaks another version of the protocol.
///
/// # Panics
///
/// Outside a tokio runtime with I/O and time.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn worker() -> io::Result<Option<Worker>> {
    let Some(link) = link()? else {
        return Ok(None);
    };
    let identity = link.identity().await?;
    Ok(Some(Worker { link, identity }))
}

/// A handle to this worker. Cloning is cheap.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    link: &'static Link,
    identity: Welcome,
}

impl Worker {
    /// Returns its number: 1, 2, 3 … in order of birth, never used twice.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.identity.worker
    }

    /// Returns its place: 0, 1, 2 …, which a successor takes over.
    #[must_use]
    pub fn slot(&self) -> SlotId {
        self.identity.slot
    }

    /// Returns the set of workers it belongs to.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.identity.generation
    }

    /// Returns whether the channel to the master is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.lock().session.is_connected()
    }

    /// Returns whether it leaves, or left, because somebody wanted so: the master, or this
    /// program with [`disconnect`](Self::disconnect) or [`kill`](Self::kill).
    #[must_use]
    pub fn exited_after_disconnect(&self) -> bool {
        self.link.lock().session.is_wanted_to_leave()
    }

    /// Sends a message to the program that runs the master.
    ///
    /// # Errors
    ///
    /// [`SendError`], each with what is wrong.
    pub fn send(&self, message: &impl Serialize) -> Result<(), SendError> {
        let json = serde_json::to_string(message)?;
        if !self.is_connected() {
            return Err(SendError::Disconnected);
        }
        self.link.with(|state| state.outbox.send(json))
    }

    /// Returns the messages that the master's program sends. The first who asks gets them,
    /// with all that came before; later ones get `None`.
    #[must_use]
    pub fn messages(&self) -> Option<Messages> {
        self.link.lock().received.claim()
    }

    /// Leaves the master: closes all listeners, waits for the last connection, and closes the
    /// channel. The program goes on. [`disconnected`](Self::disconnected) waits for the end.
    pub fn disconnect(&self) {
        self.link.with(|state| state.leave(self.link, Wish::Own));
    }

    /// Leaves the master at once, whatever is held, and ends the process with code 0. Without
    /// a master (any more) it ends here and now.
    pub fn kill(&self) {
        self.link.with(|state| state.leave(self.link, Wish::Kill));
    }

    /// Waits until this worker has left its master, or lost it, and holds no connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn disconnected(&self) {
        let mut finished = self.link.finished.subscribe();
        // The link is never dropped, so this cannot fail.
        let _over = finished.wait_for(|finished| *finished).await;
    }

    /// Waits until this worker drains; returns how long idle connections may stay. As
    /// [`Listener::draining`](crate::Listener::draining), for programs without a listener.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) -> Duration {
        self.link.drained().await
    }
}
