//! Passes the workers' output on, line by line, each with the worker's name before it.
//!
//! A worker writes into a pipe. If nobody emptied it, the worker would one day stop in the
//! middle of a `println!`; so the pipes are always read, whatever becomes of the lines. The
//! lines go through a bounded queue to a thread that writes them: when the terminal or the
//! log behind it is too slow, lines are dropped and counted, and neither a worker nor the
//! master waits. All this is on a thread of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use maitred_core::id::{SlotId, WorkerId};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver as Pipe;
use tokio::sync::{mpsc, watch};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Pipes that may wait to be read: two for each worker, some time after its birth.
const PIPES_QUEUE: usize = 4096;

/// Longest line that is passed on whole, in bytes; a longer one is broken. nginx and syslog
/// break at 2 KiB to 8 KiB too.
const LINE_MAX: usize = 8 * 1024;

/// Lines waiting for the writer; beyond, they are dropped and counted. At most 64 MiB if
/// every line were as long as may be, some hundred KiB in practice.
const LINES_QUEUE: usize = 8 * 1024;

/// Lines of each worker that are kept, to explain why it ended.
const LAST_LINES: usize = 10;

/// Dead workers whose last lines are kept.
const OBITUARIES: usize = 64;

/// The way to the thread that reads workers' output.
#[derive(Clone, Debug)]
pub(crate) struct Outputs {
    pipes: mpsc::Sender<Source>,
    shared: Arc<Shared>,
    /// How many pipes are open; the reader side of a count.
    open: watch::Receiver<usize>,
}

/// One pipe of one worker.
#[derive(Debug)]
struct Source {
    worker: WorkerId,
    slot: SlotId,
    pipe: OwnedFd,
    is_error: bool,
}

#[derive(Debug)]
struct Shared {
    last_lines: Mutex<BTreeMap<WorkerId, VecDeque<String>>>,
    stdout: NonBlocking,
    stderr: NonBlocking,
    open: watch::Sender<usize>,
    /// Write what is queued when they are dropped: at the end, or when the last user is gone.
    guards: Mutex<Option<[WorkerGuard; 2]>>,
}

impl Outputs {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Those of starting a thread and its runtime.
    pub(crate) fn start() -> io::Result<Self> {
        let writer = || {
            NonBlockingBuilder::default()
                .lossy(true)
                .buffered_lines_limit(LINES_QUEUE)
        };
        let (stdout, stdout_guard) = writer().finish(io::stdout());
        let (stderr, stderr_guard) = writer().finish(io::stderr());
        let (counter, open) = watch::channel(0);
        let shared = Arc::new(Shared {
            last_lines: Mutex::default(),
            stdout,
            stderr,
            open: counter,
            guards: Mutex::new(Some([stdout_guard, stderr_guard])),
        });
        let (pipes, inbox) = mpsc::channel(PIPES_QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let sink = shared.clone();
        thread::Builder::new()
            .name("maitred-output".into())
            .spawn(move || runtime.block_on(take_in(inbox, sink)))?;
        Ok(Self {
            pipes,
            shared,
            open,
        })
    }

    /// Begins to read a worker's pipes: standard output, then error.
    pub(crate) fn pump(&self, worker: WorkerId, slot: SlotId, pipes: Vec<OwnedFd>) {
        for (index, pipe) in pipes.into_iter().enumerate() {
            self.shared.open.send_modify(|open| *open += 1);
            let source = Source {
                worker,
                slot,
                pipe,
                is_error: index == 1,
            };
            if self.pipes.try_send(source).is_err() {
                // Closed unread: the worker's next write fails, which it can survive.
                self.shared.open.send_modify(|open| *open -= 1);
            }
        }
    }

    /// Waits until all pipes were read to their ends, but no longer than `limit`, and then
    /// until the lines are written, but not for a terminal that takes none.
    ///
    /// Lines that come later are lost.
    pub(crate) async fn settle(&self, limit: Duration) {
        let mut open = self.open.clone();
        // Past the limit, a grandchild holds a pipe open; what it prints is lost.
        tokio::time::timeout(limit, open.wait_for(|open| *open == 0))
            .await
            .map(drop)
            .unwrap_or(());
        let guards = self
            .shared
            .guards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Their drop waits for the writers, for about a second each at the most. It cannot
        // panic, so there is no failure to tell of.
        tokio::task::spawn_blocking(move || drop(guards))
            .await
            .unwrap_or_default();
    }

    /// Returns the last lines of a worker, also for a while after its death.
    pub(crate) fn last_lines(&self, worker: WorkerId) -> Vec<String> {
        let lines = self
            .shared
            .last_lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lines
            .get(&worker)
            .map(|lines| lines.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Returns how many lines were dropped because nobody took them in time.
    pub(crate) fn dropped_lines(&self) -> usize {
        self.shared.stdout.error_counter().dropped_lines()
            + self.shared.stderr.error_counter().dropped_lines()
    }
}

async fn take_in(mut inbox: mpsc::Receiver<Source>, shared: Arc<Shared>) {
    while let Some(source) = inbox.recv().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            read(source, &shared).await;
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn read(source: Source, shared: &Shared) {
    let Source {
        worker,
        slot,
        pipe,
        is_error,
    } = source;
    let Ok(mut pipe) = Pipe::from_owned_fd(pipe) else {
        return;
    };
    let mut out = if is_error {
        shared.stderr.clone()
    } else {
        shared.stdout.clone()
    };
    let mut buffer = Vec::with_capacity(LINE_MAX);
    loop {
        let read = pipe.read_buf(&mut buffer).await;
        let ended = !matches!(read, Ok(count) if count > 0);
        while let Some(line) = take_line(&mut buffer, ended) {
            shared.pass_on(
                worker,
                &format!("{}:{} | {line}\n", slot.0, worker.0),
                &mut out,
            );
        }
        if ended {
            return;
        }
    }
}

/// Takes the first line out of the buffer: a whole one, one that is too long, or at the end
/// of the stream the rest.
fn take_line(buffer: &mut Vec<u8>, ended: bool) -> Option<String> {
    let newline = buffer
        .iter()
        .position(|byte| *byte == b'\n')
        .filter(|at| *at < LINE_MAX);
    let (keep, remove) = match newline {
        Some(at) => (at, at + 1),
        None if buffer.len() >= LINE_MAX => (LINE_MAX, LINE_MAX),
        None if ended && !buffer.is_empty() => (buffer.len(), buffer.len()),
        None => return None,
    };
    let line = String::from_utf8_lossy(&buffer[..keep])
        .trim_end_matches('\r')
        .to_owned();
    buffer.drain(..remove);
    Some(line)
}

impl Shared {
    fn pass_on(&self, worker: WorkerId, line: &str, out: &mut NonBlocking) {
        self.remember(worker, line.trim_end());
        // The queue never fails; when it is full it counts what it drops.
        out.write_all(line.as_bytes()).unwrap_or_default();
    }

    fn remember(&self, worker: WorkerId, line: &str) {
        let mut all = self
            .last_lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lines = all.entry(worker).or_default();
        lines.push_back(line.to_owned());
        if lines.len() > LAST_LINES {
            lines.pop_front();
        }
        // Numbers only rise, so the first entries are the longest dead. A living worker's
        // lines may go too if it has been silent while many others came and went.
        while all.len() > OBITUARIES.max(super::super::settings::INSTANCES_MAX as usize) {
            all.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_newlines_at_the_limit_and_at_the_end() {
        let mut buffer = b"one\r\ntwo\nthr".to_vec();
        assert_eq!(take_line(&mut buffer, false).as_deref(), Some("one"));
        assert_eq!(take_line(&mut buffer, false).as_deref(), Some("two"));
        assert_eq!(take_line(&mut buffer, false), None);
        assert_eq!(take_line(&mut buffer, true).as_deref(), Some("thr"));
        assert_eq!(take_line(&mut buffer, true), None);
        let mut long = vec![b'x'; LINE_MAX + 1];
        assert_eq!(
            take_line(&mut long, false).map(|line| line.len()),
            Some(LINE_MAX)
        );
        assert_eq!(take_line(&mut long, true).as_deref(), Some("x"));
    }
}
