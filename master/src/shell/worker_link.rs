//! The master's side of one worker: what it is sent, what it says, how it ends.
//!
//! Sending is the event loop's, through [`WorkerLink`]: it never waits, and what a full
//! channel does not take stays in a bounded outbox. Receiving is a task's, [`attend`], which
//! also sees the process through its end. One task for both, so that the order is certain:
//!
//! 1. the process has ended (its pidfd is readable) and is a zombie: nothing can reuse its pid;
//! 2. its process group is killed, for whatever it left behind;
//! 3. it is reaped: from here on nothing of its own can reach the channel;
//! 4. the channel is read to its end *or until it is empty*, for a grandchild may still hold
//!    the other end open; late acks count;
//! 5. only then is [`Report::Exited`] sent, and un-acked connections go to other workers.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maitred_core::id::{ConnectionId, WorkerId};
use maitred_core::supervise::ExitStatus;
use maitred_protocol::ChannelError;
use maitred_protocol::native::{Encoded, MasterEnd, MasterInbox};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::Pid;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::report::Report;

/// Frames that may wait for a worker that does not read.
///
/// Handoffs are bounded by the window and answers by the worker's own questions, so a worker
/// that gets here is being flooded with user messages (refused beyond this) or asks without
/// reading (a breach).
const OUTBOX_MAX: usize = 1024;

/// How long to wait after the kernel said that too many descriptors are in flight: the
/// socket stays writable then, so no event will tell.
pub(crate) const IN_FLIGHT_RETRY: Duration = Duration::from_millis(10);

/// A frame that waits, with the connection whose descriptor it needs.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) frame: Encoded,
    pub(crate) cargo: Cargo,
}

/// The descriptor that a frame carries.
#[derive(Debug)]
pub(crate) enum Cargo {
    /// None.
    Nothing,
    /// A client connection; it stays in the connection table until the ack.
    Connection(ConnectionId),
    /// A listening socket, given away for good.
    Socket(OwnedFd),
}

/// What became of a frame that was to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is in the channel.
    Sent,
    /// It waits for room in the channel.
    Queued,
    /// The worker does not read: its outbox is full.
    Overflow,
    /// The channel is closed; the worker's end will be reported.
    Gone,
}

/// Finds the descriptor of a connection in the master's table.
pub(crate) trait Descriptors {
    /// Returns the descriptor, if the master still holds the connection.
    fn descriptor(&self, connection: ConnectionId) -> Option<BorrowedFd<'_>>;
}

/// The sending half of one worker's link, and its process.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    end: MasterEnd,
    pid: Pid,
    /// Set by the attending task before the pid can be reused.
    reaped: Arc<AtomicBool>,
    outbox: VecDeque<Waiting>,
    /// A task waits for the channel to become writable.
    waiting: bool,
    /// Not before this time, after `ETOOMANYREFS`.
    pub(crate) retry_at: Option<Instant>,
}

impl WorkerLink {
    pub(crate) fn new(end: MasterEnd, pid: Pid, reaped: Arc<AtomicBool>) -> Self {
        let outbox = VecDeque::new();
        Self {
            end,
            pid,
            reaped,
            outbox,
            waiting: false,
            retry_at: None,
        }
    }

    /// Sends a frame, or puts it behind those that wait.
    pub(crate) fn send(&mut self, waiting: Waiting, descriptors: &impl Descriptors) -> Delivery {
        if self.outbox.len() >= OUTBOX_MAX {
            return Delivery::Overflow;
        }
        self.outbox.push_back(waiting);
        self.flush(Instant::now(), descriptors)
    }

    /// Sends what waits, as far as the channel takes it.
    pub(crate) fn flush(&mut self, now: Instant, descriptors: &impl Descriptors) -> Delivery {
        self.retry_at = None;
        while let Some(next) = self.outbox.front() {
            let descriptor = match &next.cargo {
                Cargo::Nothing => None,
                Cargo::Socket(socket) => Some(socket.as_fd()),
                Cargo::Connection(connection) => match descriptors.descriptor(*connection) {
                    Some(descriptor) => Some(descriptor),
                    None => {
                        debug_assert!(false, "a connection in flight is in the table");
                        self.outbox.pop_front();
                        continue;
                    }
                },
            };
            match self.end.send(&next.frame, descriptor) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(ChannelError::Full) => return Delivery::Queued,
                Err(ChannelError::TooManyInFlight) => {
                    self.retry_at = Some(now + IN_FLIGHT_RETRY);
                    return Delivery::Queued;
                }
                Err(_) => return Delivery::Gone,
            }
        }
        Delivery::Sent
    }

    /// Has the event loop told when the channel takes frames again, once.
    pub(crate) fn await_room(&mut self, worker: WorkerId, reports: &mpsc::Sender<Report>) {
        if self.waiting || self.outbox.is_empty() || self.retry_at.is_some() {
            return;
        }
        self.waiting = true;
        let (end, reports) = (self.end.clone(), reports.clone());
        tokio::spawn(async move {
            // An error means that the runtime is ending; a closed queue that the loop has.
            if end.writable().await.is_ok() {
                reports
                    .send(Report::Writable(worker))
                    .await
                    .unwrap_or_default();
            }
        });
    }

    /// Notes that the wait of [`await_room`](Self::await_room) is over.
    pub(crate) fn room_came(&mut self) {
        self.waiting = false;
    }

    /// Returns how many frames wait.
    pub(crate) fn backlog(&self) -> usize {
        self.outbox.len()
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

fn kill_group(pid: Pid, signal: Signal) {
    let group = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    // ESRCH is the only error possible: the group is empty, which is what is wanted.
    killpg(group, signal).unwrap_or_default();
}

/// What [`attend`] watches.
#[derive(Debug)]
pub(crate) struct Attended {
    pub(crate) worker: WorkerId,
    pub(crate) pid: Pid,
    pub(crate) pidfd: AsyncFd<OwnedFd>,
    pub(crate) inbox: MasterInbox,
    pub(crate) reaped: Arc<AtomicBool>,
}

/// Listens to one worker until its process has ended; see the module for the order.
pub(crate) async fn attend(mut attended: Attended, reports: mpsc::Sender<Report>) {
    let heard = listen(&mut attended, &reports).await;
    kill_group(attended.pid, Signal::SIGKILL);
    attended.reaped.store(true, Ordering::Release);
    let status = reap(attended.pidfd.get_ref());
    if heard {
        hear_out(&mut attended, &reports).await;
    }
    // A closed queue means that the master is at its end and nobody wants to know.
    reports
        .send(Report::Exited(attended.worker, status))
        .await
        .unwrap_or_default();
}

/// Passes messages on until the process ends; returns whether the channel may hold more.
async fn listen(attended: &mut Attended, reports: &mpsc::Sender<Report>) -> bool {
    let worker = attended.worker;
    loop {
        let received = tokio::select! {
            received = attended.inbox.receive() => received,
            _ = attended.pidfd.readable() => return true,
        };
        let (report, last) = match received {
            Ok(message) => (Report::Message(worker, message), false),
            Err(error) if error.is_breach() => (Report::Breached(worker, error), true),
            Err(_) => (Report::ChannelClosed(worker), true),
        };
        reports.send(report).await.unwrap_or_default();
        if last {
            // An error would mean that the runtime is ending, and then this task does too.
            let _ended = attended.pidfd.readable().await;
            return false;
        }
    }
}

/// Reads what a dead worker had still said. A breach among it changes nothing any more.
async fn hear_out(attended: &mut Attended, reports: &mpsc::Sender<Report>) {
    while let Ok(Some(message)) = attended.inbox.try_receive() {
        let report = Report::Message(attended.worker, message);
        reports.send(report).await.unwrap_or_default();
    }
}

fn reap(pidfd: &OwnedFd) -> ExitStatus {
    match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED) {
        Ok(WaitStatus::Exited(_, code)) => ExitStatus {
            code: Some(code),
            signal: None,
        },
        Ok(WaitStatus::Signaled(_, signal, _)) => ExitStatus {
            code: None,
            signal: Some(signal as i32),
        },
        // Somebody else in this program reaped our worker: it is dead, but nobody knows how.
        Ok(_) | Err(_) => ExitStatus {
            code: None,
            signal: None,
        },
    }
}
