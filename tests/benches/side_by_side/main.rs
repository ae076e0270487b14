//! Measures maitred beside everything that one would use instead, in one interleaved run.
//!
//! ```text
//!  scenes ──► for each round, for each case ──► samples ──► ratios within a round ──► report
//!             start the server, warm it up,                 medians and spreads       plot
//!             load it, read /proc, stop it
//! ```
//!
//! Machines differ and are never quiet, so no time is ever compared with one of another round:
//! the cases of a scene take turns (A B C A B C …), and what is compared is the ratio of two
//! cases of the same round. CPU counts for every process of a server, in user mode and in the
//! kernel, and never for the client.
//!
//! Run it with `tests/bench`, which installs what it needs.

#![expect(clippy::print_stderr, reason = "it tells how far it is")]

mod bounds;
mod contenders;
mod lasting;
mod loads;
mod options;
mod plot;
mod report;
mod samples;
mod scenes;
mod server;
mod special;

use std::process::ExitCode;

use clap::Parser;

use options::Options;
use samples::Samples;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(spinning) = options.spin {
        special::spin(spinning);
        return ExitCode::SUCCESS;
    }
    let mut samples = Samples::default();
    for scene in scenes::all()
        .iter()
        .filter(|scene| options.wants(scene.name))
    {
        for round in 1..=options.rounds {
            for case in &scene.cases {
                eprintln!("{} {round}/{}: {}", scene.name, options.rounds, case.name);
                match case.measure(&options) {
                    Ok(figures) => samples.add(scene.name, case.name, round, figures),
                    // One that cannot run here (no rights for it, not installed) has no row.
                    Err(reason) => eprintln!("  left out: {reason}"),
                }
            }
        }
    }
    let written = report::write(&options, &samples);
    let bounds = bounds::all();
    let broken: Vec<String> = bounds
        .iter()
        .filter_map(|bound| bound.broken(&samples))
        .collect();
    broken
        .iter()
        .for_each(|line| eprintln!("bound crossed: {line}"));
    match written {
        Err(error) => {
            eprintln!("tests/bench: {error}");
            ExitCode::FAILURE
        }
        Ok(()) if options.check && !broken.is_empty() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
    }
}
