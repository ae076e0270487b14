//! The course of a load: clients start, seconds are counted, the end comes.

use std::future::pending;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::client::{self, Dialled, dial};
use super::load::Load;
use super::options::{Length, Options};
use super::outcome::Outcome;
use super::progress::Progress;
use super::samples::{PERIOD, Reading, Samples};

/// How the load went, beside what was counted.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) samples: Samples,
    /// From the first connection until the last request had ended.
    pub(super) elapsed: Duration,
    /// Whether somebody would not wait for its end.
    pub(super) interrupted: bool,
}

/// Runs the load to its end.
///
/// When it is time, no further request is begun, and those in flight are waited for, which
/// takes as long as the timeout at most. Ctrl-C makes it time; a second one ends at once.
pub(super) async fn run(load: &Rc<Load>, options: &Options, addresses: &[SocketAddr]) -> Course {
    let mut opened = choose_address(load, addresses).await;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..options.connections {
        clients.spawn_local(client::run(Rc::clone(load), opened.take()));
    }
    let mut watch = Watch::new(load, options, began);
    let interrupted = watch.until_all_have_ended(clients).await;
    watch.end();
    Course {
        samples: watch.samples,
        elapsed: began.elapsed(),
        interrupted,
    }
}

/// Chooses among several addresses of a host the first that takes a connection, which becomes
/// the first of the load. `localhost` often means two, and few servers listen at both.
async fn choose_address(load: &Load, addresses: &[SocketAddr]) -> Option<Dialled> {
    if addresses.len() < 2 {
        return None;
    }
    let mut alarm = pin!(sleep(load.timeout));
    for address in addresses {
        if let Ok(dialled) = dial(*address, load.timeout, alarm.as_mut()).await {
            load.go_to(*address);
            return Some(dialled);
        }
    }
    None
}

/// Watches over the clients.
#[derive(Debug)]
struct Watch<'a> {
    load: &'a Load,
    began: Instant,
    /// When no further request is to be begun.
    due: Option<Instant>,
    is_over: bool,
    samples: Samples,
    progress: Progress,
}

impl<'a> Watch<'a> {
    fn new(load: &'a Load, options: &Options, began: Instant) -> Self {
        let due = match options.length {
            Length::Time(time) => Some(began + time),
            Length::Amount(_) => None,
        };
        Self {
            load,
            began,
            due,
            is_over: false,
            samples: Samples::default(),
            progress: Progress::new(options.length, io::stderr().is_terminal()),
        }
    }

    /// Returns whether it was interrupted before that.
    async fn until_all_have_ended(&mut self, mut clients: JoinSet<()>) -> bool {
        let mut seconds = interval_at(self.began + PERIOD, PERIOD);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // Without signals the load cannot be interrupted, but it can run.
        let mut interrupts = signal(SignalKind::interrupt()).ok();
        let mut interrupted = false;
        loop {
            tokio::select! {
                ended = clients.join_next() => match ended {
                    Some(ended) => ended.expect("a client neither panics nor is cancelled"),
                    None => return interrupted,
                },
                () = at(self.due) => self.stop(),
                _ = seconds.tick() => self.look(),
                () = next(&mut interrupts) => {
                    if self.is_over {
                        return true;
                    }
                    interrupted = true;
                    self.stop();
                }
            }
        }
    }

    fn stop(&mut self) {
        self.load.stop();
        self.due = None;
        self.end();
    }

    fn look(&mut self) {
        let reading = self.reading();
        if !self.is_over {
            self.samples.take(self.began.elapsed(), reading);
        }
        self.progress
            .show(self.began.elapsed(), self.load.tally.borrow().ended());
    }

    /// Takes the last sample.
    fn end(&mut self) {
        if !self.is_over {
            self.is_over = true;
            let reading = self.reading();
            self.samples.end(self.began.elapsed(), reading);
        }
    }

    fn reading(&self) -> Reading {
        let tally = self.load.tally.borrow();
        Reading {
            requests: tally.count(Outcome::Ok),
            bytes: tally.received_bytes,
        }
    }
}

async fn next(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => interrupts.recv().await.unwrap_or_default(),
        None => pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
