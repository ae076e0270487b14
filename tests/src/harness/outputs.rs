//! What a master prints, read while it runs: into its log, and into a file if it is recorded.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::thread::{self, JoinHandle};

use super::{Finished, Home, Log};

/// Where all events are written of a cluster that is recorded, in its directory.
pub(super) const RECORD: &str = "events";

/// Reads an output to its end, into the log.
///
/// # Panics
///
/// If it is no pipe.
pub(super) fn read(stream: Option<impl Read + Send + 'static>, log: Log) -> JoinHandle<()> {
    let stream = stream.expect("both outputs are pipes");
    thread::spawn(move || {
        // A line that is no text ends the reading; the test will miss what follows.
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.push_line(&line);
        }
        log.writer_is_done();
    })
}

/// Reads as [`read`] does, and writes every line into the record as well.
pub(super) fn record(
    stream: Option<impl Read + Send + 'static>,
    log: Log,
    home: &Home,
) -> JoinHandle<()> {
    let stream = stream.expect("both outputs are pipes");
    let file = File::create(home.join(RECORD)).expect("the directory is this process's own");
    let mut file = BufWriter::new(file);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            writeln!(file, "{line}").expect("there is room for a record");
            // Looked for, not parsed, for the master drops events whose reader is slow.
            if !line.contains(r#""connection":"#) {
                log.push_line(&line);
            }
        }
        file.flush().expect("there is room for a record");
        log.writer_is_done();
    })
}

impl Finished {
    /// Returns how many events of one name are in the record.
    ///
    /// # Panics
    ///
    /// If nothing was recorded.
    #[must_use]
    pub fn recorded(&self, name: &str) -> usize {
        let file = File::open(self.home.join(RECORD)).expect("the cluster was recorded");
        // Looked for, not parsed: there may be millions.
        let wanted = format!(r#""event":"{name}""#);
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        lines.filter(|line| line.contains(&wanted)).count()
    }
}
