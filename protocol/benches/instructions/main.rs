//! Counts the instructions of what each connection costs the master, and fails above a bound.
//!
//! ```text
//!  main ──► valgrind ──► this program again ──► play_case() ──► counted_turns()
//!   ▲                                             │ after each
//!   └──────── a file with the total ◄─────────────┘
//! ```
//!
//! Times on a shared machine move by 15 %, and what is lost a few percent at a time is lost
//! unnoticed. Counts of instructions hardly move at all, so they can have a bound in every check.
//! They are of user mode only: what the kernel does for a system call is not among them.
//!
//! It is a bench of this package, the lowest one that sees both the dispatcher and the codec, so
//! that nothing else has to be built with optimisation for it. Run it with `cargo bench -p
//! maitred-protocol --bench instructions`. It needs valgrind.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a report")]

mod bounds;
mod callgrind;
mod channel;
mod dispatcher;

use std::hint::black_box;
use std::process::ExitCode;

use bounds::{Case, Figure};

/// What the program is called with inside valgrind.
const UNDER_VALGRIND: &str = "--under-valgrind";

/// How often a case is counted, and before that done uncounted, so that every table has grown.
///
/// Enough for each of 128 workers to have its turn several times.
const TURNS: u32 = 1024;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == UNDER_VALGRIND) {
        Case::all().into_iter().for_each(play_case);
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        eprintln!("instructions: the bounds are those of optimised code: use `cargo bench`");
        return ExitCode::FAILURE;
    }
    match figures() {
        Ok(figures) => report(&figures),
        Err(reason) => {
            eprintln!("instructions: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn figures() -> Result<Vec<Figure>, String> {
    let cases = Case::all();
    let totals = callgrind::totals(UNDER_VALGRIND, cases.len())?;
    let turns = totals.into_iter().map(|total| total / u64::from(TURNS));
    let counts: Vec<(Case, u64)> = cases.into_iter().zip(turns).collect();
    Ok(bounds::figures(&counts))
}

fn report(figures: &[Figure]) -> ExitCode {
    for figure in figures {
        println!("{figure}");
    }
    // Elsewhere than where the figures were noted a turn takes other instructions.
    if !cfg!(target_arch = "x86_64") {
        println!("no bound is checked: they are those of x86_64");
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for figure in figures.iter().filter(|figure| figure.is_crossed()) {
        eprintln!("bound crossed: {figure}");
        code = ExitCode::FAILURE;
    }
    code
}

/// Does a case as often as it is counted, and then once more for the count.
///
/// Valgrind knows this function and the next one by their names. There is no closure in them, for
/// it would bear those names, too.
#[inline(never)]
fn play_case(case: Case) {
    let mut turn = case.prepare();
    for _ in 0..TURNS {
        turn();
    }
    counted_turns(&mut turn);
}

/// Does one case [`TURNS`] times: the only place where valgrind counts.
#[inline(never)]
fn counted_turns(turn: &mut dyn FnMut()) {
    for _ in 0..TURNS {
        black_box(&mut *turn)();
    }
}
