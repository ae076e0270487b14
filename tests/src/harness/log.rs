//! What a cluster said: its events, and the lines beside them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use maitred::{Event, Events, WorkerId};
use serde_json::Value;

use super::DEADLINE;

/// Everything that a cluster has said so far. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<(Mutex<Said>, Condvar)>,
}

#[derive(Debug, Default)]
struct Said {
    events: Vec<Value>,
    /// Events of connections, of which there may be very many.
    steps: Vec<Value>,
    lines: Vec<String>,
    /// How many may still add something.
    writers: usize,
}

impl Log {
    /// Begins a log that so many will write; it is complete when each has said so.
    #[must_use]
    pub fn new(writers: usize) -> Self {
        let said = Said {
            writers,
            ..Said::default()
        };
        Self {
            shared: Arc::new((Mutex::new(said), Condvar::new())),
        }
    }

    /// Notes that one of the writers is done.
    pub fn writer_is_done(&self) {
        self.said().writers -= 1;
        self.shared.1.notify_all();
    }

    /// Adds an event.
    pub fn push(&self, event: Value) {
        self.said().events.push(event);
        self.shared.1.notify_all();
    }

    /// Adds a step of a connection. Nobody is woken, for who waits reads all events again.
    pub fn push_step(&self, step: Value) {
        self.said().steps.push(step);
    }

    /// Adds a line of output: an event, if it is one.
    pub fn push_line(&self, line: &str) {
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event.get("connection").is_some() => self.push_step(event),
            Ok(event) if event.get("event").is_some() => self.push(event),
            _ => {
                self.said().lines.push(line.to_owned());
                self.shared.1.notify_all();
            }
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all events of one name, first to last.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<Value> {
        let said = self.said();
        let is_it = |event: &&Value| event["event"] == name;
        said.events.iter().filter(is_it).cloned().collect()
    }

    /// Returns all steps of one name that the master recorded of connections, first to last.
    #[must_use]
    pub fn steps(&self, name: &str) -> Vec<Value> {
        let said = self.said();
        let is_it = |event: &&Value| event["event"] == name;
        said.steps.iter().filter(is_it).cloned().collect()
    }

    /// Returns all steps that the master recorded of connections, first to last.
    #[must_use]
    pub fn all_steps(&self) -> Vec<Value> {
        self.said().steps.clone()
    }

    /// Returns the names of all events that concern a worker, first to last.
    #[must_use]
    pub fn of_worker(&self, worker: WorkerId) -> Vec<String> {
        let said = self.said();
        let events = said
            .events
            .iter()
            .filter(|event| event["worker"] == worker.0);
        events.map(|event| text(event, "event")).collect()
    }

    /// Returns all lines that are no events.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.said().lines.clone()
    }

    /// Waits for the first event of a name that `accept` takes, however long ago it was.
    ///
    /// # Panics
    ///
    /// At the deadline, or when the log is complete without it, with all that was said.
    pub fn wait(&self, name: &str, accept: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(name, |events| {
            let is_it = |event: &&Value| event["event"] == name && accept(event);
            events.iter().find(is_it).cloned()
        })
    }

    /// Waits until so many events of a name were said, and returns them.
    ///
    /// # Panics
    ///
    /// At the deadline, or when the log is complete without it, with all that was said.
    pub fn wait_count(&self, name: &str, count: usize) -> Vec<Value> {
        self.wait_for(name, |events| {
            let is_it = |event: &&Value| event["event"] == name;
            let found: Vec<Value> = events.iter().filter(is_it).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    fn wait_for<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut said = self.said();
        loop {
            if let Some(found) = find(&said.events) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            let hope = !left.is_zero() && said.writers > 0;
            assert!(hope, "no event `{what}` came; {}", said.story());
            let woken = self.shared.1.wait_timeout(said, left);
            said = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Tells all that was said, for a test that failed.
    #[must_use]
    pub fn story(&self) -> String {
        self.said().story()
    }
}

impl Said {
    fn story(&self) -> String {
        let mut story = String::from("this was said:\n");
        for event in &self.events {
            // Writing to a text does not fail.
            writeln!(story, "  {event}").unwrap_or_default();
        }
        for line in &self.lines {
            writeln!(story, "  | {line}").unwrap_or_default();
        }
        story
    }
}

/// Returns a field that holds a number.
///
/// # Panics
///
/// If it does not.
#[must_use]
pub fn number(event: &Value, field: &str) -> u64 {
    let number = event[field].as_u64();
    number.unwrap_or_else(|| panic!("no number `{field}` in {event}"))
}

/// Returns a field that holds a text.
///
/// # Panics
///
/// If it does not.
#[must_use]
pub fn text(event: &Value, field: &str) -> String {
    let text = event[field].as_str();
    text.unwrap_or_else(|| panic!("no text `{field}` in {event}"))
        .to_owned()
}

/// Returns the address that a wish was granted.
///
/// # Panics
///
/// If it was not, or is none of IP.
#[must_use]
pub fn address(outcome: &Value) -> SocketAddr {
    let address = outcome["address"].as_str();
    address
        .unwrap_or_else(|| panic!("refused: {outcome}"))
        .parse()
        .expect("it is an address of IP")
}

/// Returns the worker that an event is about.
///
/// # Panics
///
/// If it is about none.
#[must_use]
pub fn worker(event: &Value) -> WorkerId {
    WorkerId(u32::try_from(number(event, "worker")).expect("workers have small numbers"))
}

/// Writes every event of a cluster into a log, to the last.
pub(super) async fn write_down(mut events: Events, log: Log) {
    while let Some(event) = events.next().await {
        log.push(written(&event));
    }
    log.writer_is_done();
}

/// Returns an event as the command line writes it.
fn written(event: &Event) -> Value {
    serde_json::to_value(event).expect("an event can be written as JSON")
}
