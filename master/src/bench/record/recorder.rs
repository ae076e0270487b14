//! Takes lines from the load to the file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::Line;

/// Lines that are handed over together: waking a thread costs more than writing a line does.
const BATCH: usize = 256;

/// Batches that may wait for the writer: some ten megabytes, half a second of a fast load.
const BATCHES: usize = 128;

/// One for each port there is.
const PORTS: usize = 65_536;

/// The record that is being written.
#[derive(Debug)]
pub(in crate::bench) struct Recorder {
    batch: Vec<Line>,
    batches: Option<SyncSender<Vec<Line>>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    /// How often each local port was used.
    port_uses: Vec<u32>,
}

impl Recorder {
    /// Creates the file and starts the writer.
    ///
    /// # Errors
    ///
    /// Those of creating a file and a thread.
    pub(in crate::bench) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let (batches, inbox) = sync_channel(BATCHES);
        let writer = thread::Builder::new()
            .name("maitred-record".into())
            .spawn(move || write_all(file, &inbox))?;
        Ok(Self {
            batch: Vec::with_capacity(BATCH),
            batches: Some(batches),
            writer: Some(writer),
            port_uses: vec![0; PORTS],
        })
    }

    /// Counts a use of `port` and returns for which time it is used.
    pub(in crate::bench) fn use_port(&mut self, port: u16) -> u32 {
        let uses = &mut self.port_uses[usize::from(port)];
        *uses += 1;
        *uses
    }

    /// Adds a line. Waits for the writer if it is far behind.
    pub(in crate::bench) fn add(&mut self, line: Line) {
        self.batch.push(line);
        if self.batch.len() == BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let batch = mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if let Some(batches) = &self.batches {
            // The writer is gone only if the file could not be written; `finish` says so.
            batches.send(batch).unwrap_or_default();
        }
    }

    /// Adds the last line and waits until all are written.
    ///
    /// # Errors
    ///
    /// Why the record is incomplete.
    pub(in crate::bench) fn finish(mut self, last: Line) -> io::Result<()> {
        self.batch.push(last);
        self.hand_over();
        self.batches = None;
        let written = self.writer.take().map(JoinHandle::join);
        match written {
            Some(Ok(written)) => written,
            Some(Err(_)) | None => Err(io::Error::other("the writer of the record panicked")),
        }
    }
}

fn write_all(mut file: BufWriter<File>, batches: &Receiver<Vec<Line>>) -> io::Result<()> {
    for line in batches.iter().flatten() {
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use maitred::Moment;

    use super::super::End;
    use super::*;

    fn line(requests: u64) -> Line {
        Line::End(End {
            end_ns: Moment(1),
            requests,
            unfinished: 0,
        })
    }

    #[test]
    fn every_line_arrives_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        let mut recorder = Recorder::create(&path).unwrap();
        // More than can wait for the writer at once.
        let lines = (BATCH * (BATCHES + 3) + 7) as u64;
        for number in 0..lines {
            recorder.add(line(number));
        }
        recorder.finish(line(lines)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read = text
            .lines()
            .map(|line| serde_json::from_str::<Line>(line).unwrap());
        assert!(read.eq((0..=lines).map(line)));
    }

    #[test]
    fn uses_of_a_port_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(&directory.path().join("record")).unwrap();
        assert_eq!(
            [7, 9, 7, 7].map(|port| recorder.use_port(port)),
            [1, 1, 2, 3]
        );
        assert_eq!([0, u16::MAX].map(|port| recorder.use_port(port)), [1, 1]);
    }

    #[test]
    fn a_full_disk_is_an_error_in_the_end_and_does_not_hang() {
        let mut recorder = Recorder::create(Path::new("/dev/full")).unwrap();
        for number in 0..(BATCH * (BATCHES + 3)) as u64 {
            recorder.add(line(number));
        }
        let error = recorder.finish(line(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
