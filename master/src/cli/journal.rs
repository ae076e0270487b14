//! Writes down what happens, one line each, on standard error or into a file.
//!
//! A thread of its own writes, so that a terminal that was stopped with Ctrl-S holds up
//! neither a connection nor the answer to a signal. What it cannot write in time is lost,
//! and the next line says how much that was.
//!
//! As JSON there is also a line for each step of each connection, and a last line that says
//! whether anything is missing: `maitred check-loss` proves from them that nothing was lost.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maitred::{ConnectionEvent, ConnectionRecord, Event, Events, Moment};
use serde::Serialize;
use tokio::time::timeout;

use super::events::{Format, Teller};
use super::story::Story;

/// How long steps of connections may wait for their line. The queue holds a hundred times as
/// many as come meanwhile, and so few looks cost an idle master nothing that shows.
const LOOK: Duration = Duration::from_millis(20);

/// Steps written in one go, before events get their turn.
const BATCH: usize = 4096;

/// Bytes that are written together: what a pipe takes at once.
const WRITE: usize = 64 * 1024;

/// Where the lines go.
#[derive(Debug)]
pub(super) enum Target {
    /// Standard error. If nobody can read it, the cluster works on all the same.
    StandardError,
    /// A file; once it cannot be written, nothing more is, so that its end is missing. That is
    /// said once on standard error.
    File(Option<File>),
}

impl Target {
    /// Writes whole lines in one call, lest lines of workers get in between.
    fn write(&mut self, lines: &[u8]) {
        match self {
            Self::StandardError => io::stderr().write_all(lines).unwrap_or_default(),
            Self::File(file) => {
                if let Some(open) = file
                    && let Err(error) = open.write_all(lines)
                {
                    *file = None;
                    super::complain(&format!(
                        "the events file cannot be written: {error}; its end will be missing"
                    ));
                }
            }
        }
    }
}

/// The writer of a run's events.
#[derive(Debug)]
pub(super) struct Journal {
    events: Events,
    connections: Option<ConnectionRecord>,
    format: Format,
    target: Target,
    teller: Teller,
    /// Lines that are to be written next.
    lines: Vec<u8>,
    /// Lost events and dropped steps that were told of.
    told: Missing,
}

/// What has no line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missing {
    events: u64,
    steps: u64,
}

impl Journal {
    /// Begins with the first event.
    pub(super) fn new(
        events: Events,
        connections: Option<ConnectionRecord>,
        format: Format,
        target: Target,
    ) -> Self {
        Self {
            events,
            connections,
            format,
            target,
            teller: Teller::default(),
            lines: Vec::new(),
            told: Missing::default(),
        }
    }

    /// Writes everything until the master's last event, and returns what there is to tell of
    /// the start.
    pub(super) async fn write_all(mut self) -> Story {
        let (mut story, mut more) = (Story::default(), false);
        loop {
            let patience = if more { Duration::ZERO } else { LOOK };
            let next = if self.connections.is_some() {
                timeout(patience, self.events.next()).await
            } else {
                Ok(self.events.next().await)
            };
            // Steps that are there by now came before that event, or at about the same time.
            more = self.write_steps();
            match next {
                Ok(Some(event)) => {
                    story.hear(&event);
                    self.write_event(&event);
                }
                Ok(None) => break,
                Err(_) => {}
            }
            self.flush();
        }
        while self.write_steps() {}
        self.write_end();
        story
    }

    /// Writes steps of connections; returns whether more may be waiting.
    fn write_steps(&mut self) -> bool {
        let clock = Clock::new();
        for _ in 0..BATCH {
            let step = self.connections.as_mut().and_then(|steps| steps.try_next());
            let Some(step) = step else { return false };
            self.write_json(&StepLine {
                time: clock.time(step.at),
                step,
            });
        }
        true
    }

    fn write_event(&mut self, event: &Event) {
        self.write_missing();
        match self.format {
            Format::Text => {
                let line = self.teller.tell(event);
                self.lines.extend(format!("maitred: {line}\n").into_bytes());
            }
            // The connection's own step says it, and more.
            Format::Json if matches!(event, Event::Refused { .. }) => {}
            Format::Json => {
                let at = self.events.at();
                self.write_json(&EventLine {
                    time: Clock::new().time(at),
                    at,
                    event,
                });
            }
        }
    }

    fn missing(&self) -> Missing {
        let steps = self
            .connections
            .as_ref()
            .map_or(0, ConnectionRecord::dropped);
        Missing {
            events: self.events.missed(),
            steps,
        }
    }

    /// Says how much was lost since that was last said.
    fn write_missing(&mut self) {
        let (now, told) = (self.missing(), self.told);
        self.told = now;
        let (events, steps) = (now.events - told.events, now.steps - told.steps);
        if self.format == Format::Text && events > 0 {
            let line = format!("maitred: {events} events were lost: they were not read in time\n");
            self.lines.extend(line.into_bytes());
        }
        if self.format == Format::Json && events > 0 {
            self.write_note(Note::Lost { count: events });
        }
        if steps > 0 {
            self.write_note(Note::Dropped { count: steps });
        }
    }

    fn write_end(&mut self) {
        self.write_missing();
        if self.connections.is_some() {
            let (lost, dropped) = (self.told.events, self.told.steps);
            self.write_note(Note::End { lost, dropped });
        }
        self.flush();
    }

    fn write_note(&mut self, event: Note) {
        let at = Moment::now();
        self.write_json(&EventLine {
            time: Clock::new().time(at),
            at,
            event,
        });
    }

    fn write_json(&mut self, line: &impl Serialize) {
        // Lines have only named fields and JSON values, which can always be written.
        serde_json::to_writer(&mut self.lines, line).unwrap_or_default();
        self.lines.push(b'\n');
        if self.lines.len() >= WRITE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            self.target.write(&self.lines);
            self.lines.clear();
        }
    }
}

/// What the journal says of itself.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Note {
    /// So many events have no line.
    Lost { count: u64 },
    /// So many steps of connections have no line.
    Dropped { count: u64 },
    /// The last line, with all that have none.
    End { lost: u64, dropped: u64 },
}

/// An event, with when it happened.
#[derive(Serialize)]
struct EventLine<E> {
    time: String,
    #[serde(rename = "monotonic_ns")]
    at: Moment,
    #[serde(flatten)]
    event: E,
}

/// A step of a connection, with the time of day.
#[derive(Serialize)]
struct StepLine {
    time: String,
    #[serde(flatten)]
    step: ConnectionEvent,
}

/// Tells the time of day of moments that lie a little back.
#[derive(Debug)]
struct Clock {
    moment: Moment,
    time: Timestamp,
}

impl Clock {
    fn new() -> Self {
        let (moment, time) = (Moment::now(), Timestamp::now());
        Self { moment, time }
    }

    /// Returns the time in UTC as RFC 3339 has it, always to the microsecond, so that lines
    /// sort.
    fn time(&self, at: Moment) -> String {
        let ago = i64::try_from(self.moment.0.saturating_sub(at.0)).unwrap_or(i64::MAX);
        let ago = SignedDuration::from_nanos(ago);
        // It fails only where the calendar ends.
        let time = self.time.checked_sub(ago).unwrap_or(self.time);
        format!("{time:.6}")
    }
}

#[cfg(test)]
mod tests {
    use maitred::{ConnectionId, ConnectionStep, ExitStatus, HandoffId, WorkerId};

    use serde_json::{Value, json};

    use super::*;

    fn written(line: &impl Serialize) -> (String, Value) {
        let text = serde_json::to_string(line).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    fn assert_ordered(line: &str, parts: &[&str]) {
        let places: Vec<_> = parts.iter().map(|part| line.find(part).unwrap()).collect();
        assert!(places.is_sorted(), "{line}");
    }

    #[test]
    fn an_event_has_its_time_on_both_clocks_and_its_fields() {
        let at = Moment::now();
        let (line, value) = written(&EventLine {
            time: Clock::new().time(at),
            at,
            event: &Event::Exit {
                worker: WorkerId(3),
                pid: 4242,
                status: ExitStatus::code(1),
                exited_after_disconnect: false,
            },
        });
        assert!(line.starts_with(r#"{"time":"20"#), "{line}");
        assert_ordered(
            &line,
            &[r#""event":"exit""#, r#""worker":3"#, r#""pid":4242"#],
        );
        let time = value["time"].as_str().unwrap();
        assert!(
            time.parse::<Timestamp>().is_ok() && time.ends_with('Z'),
            "{time}"
        );
        assert_eq!(time.len(), "2026-01-02T03:04:05.678901Z".len());
        assert_eq!(value["monotonic_ns"], at.0);
        assert_eq!(
            (&value["code"], &value["exited_after_disconnect"]),
            (&json!(1), &json!(false))
        );
    }

    #[test]
    fn a_step_names_its_connection_handoff_and_worker() {
        let at = Moment::now();
        let step = ConnectionEvent {
            at,
            connection: ConnectionId(9),
            step: ConnectionStep::Acked {
                handoff: HandoffId(11),
                worker: WorkerId(3),
            },
        };
        let time = Clock::new().time(at);
        let (_, mut value) = written(&StepLine { time, step });
        assert!(value.as_object_mut().unwrap().remove("time").is_some());
        assert_eq!(
            value,
            json!({"monotonic_ns": at.0, "connection": 9, "event": "acked", "handoff": 11,
                "worker": 3})
        );
    }

    #[test]
    fn times_of_day_are_as_far_apart_as_moments() {
        let clock = Clock {
            moment: Moment(5_000_000_000),
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        assert_eq!(
            clock.time(Moment(3_750_000_000)),
            "2026-01-02T03:04:03.750000Z"
        );
        assert_eq!(
            clock.time(Moment(5_000_000_001)),
            "2026-01-02T03:04:05.000000Z"
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_left_as_it_is() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut target = Target::File(Some(full));
        target.write(b"{}\n");
        assert!(matches!(target, Target::File(None)));
        target.write(b"{}\n");
    }
}
