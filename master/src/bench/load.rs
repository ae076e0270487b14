//! What all clients of a load share: what to ask, how much is left to ask, what was counted.
//!
//! Everything runs on one thread, so cells will do.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use maitred::Moment;
use tokio::sync::Notify;

use super::answer::Asked;
use super::options::{Length, Options, Think};
use super::outcome::Outcome;
use super::record::{End, Line, Recorder, Start};
use super::request::Requests;
use super::tally::Tally;

/// Most bytes that are read at once: as much as a socket's buffer holds with Linux's defaults.
const READ_MAX: usize = 64 * 1024;

/// What think times are drawn from. Always the same, so that a load can be repeated.
const SEED: u64 = 1;

/// The state of a load.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) requests: Requests,
    pub(super) asked: Asked,
    pub(super) pipelining: usize,
    pub(super) timeout: Duration,
    pub(super) close: bool,
    think: Option<Think>,
    random: RefCell<Rng>,
    /// Wakes the clients that think when no further request is to be begun.
    pub(super) stopped: Notify,
    pub(super) tally: RefCell<Tally>,
    /// Where every connection reads to. What it reads is understood before the next one reads,
    /// so one buffer does, and stays in the processor's cache.
    pub(super) scratch: RefCell<Box<[u8]>>,
    address: Cell<SocketAddr>,
    recorder: RefCell<Option<Recorder>>,
    /// Requests that are yet to be begun; those without end if only the time counts.
    left: Cell<u64>,
    begun: Cell<u64>,
    connections: Cell<u64>,
}

impl Load {
    /// A load that has not begun.
    pub(super) fn new(options: &Options, recorder: Option<Recorder>, address: SocketAddr) -> Self {
        let left = match options.length {
            Length::Time(_) => u64::MAX,
            Length::Amount(amount) => amount,
        };
        let asked = if options.method == "HEAD" {
            Asked::Head
        } else {
            Asked::Body
        };
        let load = Self {
            requests: Requests::new(options),
            asked,
            pipelining: usize::try_from(options.pipelining).unwrap_or(1),
            timeout: options.timeout,
            close: options.close,
            think: options.think,
            random: RefCell::new(Rng::with_seed(SEED)),
            stopped: Notify::new(),
            tally: RefCell::new(Tally::new()),
            scratch: RefCell::new(vec![0; READ_MAX].into_boxed_slice()),
            address: Cell::new(address),
            recorder: RefCell::new(recorder),
            left: Cell::new(left),
            begun: Cell::new(0),
            connections: Cell::new(0),
        };
        load.record(|| {
            Line::Start(Start {
                url: options.target.url().to_owned(),
                connections: options.connections,
                pipelining: options.pipelining,
                close: options.close,
                start_ns: Moment::now(),
            })
        });
        load
    }

    /// Returns where connections go.
    pub(super) fn address(&self) -> SocketAddr {
        self.address.get()
    }

    /// Sends the connections to another address of the same host.
    pub(super) fn go_to(&self, address: SocketAddr) {
        self.address.set(address);
    }

    /// Begins a request, unless there is none left. It is then to be ended, or to fail.
    pub(super) fn begin_request(&self) -> bool {
        let left = self.left.get();
        if left == 0 {
            return false;
        }
        self.left.set(left - 1);
        if left == 1 {
            self.stopped.notify_waiters();
        }
        self.begun.set(self.begun.get() + 1);
        true
    }

    /// Sees to it that no further request is begun.
    pub(super) fn stop(&self) {
        self.left.set(0);
        self.stopped.notify_waiters();
    }

    /// Returns whether no further request is to be begun.
    pub(super) fn is_over(&self) -> bool {
        self.left.get() == 0
    }

    /// Returns whether clients wait between requests.
    pub(super) fn thinks(&self) -> bool {
        self.think.is_some()
    }

    /// Draws how long a client waits before its next request.
    pub(super) fn think_time(&self) -> Duration {
        let Some(Think { min, max }) = self.think else {
            return Duration::ZERO;
        };
        min + (max - min).mul_f64(self.random.borrow_mut().f64())
    }

    /// Returns how many requests were begun and have not ended.
    pub(super) fn unfinished(&self) -> u64 {
        self.begun.get() - self.tally.borrow().ended()
    }

    /// Returns the number of a new connection, and for which time it uses its port.
    pub(super) fn count_connection(&self, port: Option<u16>) -> (u64, u32) {
        let number = self.connections.get() + 1;
        self.connections.set(number);
        let mut recorder = self.recorder.borrow_mut();
        let port_use = match (recorder.as_mut(), port) {
            (Some(recorder), Some(port)) => recorder.use_port(port),
            _ => 0,
        };
        (number, port_use)
    }

    /// Counts a request that has no answer.
    pub(super) fn fail(&self, outcome: Outcome, announced: bool, reason: Option<&str>) {
        self.tally.borrow_mut().failed(outcome, announced, reason);
    }

    /// Records a line, which is only made if there is a record.
    pub(super) fn record(&self, line: impl FnOnce() -> Line) {
        if let Some(recorder) = self.recorder.borrow_mut().as_mut() {
            recorder.add(line());
        }
    }

    /// Completes the record.
    ///
    /// # Errors
    ///
    /// Why it is incomplete.
    pub(super) fn finish_record(&self) -> io::Result<()> {
        let Some(recorder) = self.recorder.borrow_mut().take() else {
            return Ok(());
        };
        recorder.finish(Line::End(End {
            end_ns: Moment::now(),
            requests: self.tally.borrow().ended(),
            unfinished: self.unfinished(),
        }))
    }
}
