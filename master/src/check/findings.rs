//! What the checker says, for people and for programs.

use std::fmt;

use maitred::Moment;
use serde::Serialize;

use super::Doubt;

/// Examples kept of each class: enough to begin a search with.
const EXAMPLES: usize = 5;

/// The answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Nothing was lost, and that is certain.
    Pass,
    /// Something was lost, or the master broke an invariant.
    Fail,
    /// The records do not prove anything.
    Inconclusive,
}

/// What became of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No worker had acked its connection. There must be none.
    NeverAcked,
    /// Its worker died, for whatever reason.
    WorkerDied,
    /// Its worker passed its drain deadline.
    Cut,
    /// Its connection lay idle and was closed just as the client used it again.
    IdleReuse,
    /// It was sent behind an answer that had said it would be the last.
    BehindLast,
    /// None of these. There must be none.
    Other,
}

/// So many of a class, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) examples: Vec<String>,
}

impl Tally {
    /// Counts one; `example` is only asked as long as examples are wanted.
    pub(super) fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Everything that two records show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// Why all of this proves nothing.
    #[serde(serialize_with = "in_words")]
    pub(crate) doubts: Vec<Doubt>,
    /// Connections of the client that the master knows.
    pub(crate) joined: u64,
    /// Connections of the master that are other clients'.
    pub(crate) strangers: u64,
    /// Connections of the client that were answered, and that only a worker can know.
    pub(crate) direct: u64,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) never_acked: Tally,
    pub(crate) worker_died: Tally,
    pub(crate) cut: Tally,
    pub(crate) idle_reuse: Tally,
    pub(crate) behind_last: Tally,
    pub(crate) other: Tally,
    /// By how much the last excuse was later than what it excuses: within the slack, and if
    /// all is well far within it.
    pub(crate) latest_excuse_ns: u64,
    pub(crate) accepted: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) held: u64,
    /// Steps that must not happen.
    pub(crate) breaches: Tally,
}

fn in_words<S: serde::Serializer>(doubts: &[Doubt], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(doubts.iter().map(ToString::to_string))
}

impl Findings {
    /// Counts a request that failed.
    pub(super) fn add(&mut self, class: Class, example: impl FnOnce() -> String) {
        self.failed += 1;
        let tally = match class {
            Class::NeverAcked => &mut self.never_acked,
            Class::WorkerDied => &mut self.worker_died,
            Class::Cut => &mut self.cut,
            Class::IdleReuse => &mut self.idle_reuse,
            Class::BehindLast => &mut self.behind_last,
            Class::Other => &mut self.other,
        };
        tally.add(example);
    }

    /// Notes when that happened which excuses a failure.
    pub(super) fn note_excuse(&mut self, excuse: Option<Moment>, failed: Moment) {
        let late = excuse.map_or(0, |excuse| excuse.0.saturating_sub(failed.0));
        self.latest_excuse_ns = self.latest_excuse_ns.max(late);
    }

    /// Returns the answer in a word. A doubt outweighs everything: what looks lost may have
    /// its reason in a line that is missing.
    pub(crate) fn verdict(&self) -> Verdict {
        let must_be_none = [&self.never_acked, &self.other, &self.breaches];
        if !self.doubts.is_empty() {
            Verdict::Inconclusive
        } else if must_be_none.iter().any(|tally| tally.count > 0) {
            Verdict::Fail
        } else {
            Verdict::Pass
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (joined, requests, failed) = (self.joined + self.direct, self.requests, self.failed);
        let meaning = match self.verdict() {
            Verdict::Pass => "pass: nothing was lost",
            Verdict::Fail => "fail: a promise was broken",
            Verdict::Inconclusive => "inconclusive: the records prove nothing",
        };
        writeln!(f, "{meaning}")?;
        for doubt in &self.doubts {
            writeln!(f, "  ? {doubt}")?;
        }
        writeln!(
            f,
            "{requests} requests on {joined} connections, of which {failed} failed:"
        )?;
        for (tally, what) in [
            (&self.never_acked, "never acked by a worker (must be 0)"),
            (&self.worker_died, "acked by a worker that died (allowed)"),
            (
                &self.cut,
                "acked by a worker that passed its drain deadline (allowed)",
            ),
            (
                &self.idle_reuse,
                "used an idle connection just as it was closed (nobody's fault)",
            ),
            (
                &self.behind_last,
                "sent behind an answer that was to be the last (nobody's fault)",
            ),
            (&self.other, "anything else (must be 0)"),
        ] {
            write_tally(f, tally, what)?;
        }
        let late = self.latest_excuse_ns as f64 / 1e6;
        writeln!(
            f,
            "a worker's end was noted up to {late:.1} ms after the failures that it excuses"
        )?;
        let Self {
            accepted,
            acked,
            refused,
            held,
            strangers,
            ..
        } = self;
        writeln!(
            f,
            "master: {accepted} accepted = {acked} acked + {refused} refused + {held} held; \
             {strangers} were other clients'"
        )?;
        write_tally(f, &self.breaches, "steps that must not happen (must be 0)")
    }
}

fn write_tally(f: &mut fmt::Formatter<'_>, tally: &Tally, what: &str) -> fmt::Result {
    writeln!(f, "{:>9}  {what}", tally.count)?;
    for example in &tally.examples {
        writeln!(f, "             {example}")?;
    }
    Ok(())
}
