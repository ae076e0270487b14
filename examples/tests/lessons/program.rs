//! A lesson at work: started, listened to, stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long anything may take. Nothing here needs a second; the rest is for busy machines.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Lines that may wait to be read: more than any lesson prints in a test.
const LINES_MAX: usize = 256;

/// A running example. Dropping it ends it, and with it its workers.
pub(crate) struct Program {
    process: Child,
    lines: Receiver<String>,
}

/// Returns where the example lies: in `examples/`, beside the folder of this test.
pub(crate) fn path(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples")
        .join(example);
    let shown = path.display();
    assert!(
        path.exists(),
        "{shown} is missing: cargo build -p maitred-examples --examples"
    );
    path
}

impl Program {
    /// Starts an example that is to listen on `address`.
    #[expect(
        clippy::disallowed_methods,
        reason = "a reader starts lessons without a master"
    )]
    pub(crate) fn start(example: &str, address: &str) -> Self {
        let mut command = Command::new(path(example));
        let mut process = command.arg(address).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = sync_channel(LINES_MAX);
        // Ends when all who have the pipe, the workers among them, have ended.
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|l| sender.send(l))
        });
        Self { process, lines }
    }

    /// Returns the next line that contains `words`.
    pub(crate) fn line(&self, words: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let line = self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no line with {words:?}: {error}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Returns what follows `words` in the next line that contains them.
    pub(crate) fn after(&self, words: &str) -> String {
        self.line(words).split_once(words).unwrap().1.to_owned()
    }

    /// Returns its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Asks it to stop, and checks its end; returns what it printed meanwhile.
    pub(crate) fn stop(self) -> Vec<String> {
        let workers = children(self.pid());
        kill_process(self.pid(), Signal::TERM).unwrap();
        let lines = self.end();
        for worker in workers {
            assert!(!is_alive(worker), "worker {worker} is left behind");
        }
        lines
    }

    /// Checks that it ends, and well; returns what it printed until then.
    pub(crate) fn end(mut self) -> Vec<String> {
        await_end(self.pid());
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
        // The output is at its end when its last holder has gone: so no worker is left, known
        // or unknown.
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("somebody still holds the output"),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After `stop` both find nothing to do.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

/// Waits until a process has ended, whoever its parent is.
pub(crate) fn await_end(pid: Pid) {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let limit = Timespec::try_from(DEADLINE).unwrap();
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ended, 1, "process {pid} has not ended");
}

/// Returns whether there is such a process.
pub(crate) fn is_alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns the processes that this one has started and not reaped.
pub(crate) fn children(parent: Pid) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may contain anything: the state, then the parent.
        let parent: i32 = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()?;
        Some((pid, parent))
    });
    let parent = parent.as_raw_nonzero().get();
    processes
        .filter(|(_, of)| *of == parent)
        .map(|(pid, _)| pid)
        .collect()
}
