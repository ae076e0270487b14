//! How much CPU and memory the workers use, as the kernel counts it.
//!
//! Read from `/proc`, which costs some microseconds a worker and never waits for a disk. Only
//! the worker's own process counts, not what it has started.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

/// Shortest span over which CPU use is told. CPU time is counted in ticks of 10 ms, so that
/// over half a second one tick makes 2 percent.
const SPAN_MIN: Duration = Duration::from_millis(500);

/// What one process used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    /// When it was started, in ticks since the machine was. With the number of a process, it
    /// is a name that is not used twice.
    started: u64,
    /// CPU time, in ticks.
    cpu: u64,
    /// Memory, in pages.
    resident: u64,
}

/// What is told of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// CPU time lately, in percent of one processor.
    pub(crate) cpu_percent: f64,
    /// Resident memory.
    pub(crate) memory_bytes: u64,
    /// Since its start.
    pub(crate) uptime_ms: u64,
}

/// Remembers what each process had used, so that it can tell what it uses now.
///
/// Processes enter when they are first asked about, and leave when
/// [`keep`](Self::keep) does not name them: at most as many are held as there are workers.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    seen: BTreeMap<u32, Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    reading: Reading,
    at: Duration,
    percent: f64,
}

impl Sampler {
    /// Returns what a process uses; `None` if there is no such process.
    pub(crate) fn look(&mut self, pid: u32) -> Option<Usage> {
        let now = since_boot();
        self.note(pid, read(pid)?, now)
    }

    fn note(&mut self, pid: u32, reading: Reading, now: Duration) -> Option<Usage> {
        let uptime = now.saturating_sub(ticks(reading.started));
        let known = self.seen.get(&pid).copied();
        let before = known.filter(|sample| sample.reading.started == reading.started);
        let sample = match before {
            // Too soon for a new figure; the last one is as good.
            Some(before) if now.saturating_sub(before.at) < SPAN_MIN => before,
            Some(before) => {
                let used = reading.cpu.saturating_sub(before.reading.cpu);
                let percent = percent(used, now.saturating_sub(before.at));
                Sample {
                    reading,
                    at: now,
                    percent,
                }
            }
            // Seen for the first time: as ps does, over its whole life.
            None => {
                let percent = percent(reading.cpu, uptime.max(SPAN_MIN));
                Sample {
                    reading,
                    at: now,
                    percent,
                }
            }
        };
        self.seen.insert(pid, sample);
        Some(Usage {
            cpu_percent: sample.percent,
            memory_bytes: reading.resident * u64::try_from(page_size()).ok()?,
            uptime_ms: u64::try_from(uptime.as_millis()).ok()?,
        })
    }

    /// Forgets all processes but these.
    pub(crate) fn keep(&mut self, pids: impl Fn(u32) -> bool) {
        self.seen.retain(|pid, _| pids(*pid));
    }
}

/// Returns CPU time in percent of a span, to one decimal: more would be made up.
#[expect(
    clippy::cast_precision_loss,
    reason = "ticks since boot are far below 2^52"
)]
fn percent(used: u64, span: Duration) -> f64 {
    let seconds = used as f64 / clock_ticks_per_second() as f64;
    (seconds / span.as_secs_f64() * 1000.0).round() / 10.0
}

fn ticks(count: u64) -> Duration {
    let per_second = clock_ticks_per_second();
    Duration::from_millis(count.saturating_mul(1000) / per_second)
}

/// Returns the time since the machine was started, sleep included, as start times count it.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    // The time since boot is never negative.
    Duration::try_from(now).unwrap_or_default()
}

fn read(pid: u32) -> Option<Reading> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let memory = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    parse(&stat, &memory)
}

/// Takes the figures out of the two files, whose fields proc(5) numbers from 1.
fn parse(stat: &str, memory: &str) -> Option<Reading> {
    // The second field is the program's name in brackets. It may hold brackets and blanks
    // itself, so the fields are counted from the last bracket: the next one is the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(14 - 3);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let cpu = next()?.checked_add(next()?)?;
    let started = fields.nth(22 - 16)?.parse().ok()?;
    let resident = memory.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Reading {
        started,
        cpu,
        resident,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(started: u64, cpu: u64) -> Reading {
        Reading {
            started,
            cpu,
            resident: 3,
        }
    }

    #[test]
    fn a_program_may_call_itself_anything() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 30 12 13 14 15 16 17 18 5000 20 21";
        for name in ["cat", "a) S 1 (b", ") ) )"] {
            let stat = format!("42 ({name}) {rest}");
            let found = parse(&stat, "900 77 5 1 0 3 0").unwrap();
            assert_eq!(
                found,
                Reading {
                    started: 5000,
                    cpu: 42,
                    resident: 77
                }
            );
        }
        for (stat, memory) in [("", "1 2"), ("42 (cat) S 1", "1 2"), ("42 cat", "1 2")] {
            assert_eq!(parse(stat, memory), None);
        }
    }

    #[test]
    fn cpu_is_told_over_the_time_since_the_last_look() {
        let per_second = clock_ticks_per_second();
        let mut sampler = Sampler::default();
        let mut look = |cpu, now| sampler.note(9, reading(0, cpu), now).unwrap().cpu_percent;
        // Half of its first ten seconds, then all of the eleventh.
        assert_eq!(look(5 * per_second, 10 * SECOND), 50.0);
        assert_eq!(look(6 * per_second, 11 * SECOND), 100.0);
        // Too soon for another figure.
        assert_eq!(look(6 * per_second, 11 * SECOND + SPAN_MIN / 2), 100.0);
        assert_eq!(look(6 * per_second, 12 * SECOND), 0.0);
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let per_second = clock_ticks_per_second();
        let mut sampler = Sampler::default();
        sampler.note(9, reading(0, 100 * per_second), 100 * SECOND);
        let young = reading(100 * per_second, per_second);
        let usage = sampler.note(9, young, 102 * SECOND).unwrap();
        assert_eq!((usage.cpu_percent, usage.uptime_ms), (50.0, 2000));
        sampler.keep(|pid| pid != 9);
        assert!(sampler.seen.is_empty());
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Sampler::default().look(std::process::id()).unwrap();
        assert!(usage.memory_bytes > 0);
        assert!(Duration::from_millis(usage.uptime_ms) < since_boot());
        assert_eq!(Sampler::default().look(u32::MAX), None);
    }
}
