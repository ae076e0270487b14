//! Ends a process that has no master any more.
//!
//! Usually a worker ends by itself: its listeners say that they are over, and `main` returns.
//! A thread sees to the rest, for the rest cannot: a handler in an endless loop, a program
//! that waits for something else, a runtime that was dropped.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::link::Link;

/// How long a worker may go on without its channel.
///
/// An orphan serves what it holds for so long; one whose master told it to leave, and which
/// has closed its last connection, has so long for its own affairs (the master's own patience
/// after the kill signal is the same).
const PATIENCE: Duration = Duration::from_secs(5);

/// Begins to watch.
///
/// # Errors
///
/// Those of starting a thread.
pub(crate) fn start(link: &'static Link) -> io::Result<()> {
    thread::Builder::new()
        .name("maitred-watchdog".into())
        .spawn(|| watch(link))
        .map(drop)
}

fn watch(link: &Link) {
    loop {
        // No events asked for: only a hang-up or an error is ever reported.
        let mut channel = [PollFd::new(&link.end, PollFlags::empty())];
        match poll(&mut channel, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            // It cannot be watched, so it must not end the process either.
            Err(_) => return,
        }
    }
    if link.outlives() {
        return;
    }
    rest(PATIENCE);
    // As Node's workers do: to lose one's master is no failure of one's own.
    std::process::exit(0);
}

/// Waits for a time, and for nothing else.
fn rest(time: Duration) {
    let nothing = Mutex::new(());
    let guard = nothing.lock().unwrap_or_else(PoisonError::into_inner);
    let never = Condvar::new().wait_timeout_while(guard, time, |()| true);
    drop(never);
}
