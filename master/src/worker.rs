//! One worker as the cluster's owner sees it: Node's `Worker`.

use std::time::Instant;

use maitred_core::id::{Generation, SlotId, WorkerId};
use maitred_core::supervise::{ExitStatus, WorkerState};
use maitred_protocol::message::Statistics;
use maitred_protocol::native::FRAME_MAX;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::shell::command::Command;
use crate::shell::dialect::UserText;
use crate::shell::member::Manner;

/// What is known of a worker at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Where it stands in its life.
    pub state: WorkerState,
    /// Its process; `None` until it was started.
    pub pid: Option<u32>,
    /// Its channel is open.
    pub connected: bool,
    /// It leaves, or left, because it was asked to or wanted to.
    pub exited_after_disconnect: bool,
    /// How it ended, once it has.
    pub exit: Option<ExitStatus>,
    /// What it last said about its own work.
    pub statistics: Statistics,
}

/// Why a message was not sent to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The worker has no channel: it is gone, or on its way.
    #[error("send to worker {0}: it is not connected")]
    NotConnected(WorkerId),
    /// The worker does not read: as many messages wait for it as may, or as many bytes. These
    /// are 16 MiB, but a message that is alone may always wait.
    #[error("send to worker {0}: its queue is full")]
    QueueFull(WorkerId),
    /// The message is longer than the worker may be sent.
    #[error("send to worker {worker}: the message has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// To whom it was to go.
        worker: WorkerId,
        /// Its length as JSON, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The message cannot be written as JSON.
    #[error("write the message as JSON: {0}")]
    NotJson(String),
}

/// Room that a user message leaves for the frame around it, in bytes: a tag and a length.
const FRAME_OVERHEAD: usize = 16;

/// Longest user message to a Rust worker, as JSON text, in bytes.
pub const MESSAGE_MAX: usize = FRAME_MAX - FRAME_OVERHEAD;

/// A handle to one worker. It stays valid when the worker is gone; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) slot: SlotId,
    pub(crate) generation: Generation,
    pub(crate) started_at: Instant,
    pub(crate) manner: Manner,
    pub(crate) status: watch::Receiver<WorkerStatus>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Worker {
    /// Returns the worker's number: 1, 2, 3 … in order of birth, never used twice.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Returns the worker's place: 0, 1, 2 …, which a successor takes over.
    #[must_use]
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// Returns the set of workers that it belongs to: each reload begins a new one.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns all that is known of it now.
    #[must_use]
    pub fn status(&self) -> WorkerStatus {
        *self.status.borrow()
    }

    /// Returns the worker's process id, once it was started.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.status().pid
    }

    /// Returns where the worker stands in its life.
    #[must_use]
    pub fn state(&self) -> WorkerState {
        self.status().state
    }

    /// Returns whether its channel is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.status().connected
    }

    /// Returns whether its process has ended and was reaped.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.status().exit.is_some()
    }

    /// Returns whether it left of its own will or because it was asked to; `None` while it
    /// has done neither and still lives.
    #[must_use]
    pub fn exited_after_disconnect(&self) -> Option<bool> {
        let status = self.status();
        let settled = status.exited_after_disconnect || status.exit.is_some() || !status.connected;
        settled.then_some(status.exited_after_disconnect)
    }

    /// Waits until `condition` holds of the worker, and returns its status then.
    ///
    /// Returns the last status if the master ends first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_until(
        &self,
        mut condition: impl FnMut(&WorkerStatus) -> bool,
    ) -> WorkerStatus {
        let mut status = self.status.clone();
        let found = status
            .wait_for(|status| condition(status))
            .await
            .map(|status| *status);
        found.unwrap_or_else(|_| self.status())
    }

    /// Returns how long a message to it may be, as JSON text, in bytes: [`MESSAGE_MAX`] to a
    /// Rust worker; to a Node worker what the settings' `line_max` was when it was started.
    #[must_use]
    pub fn message_max(&self) -> usize {
        self.manner.message_max
    }

    /// Sends a message to the program in the worker. It arrives in order, or not at all if
    /// the worker ends first. Nobody waits for the worker to read.
    ///
    /// It is written as JSON, and checked, on the thread of whoever calls: with megabytes that
    /// takes some milliseconds.
    ///
    /// # Errors
    ///
    /// [`SendError`], each with what is wrong.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped before it returns, the message may or may not be sent.
    pub async fn send(&self, message: &impl Serialize) -> Result<(), SendError> {
        let json = serde_json::to_string(message)
            .map_err(|error| SendError::NotJson(error.to_string()))?;
        let (worker, len, max) = (self.id, json.len(), self.message_max());
        if len > max {
            return Err(SendError::TooLong { worker, len, max });
        }
        let text = UserText::new(self.manner.dialect, json)
            .map_err(|error| SendError::NotJson(error.to_string()))?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Send {
            worker,
            text,
            reply,
        };
        let gone = SendError::NotConnected(worker);
        self.commands
            .send(command)
            .await
            .map_err(|_| gone.clone())?;
        answer.await.unwrap_or(Err(gone))
    }

    /// Asks the worker to leave: no new connections, those it has are finished, then it exits.
    pub async fn disconnect(&self) {
        // The master's end is the worker's end as well: then there is nothing left to ask.
        self.commands
            .send(Command::Disconnect(self.id))
            .await
            .unwrap_or_default();
    }

    /// Signals the worker and everything it has started, at once.
    pub async fn kill(&self, signal: i32) {
        let command = Command::Kill {
            worker: self.id,
            signal,
        };
        // As above.
        self.commands.send(command).await.unwrap_or_default();
    }
}
