//! A lesson at work: started, listened to, stopped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::processes::{await_end, children, is_alive};
use crate::{DEADLINE, path};

/// Lines that may wait to be read: more than any lesson prints in a test.
const LINES_MAX: usize = 256;

/// A running example. Dropping it ends it, and with it its workers.
pub(crate) struct Program {
    process: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts an example that is to listen on `address`.
    #[expect(
        clippy::disallowed_methods,
        reason = "readers start it, no master does"
    )]
    pub(crate) fn start(example: &str, address: &str) -> Self {
        let mut command = Command::new(path(example));
        let mut process = command.arg(address).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = sync_channel(LINES_MAX);
        // Ends when all who have the pipe, the workers among them, have ended.
        thread::spawn(move || {
            let mut read = output.lines().map_while(Result::ok);
            read.try_for_each(|line| sender.send(line))
        });
        Self { process, lines }
    }

    /// Returns the next line that contains `words`.
    pub(crate) fn line(&self, words: &str) -> String {
        self.line_of(&[words])
    }

    fn line_of(&self, words: &[&str]) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("no line with {words:?}: {error}"));
            if words.iter().any(|words| line.contains(words)) {
                return line;
            }
        }
    }

    /// Returns the next lines that contain `one` and `other`, whichever comes first: two
    /// processes that write into one pipe do so in no order.
    pub(crate) fn both(&self, one: &str, other: &str) -> [String; 2] {
        let first = self.line_of(&[one, other]);
        if first.contains(one) {
            let second = self.line(other);
            return [first, second];
        }
        [self.line(one), first]
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
