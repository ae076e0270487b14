//! The apps and workers as they are, for however many clients ask.
//!
//! A list costs the dispatch thread a walk over its workers. So lists are asked for one after
//! the other with a pause between them, and all who come meanwhile share the next: no client
//! can make the dispatch thread busy by asking often. Whoever asks gets a list that was made
//! after it asked, and so sees whatever it has heard of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::api::WorkerRow;
use super::refusal::{Kind, Refusal};
use super::stats::Sampler;
use super::steward::{App, Place, Steward};
use super::tempo::Tempo;

/// How long the steward may take to answer. Its loop is never busy for more than some
/// milliseconds, so that this means that the machine stands still.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The last list, and what is needed to make the next.
#[derive(Debug)]
pub(crate) struct Roster<S> {
    steward: Arc<S>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    sampler: Sampler,
    tempo: Tempo,
    /// The last list, and when it was asked for.
    seen: Option<(Instant, Arc<List>)>,
}

/// The apps and their workers at one moment.
#[derive(Debug)]
pub(crate) struct List {
    /// The apps, as the steward has them.
    pub(crate) apps: Vec<App>,
    /// Their workers, by slot, with what they use.
    pub(crate) rows: Vec<WorkerRow>,
}

impl<S: Steward> Roster<S> {
    /// Makes a roster without a list.
    pub(crate) fn new(steward: Arc<S>) -> Self {
        let last = Mutex::default();
        Self { steward, last }
    }

    /// Returns a list that was asked for after this call began.
    ///
    /// # Errors
    ///
    /// The steward's, or that it does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn list(&self) -> Result<Arc<List>, Refusal> {
        let began = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((asked, list)) = &last.seen
            && *asked >= began
        {
            return Ok(list.clone());
        }
        last.tempo.turn().await;
        let asked = Instant::now();
        let apps = timeout(ANSWER_TIMEOUT, self.steward.apps()).await;
        let apps = apps.map_err(|_| Refusal::new(Kind::Busy, "the master does not answer"))??;
        last.tempo.note(asked.elapsed());
        let rows = rows(&apps, &mut last.sampler);
        let list = Arc::new(List { apps, rows });
        last.seen = Some((asked, list.clone()));
        Ok(list)
    }
}

fn rows(apps: &[App], sampler: &mut Sampler) -> Vec<WorkerRow> {
    let mut rows: Vec<WorkerRow> = apps
        .iter()
        .flat_map(|app| app.places.iter().map(move |place| (app, place)))
        .map(|(app, place)| row(app, place, sampler))
        .collect();
    // In a slot, a worker that leaves stands before the one that takes its place.
    rows.sort_by_key(|row| (row.slot, row.worker));
    let mut pids: Vec<u32> = rows.iter().filter_map(|row| row.pid).collect();
    pids.sort_unstable();
    sampler.keep(|pid| pids.binary_search(&pid).is_ok());
    rows
}

fn row(app: &App, place: &Place, sampler: &mut Sampler) -> WorkerRow {
    let usage = place.pid.and_then(|pid| sampler.look(pid));
    WorkerRow {
        slot: place.slot,
        name: app.name.clone(),
        worker: place.worker,
        pid: place.pid,
        generation: place.generation,
        state: place.state,
        program: place.program.clone(),
        restarts: place.restarts,
        uptime_ms: usage.map(|usage| usage.uptime_ms),
        open: place.open,
        taken: place.taken,
        cpu_percent: usage.map(|usage| usage.cpu_percent),
        memory_bytes: usage.map(|usage| usage.memory_bytes),
        requests: place.requests,
        loop_delay_micros: place.loop_delay.map(micros),
        heap_bytes: place.heap_bytes,
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
