//! Reaps children that are not ours, which only a process with pid 1 gets.
//!
//! In a container the master may be the first process, and then inherits every process whose
//! parent has died. Nobody else will reap those. `waitpid(-1)` would also take workers,
//! whose end their own task must see, so the next dead child is looked at first, unreaped.

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::master::Master;

/// Watches for dead children, where that is this process's duty.
#[derive(Debug)]
pub(crate) struct Orphans {
    notices: Option<Signal>,
    /// A dead child of unknown kind may be waiting.
    noticed: bool,
}

impl Orphans {
    /// Begins to watch if this process has pid 1 and starts no children but workers. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of installing a signal handler.
    pub(crate) fn new(only_workers: bool) -> std::io::Result<Self> {
        let first = only_workers && std::process::id() == 1;
        let notices = first.then(|| signal(SignalKind::child())).transpose()?;
        Ok(Self {
            notices,
            noticed: false,
        })
    }

    /// Waits for news of a dead child. Cancel safe.
    pub(crate) async fn notice(&mut self) {
        match &mut self.notices {
            Some(notices) => {
                notices.recv().await;
                self.noticed = true;
            }
            None => std::future::pending().await,
        }
    }

    pub(crate) fn wanted(&self) -> bool {
        self.noticed
    }

    /// Reaps all dead children that are no workers.
    ///
    /// A dead *worker* hides those behind it, and one that is just being started is not known
    /// yet; both are over soon and end with a report, after which this is tried again.
    pub(crate) fn reap(&mut self, master: &Master) {
        if master.is_spawning() {
            return;
        }
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        while let Some(pid) = waitid(Id::All, look).ok().and_then(|dead| dead.pid()) {
            if master.is_worker(pid) {
                return;
            }
            // It was seen dead a line ago, so this takes it; an error means that it is gone.
            if waitid(Id::Pid(pid), WaitPidFlag::WEXITED).is_err() {
                break;
            }
        }
        self.noticed = false;
    }
}
