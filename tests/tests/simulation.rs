//! The simulation over 100,000 fixed seeds and 5,000 fresh ones.
//!
//! A failure prints the command that repeats it and writes the history as JSON lines, one
//! [`Step`](maitred_core::dispatch::replay::Step) each, which the page can play. With `SEED`
//! in the environment that seed alone is played.

use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use maitred_core::dispatch::replay::{Step, replay};
use maitred_tests::sim::plan::Plan;
use maitred_tests::sim::{Failure, Outcome, record, run, run_plan};

const FIXED_SEEDS: u64 = 100_000;
const FRESH_SEEDS: u64 = 5_000;

#[test]
fn simulation_keeps_every_law_over_100_000_fixed_seeds() {
    let asked = env::var("SEED")
        .ok()
        .map(|seed| seed.parse().expect("SEED is a number"));
    if let Some(seed) = asked {
        run(seed).unwrap_or_else(|failure| give_up(&failure));
        return;
    }
    let sum = run_all(0, FIXED_SEEDS);
    // Laws that nothing tempts prove nothing: each kind of trouble must have been there.
    for (trouble, count) in [
        ("served", sum.served),
        ("refused with the queue full", sum.refused_full),
        ("refused after deaths", sum.refused_deaths),
        ("refused after rejects", sum.refused_rejects),
        ("refused with the server closed", sum.refused_closed),
        ("reset in the backlog", sum.reset),
        ("requeued", sum.requeued),
        ("workers dead", sum.deaths),
        ("late acks", sum.late_acks),
        ("workers expelled", sum.expelled),
    ] {
        assert!(count >= 100, "only {count} {trouble} in {sum:?}");
    }
}

#[test]
fn simulation_keeps_every_law_over_fresh_seeds() {
    if env::var_os("SEED").is_none() {
        // The one source of chance in the standard library: the keys of its hash maps.
        run_all(RandomState::new().hash_one(0), FRESH_SEEDS);
    }
}

/// The shell's most dangerous mistake must not go unnoticed.
///
/// The dispatcher cannot see it, so this also proves that the played workers really take
/// connections, and that "served at most once" is a law that can be broken here.
#[test]
fn simulation_notices_a_death_that_is_reported_before_the_last_acks_were_read() {
    let early = |seed| Plan {
        reports_deaths_early: true,
        ..Plan::from_seed(seed)
    };
    let laws = (0..2_000)
        .filter_map(|seed| run_plan(early(seed)).err())
        .map(|it| it.law);
    let served_twice = laws.filter(|law| law.contains("served by") || law.contains("sent to"));
    assert!(
        served_twice.count() > 0,
        "no connection was given to two workers"
    );
}

/// A history that was written down and read back must still be the same history, and a fresh
/// dispatcher must order the same again: otherwise a recording proves nothing.
#[test]
fn simulation_histories_can_be_written_down_and_replayed() {
    for seed in 0..500 {
        let steps = record(seed).unwrap_or_else(|failure| give_up(&failure));
        let lines = steps
            .iter()
            .map(|step| serde_json::to_string(step).unwrap());
        let read: Vec<Step> = lines
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect();
        assert_eq!(steps, read, "seed {seed}");
        let report =
            replay(Instant::now(), &read).unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!(report.steps, steps.len() as u64, "seed {seed}");
    }
}

/// Plays `count` seeds from `first` on, on all processors.
fn run_all(first: u64, count: u64) -> Outcome {
    let next = AtomicU64::new(0);
    let play = || {
        let mut sum = Outcome::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return sum;
            }
            match run(first.wrapping_add(number)) {
                Ok(outcome) => sum.add(&outcome),
                Err(failure) => give_up(&failure),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        let mut sum = Outcome::default();
        for player in players {
            sum.add(
                &player
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        sum
    })
}

/// Writes the history down and says how to see it again.
fn give_up(failure: &Failure) -> ! {
    let seed = failure.seed;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}.jsonl"));
    let lines = failure
        .trace
        .iter()
        .map(|step| serde_json::to_string(step).expect("plain values"));
    let text = lines.map(|line| line + "\n").collect::<String>();
    let written = fs::write(&path, text).map_or_else(|error| error.to_string(), |()| "".into());
    panic!(
        "{failure}\nhistory: {} {written}\nagain:   SEED={seed} cargo test -p maitred-tests simulation",
        path.display(),
    );
}
