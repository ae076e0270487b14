//! The preload in real Node workers. The tests are JavaScript, since what they look at is what
//! a program sees: a stand-in for the master runs each worker with and without the preload.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::path::Path;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "it is no worker, and ends here")]
fn run(script: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload");
    let mut command = Command::new("node");
    // By name: older versions take a folder for a module.
    let command = command.args(["--test", script]).current_dir(folder);
    let output = command.env_remove("NODE_OPTIONS").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}:\n{said}");
}

#[test]
fn a_program_cannot_tell_that_it_is_there() {
    run("unseen.test.mjs");
}

#[test]
fn it_answers_and_counts() {
    run("conversation.test.mjs");
}

#[test]
fn a_drain_is_polite() {
    run("drain.test.mjs");
}
