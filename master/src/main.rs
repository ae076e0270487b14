//! The program `maitred`: parse, run, and say with the exit code how it went.
//!
//! `cli/` has one file for each family of commands; `demo/` is the server that
//! `maitred run` runs when it is given none; `check/` proves that a run has lost nothing.

mod bench;
mod check;
mod cli;
mod control;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse().map(cli::run) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => cli::report(&error),
        Err(code) => code,
    }
}
