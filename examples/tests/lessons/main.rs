//! Runs every lesson as a reader would, over real sockets, and checks what it claims.
//!
//! Each test starts a built example on a port of the kernel's choice, uses it, stops it with
//! a signal, and makes sure that it ended well and that no process of its is left. Lessons
//! that are workers run twice: alone, and under a master that lives in the test.
//!
//! `cargo test -p maitred-examples` builds the examples first. With `--test lessons` it does
//! not, and what is tested may be old.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

mod alone;
mod client;
mod cluster;
mod drains;
mod master;
mod processes;
mod program;
mod workers;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long anything may take. Nothing here needs a second; the rest is for busy machines.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns where an example lies: in `examples/`, beside the folder of this test.
fn path(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(example);
    let shown = path.display();
    assert!(
        path.exists(),
        "{shown} is missing: cargo build -p maitred-examples --examples"
    );
    path
}
