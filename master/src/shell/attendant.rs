//! Who listens to one worker, and sees its process through its end. One task for both, so that
//! the order is certain:
//!
//! 1. the process has ended (its pidfd is readable) and is a zombie: nothing can reuse its pid;
//! 2. its process group is killed, for whatever it left behind;
//! 3. it is reaped: from here on nothing of its own can reach the channel;
//! 4. the channel is read to its end *or until it is empty*, for a grandchild may still hold
//!    the other end open; late acks count; where it ends inside a word, more may have been
//!    behind that, which [`Report::CutOff`] says;
//! 5. only then is [`Report::Exited`] sent, and un-acked connections go to other workers.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use maitred_core::id::WorkerId;
use maitred_core::supervise::ExitStatus;
use nix::sys::signal::{Signal, killpg};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::dialect::LinkInbox;
use super::report::Report;

/// Messages heard of a worker that is dead already.
///
/// Its own fit: a channel's default buffer holds 278 frames, and one of a mebibyte 2,731
/// (measured), and only acks share a frame, at most a window of them.
/// What goes on beyond that is a grandchild which holds the other end and goes on writing.
const LAST_WORDS_MAX: usize = 4096;

/// A user message longer than this ends its worker's turn, in bytes: a page, as an ordinary
/// message is shorter, and the longest possible costs as much as hundreds of acks.
const LONG_MESSAGE: usize = 4096;

/// Signals a process group. Only while its leader is alive or a zombie of ours, for after
/// that the number may be another's.
pub(super) fn kill_group(pid: Pid, signal: Signal) {
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
