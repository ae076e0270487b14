//! Watches a thread's system calls, and makes some of them fail.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::{Home, processes, wait_until};

/// An `strace` that is attached to one thread, until it is dropped.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    thread: u32,
    written: PathBuf,
    _home: Home,
}

impl Strace {
    /// Attaches to one thread; `expressions` are those of strace's `-e`.
    ///
    /// # Panics
    ///
    /// If strace is not there, or may not.
    #[expect(
        clippy::disallowed_methods,
        reason = "strace is no worker; it is ended here"
    )]
    #[must_use]
    pub fn attach(thread: u32, expressions: &[&str]) -> Self {
        let home = Home::new();
        let written = home.join("calls");
        let mut command = Command::new("strace");
        command
            .arg("-o")
            .arg(&written)
            .args(["-p", &thread.to_string()]);
        for expression in expressions {
            command.args(["-e", expression]);
        }
        let child = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed");
        wait_until("strace is attached", || tracer(thread) == Some(child.id()));
        Self {
            child,
            thread,
            written,
            _home: home,
        }
    }

    /// Returns how many calls so far have this in their line.
    #[must_use]
    pub fn count(&self, what: &str) -> usize {
        let calls = fs::read_to_string(&self.written).unwrap_or_default();
        calls.lines().filter(|line| line.contains(what)).count()
    }
}

/// Returns which process traces a thread.
fn tracer(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok()
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Ended so it lets go of the thread first; killed, it might leave it stopped.
        processes::signal(self.child.id(), Signal::TERM);
        self.child.wait().map(drop).unwrap_or_default();
        let gone = tracer(self.thread).is_none_or(|tracer| tracer != self.child.id());
        debug_assert!(gone, "strace has let go of the thread");
    }
}
