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
//!    the other end open; late acks count; where it ends inside a word, more may have been
//!    behind that, which [`Report::CutOff`] says;
//! 5. only then is [`Report::Exited`] sent, and un-acked connections go to other workers.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maitred_core::id::{ConnectionId, WorkerId};
use maitred_core::supervise::ExitStatus;
use maitred_protocol::native::{Encoded, MESSAGES_PER_FRAME};
use maitred_protocol::node::{self, Meaning};
use maitred_protocol::{ChannelError, MasterToWorker};
use nix::sys::signal::{Signal, killpg};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::dialect::{Frame, LinkEnd, LinkInbox, UserText, Wording};
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

/// Frames read from a worker that is dead already.
///
/// Its own fit: a channel's default buffer holds 278, and one of a mebibyte 2,731 (measured).
/// What goes on beyond that is a grandchild which holds the other end and goes on writing.
const LAST_WORDS_MAX: usize = 4096;

/// A user message longer than this ends its worker's turn, in bytes: a page, as an ordinary
/// message is shorter, and the longest possible costs as much as hundreds of acks.
const LONG_MESSAGE: usize = 4096;

/// What waits to be sent, in order.
#[derive(Debug)]
enum Waiting {
    /// A frame, with the descriptor that it carries.
    Frame(Frame, Cargo),
    /// Handoffs to a Rust worker that go into one frame, or as few as hold them. They are put
    /// into words when they are sent; until then more may come to stand behind them.
    Handoffs(VecDeque<Handed>),
}

impl Waiting {
    fn has_connections(&self) -> bool {
        match self {
            Self::Frame(_, cargo) => matches!(cargo, Cargo::Connection(_)),
            Self::Handoffs(_) => true,
        }
    }
}

/// One connection for one worker.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    /// The message.
    pub(crate) message: MasterToWorker,
    /// Whose descriptor goes with it; it stays in the connection table until the ack.
    pub(crate) connection: ConnectionId,
}

/// The descriptor that a frame carries.
#[derive(Debug)]
pub(crate) enum Cargo {
    /// None.
    Nothing,
    /// A client connection for a Node worker; it stays in the connection table until the ack.
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
    /// It waits for the worker's next word.
    Held,
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
            Waiting::Handoffs(handoffs) => {
                handoffs.iter().any(|handed| handed.connection == connection)
            }
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

/// Sends one frame with the descriptor that it carries.
fn send_one(
    end: &mut LinkEnd,
    frame: &Frame,
    cargo: &Cargo,
    descriptors: &impl Descriptors,
) -> Result<(), ChannelError> {
    let descriptor = match cargo {
        Cargo::Nothing => None,
        Cargo::Socket(socket) => Some(socket.as_fd()),
        Cargo::Connection(connection) => match descriptors.descriptor(*connection) {
            Some(descriptor) => Some(descriptor),
            None => return Ok(()), // See `send_some`.
        },
    };
    end.send(frame, descriptor)
}

/// Sends as many handoffs as go into one frame, and takes them out.
fn send_some(
    end: &LinkEnd,
    handoffs: &mut VecDeque<Handed>,
    frame: &mut Encoded,
    descriptors: &impl Descriptors,
) -> Result<(), ChannelError> {
    frame.clear();
    let mut carried = [None; MESSAGES_PER_FRAME];
    let mut count = 0;
    for (
        Handed {
            message,
            connection,
        },
        place,
    ) in handoffs.iter().zip(&mut carried)
    {
        // Handoffs are numbered, so a worker can ack one that it was not sent yet. It has only
        // cheated itself: there is nothing left to send.
        *place = descriptors.descriptor(*connection);
        if place.is_some() {
            frame.push(message)?;
        }
        count += 1;
    }
    if !frame.is_empty() {
        end.send_handoffs(frame, carried.into_iter().flatten())?;
    }
    handoffs.drain(..count);
    Ok(())
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

/// Signals a process group. Only while its leader is alive or a zombie of ours, for after
/// that the number may be another's.
fn kill_group(pid: Pid, signal: Signal) {
    let group = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    // ESRCH is the only error possible: the group is empty, which is what is wanted.
    killpg(group, signal).unwrap_or_default();
}

/// Ends a process that was started a moment ago and cannot be watched.
pub(super) fn abandon(pid: Pid) {
    kill_group(pid, Signal::SIGKILL);
    // SIGKILL takes no time, usually; where it does, another thread waits.
    tokio::task::spawn_blocking(move || {
        // An error means that it is reaped already, by whoever reaps orphans here.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED)
            .map(drop)
            .unwrap_or_default();
    });
}

/// What [`attend`] watches.
#[derive(Debug)]
pub(crate) struct Attended {
    pub(crate) worker: WorkerId,
    pub(crate) pid: Pid,
    pub(crate) pidfd: AsyncFd<OwnedFd>,
    pub(crate) inbox: LinkInbox,
    pub(crate) reaped: Arc<AtomicBool>,
}

/// Listens to one worker until its process has ended; see the module for the order.
pub(crate) async fn attend(mut attended: Attended, reports: mpsc::Sender<Report>) {
    listen(&mut attended, &reports).await;
    // Where this program lets the kernel reap its children (SIGCHLD ignored, which it may
    // have inherited), the pid is free by now and perhaps another's.
    if is_zombie(attended.pidfd.get_ref()) {
        kill_group(attended.pid, Signal::SIGKILL);
    }
    attended.reaped.store(true, Ordering::Release);
    let status = reap(attended.pidfd.get_ref());
    hear_out(&mut attended, &reports).await;
    if attended.inbox.is_cut_off() {
        pass_on(&reports, Report::CutOff(attended.worker)).await;
    }
    pass_on(&reports, Report::Exited(attended.worker, status)).await;
}

/// Passes messages on until the process ends, or breaks the protocol and then ends.
///
/// One worker cannot keep the others from being heard. The runtime makes a task give way
/// that has received some hundred frames without waiting once, and a long message ends its
/// turn at once; when the queue of reports is full, it is first come, first served.
async fn listen(attended: &mut Attended, reports: &mpsc::Sender<Report>) {
    let worker = attended.worker;
    loop {
        let received = tokio::select! {
            received = attended.inbox.receive() => received,
            _ = attended.pidfd.readable() => return,
        };
        let report = match received {
            Ok(message) => {
                let is_long = message.text_len() > LONG_MESSAGE;
                pass_on(reports, Report::Message(worker, message)).await;
                if is_long {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            Err(error) if error.is_breach() => Report::Breached(worker, error),
            Err(_) => Report::ChannelClosed(worker),
        };
        pass_on(reports, report).await;
        // An error would mean that the runtime is ending, and then this task does too.
        let _ended = attended.pidfd.readable().await;
        return;
    }
}

async fn pass_on(reports: &mpsc::Sender<Report>, report: Report) {
    // A closed queue means that the master is at its end and nobody wants to know.
    reports.send(report).await.unwrap_or_default();
}

/// Reads what a dead worker had still said. A breach among it changes nothing any more, and
/// does not make its acks untrue that stand before or behind it.
async fn hear_out(attended: &mut Attended, reports: &mpsc::Sender<Report>) {
    for _ in 0..LAST_WORDS_MAX {
        match attended.inbox.try_receive().await {
            Ok(Some(message)) => {
                pass_on(reports, Report::Message(attended.worker, message)).await;
            }
            Err(error) if error.is_breach() && !attended.inbox.is_cut_off() => {}
            // Nor is there a way past a line that is too long.
            Ok(None) | Err(_) => return,
        }
    }
}

fn is_zombie(pidfd: &OwnedFd) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::PidFd(pidfd.as_fd()), look).is_ok_and(|status| status.is_some())
}

/// Collects the exit status of a process that has ended.
///
/// The status is empty if somebody else in this program reaped our worker, or nobody could:
/// it is dead, but nobody knows how.
fn reap(pidfd: &OwnedFd) -> ExitStatus {
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    status
        .ok()
        .flatten()
        .map_or_else(ExitStatus::default, |status| ExitStatus {
            code: status.exit_status(),
            signal: status.terminating_signal(),
        })
}
