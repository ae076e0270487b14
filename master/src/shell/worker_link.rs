//! The sending half of one worker's link: it never waits, and what a full channel does not take
//! stays in a bounded outbox. Receiving is a task's: see `attendant.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maitred_core::id::{ConnectionId, WorkerId};
use maitred_protocol::message::ServerQuery;
use maitred_protocol::native::Encoded;
use maitred_protocol::node::{self, Meaning};
use maitred_protocol::{ChannelError, MasterToWorker};
use nix::sys::signal::Signal;
use rustix::process::Pid;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::attendant::kill_group;
use super::dialect::{Frame, LinkEnd, UserText, Wording};
use super::outbox::{Cargo, Delivery, Descriptors, Handed, Waiting, send_one, send_some};
use super::report::Report;
use crate::launch::Dialect;

/// Frames that may wait for a worker that does not read.
///
/// Handoffs are bounded by the window and answers by the worker's own questions, so a worker
/// that gets here is being flooded with user messages (refused beyond this) or asks without
/// reading (a breach).
const OUTBOX_MAX: usize = 1024;

/// Listening sockets among them: each is a descriptor of ours, and a worker that asks and
/// closes over and over without reading must not use them up. As many as it may listen on.
const SOCKETS_MAX: usize = super::servers::SERVERS_PER_WORKER;

/// How long to wait after the kernel said that too many descriptors are in flight, or that
/// it is short of memory: the socket stays writable then, so no event will tell.
pub(crate) const IN_FLIGHT_RETRY: Duration = Duration::from_millis(10);

/// The sending half of one worker's link, and its process.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    end: LinkEnd,
    pid: Pid,
    /// Set by the attending task before the pid can be reused.
    reaped: Arc<AtomicBool>,
    outbox: VecDeque<Waiting>,
    /// The memory of the last handoffs that were sent, and of their frame, to be used again.
    spare: VecDeque<Handed>,
    frame: Encoded,
    /// The task that waits for the channel to become writable, if one does.
    waiting: Option<AbortHandle>,
    /// When to try again what the kernel refused for a time.
    pub(crate) retry_at: Option<Instant>,
}

impl WorkerLink {
    pub(crate) fn new(end: LinkEnd, pid: Pid, reaped: Arc<AtomicBool>) -> Self {
        let outbox = VecDeque::new();
        Self {
            end,
            pid,
            reaped,
            outbox,
            spare: VecDeque::new(),
            frame: Encoded::default(),
            waiting: None,
            retry_at: None,
        }
    }

    /// Returns the language that the worker speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        self.end.dialect()
    }

    /// Returns whether it has no channel, so that there is nothing to be said or heard.
    pub(crate) fn is_silent(&self) -> bool {
        self.dialect() == Dialect::None
    }

    /// Gives a user message its place among what the worker is told.
    pub(crate) fn encode_user(&mut self, text: UserText) -> Wording {
        self.end.encode_user(text)
    }

    /// Puts a message into the worker's language.
    pub(crate) fn encode(&mut self, message: &MasterToWorker) -> Result<Wording, ChannelError> {
        self.end.encode(message)
    }

    /// Returns what a Node worker means by what it said.
    pub(crate) fn interpret(&mut self, heard: node::Heard) -> Result<Meaning, ChannelError> {
        self.end.interpret(heard)
    }

    /// Leaves a question without an answer, if that is an answer in the worker's language.
    pub(crate) fn ignore(&mut self, query: &ServerQuery) -> bool {
        self.end.ignore(query)
    }

    /// Sends a frame, or puts it behind those that wait.
    pub(crate) fn send(
        &mut self,
        (frame, cargo): (Frame, Cargo),
        descriptors: &impl Descriptors,
    ) -> Delivery {
        let is_socket = |waiting: &&Waiting| matches!(waiting, Waiting::Frame(_, Cargo::Socket(_)));
        let too_many_sockets = matches!(cargo, Cargo::Socket(_))
            && self.outbox.iter().filter(is_socket).count() >= SOCKETS_MAX;
        if self.outbox.len() >= OUTBOX_MAX || too_many_sockets {
            return Delivery::Overflow;
        }
        self.outbox.push_back(Waiting::Frame(frame, cargo));
        self.flush(Instant::now(), descriptors)
    }

    /// Puts a handoff behind what waits; [`flush`](Self::flush) sends it, at the end of the
    /// turn, with those that have come to stand beside it. The window bounds them.
    ///
    /// Returns whether it is the first of its frame.
    pub(crate) fn put_handoff(&mut self, handed: Handed) -> bool {
        if let Some(Waiting::Handoffs(handoffs)) = self.outbox.back_mut() {
            handoffs.push_back(handed);
            return false;
        }
        let mut handoffs = std::mem::take(&mut self.spare);
        handoffs.push_back(handed);
        self.outbox.push_back(Waiting::Handoffs(handoffs));
        true
    }

    /// Sends what waits, as far as the channel takes it.
    pub(crate) fn flush(&mut self, now: Instant, descriptors: &impl Descriptors) -> Delivery {
        self.retry_at = None;
        loop {
            let sent = match self.outbox.front_mut() {
                None => return Delivery::Sent,
                Some(Waiting::Frame(frame, cargo)) => {
                    send_one(&mut self.end, frame, cargo, descriptors)
                }
                Some(Waiting::Handoffs(handoffs)) => {
                    send_some(&self.end, handoffs, &mut self.frame, descriptors)
                }
            };
            match sent {
                Ok(()) => self.forget_sent(),
                Err(ChannelError::Full) => return Delivery::Queued,
                Err(ChannelError::AwaitingAck) => return Delivery::Held,
                Err(ChannelError::TooManyInFlight | ChannelError::Io(_)) => {
                    self.retry_at = Some(now + IN_FLIGHT_RETRY);
                    return Delivery::Queued;
                }
                Err(_) => {
                    // Connections among them stay in flight until the worker is reaped, and
                    // are known until then as what it was not sent.
                    self.outbox.retain(Waiting::has_connections);
                    return Delivery::Gone;
                }
            }
        }
    }

    /// Takes out what was sent, unless there is a rest of it.
    fn forget_sent(&mut self) {
        match self.outbox.pop_front() {
            Some(Waiting::Handoffs(rest)) if rest.is_empty() => self.spare = rest,
            Some(Waiting::Handoffs(rest)) => self.outbox.push_front(Waiting::Handoffs(rest)),
            Some(Waiting::Frame(..)) | None => {}
        }
    }

    /// Has the event loop told when the channel takes frames again, once.
    pub(crate) fn await_room(&mut self, worker: WorkerId, reports: &mpsc::Sender<Report>) {
        if self.waiting.is_some() || self.outbox.is_empty() || self.retry_at.is_some() {
            return;
        }
        let (Some(room), reports) = (self.end.room(), reports.clone()) else {
            return;
        };
        let task = tokio::spawn(async move {
            // An error means that the runtime is ending; a closed queue that the loop has.
            if room.writable().await.is_ok() {
                reports
                    .send(Report::Writable(worker))
                    .await
                    .unwrap_or_default();
            }
        });
        self.waiting = Some(task.abort_handle());
    }

    /// Notes that the wait of [`await_room`](Self::await_room) is over.
    pub(crate) fn room_came(&mut self) {
        self.waiting = None;
    }

    /// Returns how many frames wait.
    pub(crate) fn backlog(&self) -> usize {
        self.outbox.len()
    }

    /// Returns how many bytes wait, those included of which a part is in the channel.
    pub(crate) fn backlog_bytes(&self) -> usize {
        let len = |waiting: &Waiting| match waiting {
            Waiting::Frame(frame, _) => frame.len(),
            // Not put into words yet, and a few bytes each.
            Waiting::Handoffs(_) => 0,
        };
        self.outbox.iter().map(len).sum()
    }

    /// Returns whether a connection waits here, not sent yet or not whole.
    pub(crate) fn is_waiting(&self, connection: ConnectionId) -> bool {
        let is_it = |waiting: &Waiting| match waiting {
            Waiting::Frame(_, Cargo::Connection(id)) => *id == connection,
            Waiting::Frame(..) => false,
            Waiting::Handoffs(handoffs) => handoffs
                .iter()
                .any(|handed| handed.connection == connection),
        };
        self.outbox.iter().any(is_it)
    }

    /// Signals the worker and all it has started. Does nothing once it was reaped.
    pub(crate) fn signal(&self, signal: i32) {
        let Ok(signal) = Signal::try_from(signal) else {
            return;
        };
        if !self.reaped.load(Ordering::Acquire) {
            kill_group(self.pid, signal);
        }
    }
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        // A grandchild may hold the worker's end and never read: the task would wait for
        // ever, and keep our end open.
        if let Some(task) = &self.waiting {
            task.abort();
        }
    }
}
