//! Where the programs lie that tests start.

use std::env;
use std::path::PathBuf;

/// Returns the path of a program of this workspace: `maitred`, `test_worker` …
///
/// Cargo puts them beside the folder in which the running test lies. It builds this package's
/// own programs before its tests, but those of other packages only when it is told to.
///
/// # Panics
///
/// If it was not built, with the command that does.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("a test lies in target/*/deps");
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build --workspace --all-targets` first",
        program.display()
    );
    program
}
