//! The task that serves the channel: it waits, and has the state do the rest.
//!
//! It runs on the program's own runtime, on purpose: acks and pongs then stop when the
//! program is stuck, which is what the master wants to know.

use std::time::{Duration, Instant};

use maitred_protocol::WorkerToMaster;
use maitred_protocol::message::Statistics;
use tokio::time::sleep_until;

use crate::gauges::Kind;
use crate::link::Link;
use crate::outbox::Blocked;
use crate::session::Phase;
use crate::state::{Pumped, State};

/// How often a worker that counts something tells its master: as often as people look.
const STATISTICS_PAUSE: Duration = Duration::from_secs(1);

/// How often it does while it drains: at the deadline the master says by these counts what it
/// cut, and a quarter of a second is what a client's last answer may take anyway.
const DRAIN_PAUSE: Duration = Duration::from_millis(250);

/// How long a worker that rejected rests before it looks for room: a tenth of what a client
/// notices, and no spin. Node workers, which cannot say `Ready`, begin with as much.
const READY_PAUSE: Duration = Duration::from_millis(50);

/// How often a worker that leaves looks whether its last connection is closed. Nothing tells
/// it (the streams are the program's), and the look costs a system call at most.
const LAST_LOOK_PAUSE: Duration = Duration::from_millis(25);

/// When to try again what the kernel refused for want of memory.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// What the task waits for.
struct Wait {
    read: bool,
    write: bool,
    until: Option<Instant>,
}

/// Serves the channel until there is nothing more to do.
pub(crate) async fn serve(link: &'static Link) {
    while let Some(wait) = wait_of(link) {
        let until = wait.until.unwrap_or_else(Instant::now).into();
        // Each arm is cancel safe: nothing is consumed before its body runs.
        tokio::select! {
            biased;
            readable = link.end.readable(), if wait.read => {
                let pumped = link.lock().pump(link);
                match (pumped, readable) {
                    (Pumped::Drained, Ok(readable)) => readable.clear(),
                    // Others on this runtime get their turn before the next lot.
                    _ => tokio::task::yield_now().await,
                }
            }
            _ = link.end.writable(), if wait.write => link.lock().flush(),
            () = link.bell.notified() => {}
            () = sleep_until(until), if wait.until.is_some() => link.lock().look(link),
        }
        link.lock().progress(link);
    }
}

/// Returns what to wait for; `None` at the end.
fn wait_of(link: &Link) -> Option<Wait> {
    let mut state = link.lock();
    if state.session.is_over() {
        return None;
    }
    state.set_hour(link);
    let orphaned = state.session.phase() == Phase::Orphaned;
    Some(Wait {
        read: state.reads(),
        write: !orphaned && state.outbox.blocked() == Some(Blocked::Full),
        until: state.look_at,
    })
}

impl State {
    fn flush(&mut self) {
        self.outbox.flush();
        // An ack that was refused stays with its connection, whose task tries it again.
        self.wake_all();
    }

    /// Sets the hour of the next look, if there is a reason for one. An hour that is set
    /// stays, so that a stream of frames cannot push it away for ever.
    fn set_hour(&mut self, link: &Link) {
        let now = Instant::now();
        let leaving = matches!(self.session.phase(), Phase::Leaving(_) | Phase::Orphaned);
        let refused = self.outbox.blocked() == Some(Blocked::Refused);
        let reasons = [
            (leaving, now + LAST_LOOK_PAUSE),
            (refused, now + REFUSED_PAUSE),
            (self.session.owes_ready(), now + READY_PAUSE),
            (self.is_worth_telling(link), self.next_report(now)),
        ];
        let hours = reasons.into_iter().filter(|(holds, _)| *holds);
        let next = hours.map(|(_, hour)| hour).min();
        self.look_at = [self.look_at, next].into_iter().flatten().min();
    }

    /// Looks at all there may be a reason to look at.
    fn look(&mut self, link: &'static Link) {
        self.look_at = None;
        if self.outbox.blocked() == Some(Blocked::Refused) {
            self.flush();
        }
        self.say_ready_if_due(link);
        if self.is_worth_telling(link) && self.next_report(Instant::now()) <= Instant::now() {
            self.report(link);
        }
    }

    /// Whether a report would, or could, differ from the last one.
    fn is_worth_telling(&self, link: &Link) -> bool {
        let told = &self.reported.0;
        // Who parts has told that it holds nothing, and all others have no master.
        matches!(
            self.session.phase(),
            Phase::Accepting | Phase::Draining | Phase::Leaving(_)
        ) && (told.open > 0
            || told.taken != link.open.lock().taken()
            || told.requests != link.gauges.answered())
    }

    fn next_report(&self, now: Instant) -> Instant {
        let pause = match self.session.is_accepting() {
            true => STATISTICS_PAUSE,
            false => DRAIN_PAUSE,
        };
        self.reported.1.map_or(now, |last| last + pause)
    }

    /// Tells the master what is counted, if it is news.
    pub(crate) fn report(&mut self, link: &Link) {
        let mut open = link.open.lock();
        let statistics = Statistics {
            open: u32::try_from(open.count()).unwrap_or(u32::MAX),
            taken: open.taken(),
            requests: link.gauges.answered(),
            idle: link.gauges.of(Kind::Idle),
            busy: link.gauges.of(Kind::Busy),
            streaming: link.gauges.of(Kind::Streaming),
            upgraded: link.gauges.of(Kind::Upgraded),
            loop_delay: None,
            heap_bytes: None,
        };
        drop(open);
        let is_news = statistics != self.reported.0;
        self.reported = (statistics, Some(Instant::now()));
        if is_news {
            self.outbox.say(WorkerToMaster::Statistics(statistics));
        }
    }
}
