//! Writes the record of every decision, for `maitred replay`.
//!
//! Each step is one line of JSON: what the dispatcher was told and what it answered. The
//! dispatch thread only queues; a thread of its own writes. If that cannot keep up, steps
//! are dropped, and the record says so at its end: it is then good for reading, not for proof.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use maitred_core::dispatch::replay::Step;
use maitred_core::dispatch::{Effect, Input};

/// Steps that may wait for the writer: a second or two of a busy master.
const QUEUE: usize = 64 * 1024;

/// The record that is being written.
#[derive(Debug)]
pub(crate) struct Trace {
    began: Instant,
    dropped: u64,
    steps: Option<SyncSender<Step>>,
    dropped_in: SyncSender<u64>,
    writer: Option<JoinHandle<()>>,
}

impl Trace {
    /// Creates the file and starts the writer.
    ///
    /// # Errors
    ///
    /// Those of creating a file and a thread.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let (steps, inbox) = sync_channel(QUEUE);
        let (dropped_in, dropped) = sync_channel(1);
        let writer = thread::Builder::new()
            .name("maitred-trace".into())
            .spawn(move || write_all(file, &inbox, &dropped))?;
        let (began, steps, writer) = (Instant::now(), Some(steps), Some(writer));
        Ok(Self {
            began,
            dropped: 0,
            steps,
            dropped_in,
            writer,
        })
    }

    /// Queues one step.
    pub(crate) fn record(&mut self, now: Instant, input: Input, effects: &[Effect]) {
        let at_micros = now.saturating_duration_since(self.began).as_micros();
        let at_micros = u64::try_from(at_micros).unwrap_or(u64::MAX);
        let step = Step {
            at_micros,
            input,
            effects: effects.to_vec(),
        };
        let queued = self
            .steps
            .as_ref()
            .is_some_and(|steps| steps.try_send(step).is_ok());
        self.dropped += u64::from(!queued);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // The count first, then the end of the steps, upon which the writer looks for it.
        self.dropped_in.try_send(self.dropped).unwrap_or_default();
        self.steps = None;
        if let Some(writer) = self.writer.take() {
            // It cannot panic; if it did, the record is short, which the reader notices.
            writer.join().unwrap_or_default();
        }
    }
}

fn write_all(mut file: BufWriter<File>, steps: &Receiver<Step>, dropped: &Receiver<u64>) {
    let written = steps.iter().try_for_each(|step| {
        serde_json::to_writer(&mut file, &step)?;
        file.write_all(b"\n")
    });
    let dropped = dropped.try_recv().unwrap_or_default();
    let ended = written.and_then(|()| {
        writeln!(file, "{{\"end\":true,\"dropped\":{dropped}}}")?;
        file.flush()
    });
    // A record on a full disk lacks its last line: the reader calls it incomplete.
    ended.unwrap_or_default();
}
