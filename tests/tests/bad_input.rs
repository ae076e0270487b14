//! What cannot be done is refused in one line that says what would be right.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use maitred_tests::harness::{Home, Launch};

/// Asserts that a command line is refused: exit code 2, one line, nothing started or left.
fn assert_refused(arguments: &[&str], hint: &str) {
    // Events would be lines, too: there shall be none.
    let finished = Launch::new(["run"]).with(arguments).finish();
    let story = finished.log.story();
    assert_eq!(finished.code, Some(2), "{arguments:?}: {story}");
    let lines = finished.log.lines();
    assert_eq!(lines.len(), 1, "{arguments:?}: {story}");
    assert!(
        lines[0].contains(hint),
        "{arguments:?} does not say `{hint}`: {story}"
    );
}

#[test]
fn numbers_and_names_that_make_no_sense_are_refused() {
    for (arguments, hint) in [
        (["-i", "1000000"], "1024"),
        (["-i", "-5000"], "-N"),
        (["-i", "four"], "max"),
        (["--window", "0"], "64"),
        (["--window", "100000"], "64"),
        (["--policy", "best-effort"], "shared"),
        (["--events", "xml"], "json"),
        (["--listen", "nowhere"], "127.0.0.1:5000"),
        (["--listen", "127.0.0.1:65536"], "65535"),
        (["--drain-timeout", "a while"], "30s"),
        (["--no-such-option", "1"], "--no-such-option"),
    ] {
        assert_refused(&arguments, hint);
    }
}

#[test]
fn programs_that_cannot_be_run_are_refused() {
    let home = Home::new();
    let text = home.join("text");
    fs::write(&text, "no program\n").unwrap();
    fs::set_permissions(&text, fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&["/no/such/program"], "/no/such/program");
    assert_refused(&["no-such-program-anywhere"], "no-such-program-anywhere");
    assert_refused(&[text.to_str().unwrap()], "execut");
    assert_refused(&[home.path().to_str().unwrap()], "directory");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_refused(&["--listen", &address], &address);
}

#[test]
fn a_program_that_ends_at_once_ends_the_run_with_its_last_words() {
    let script = "echo some words; echo the reason >&2; exit 3";
    let finished = Launch::run(["-i", "2", "sh", "--", "-c", script]).finish();
    let story = finished.log.story();
    assert_eq!(finished.code, Some(1), "{story}");
    let lines = finished.log.lines();
    assert!(
        lines.iter().any(|line| line.contains("the reason")),
        "{story}"
    );
    let exits = finished.log.named("exit");
    assert!(exits.iter().all(|exit| exit["code"] == 3), "{story}");
    assert!(finished.log.named("ready").is_empty(), "{story}");
}

#[test]
fn a_record_that_does_not_exist_is_refused() {
    let finished = Launch::new(["replay", "/no/such/record"]).finish();
    assert_eq!(finished.code, Some(2), "{}", finished.log.story());
    assert_eq!(finished.log.lines().len(), 1, "{}", finished.log.story());
}

#[test]
fn a_file_that_cannot_be_written_is_refused() {
    for option in ["--events-file", "--trace"] {
        let arguments = [option, "/no/such/directory/file", "--listen", "127.0.0.1:0"];
        assert_refused(&arguments, "/no/such/directory/file");
    }
}

#[test]
fn a_node_that_cannot_run_the_script_is_refused_and_no_other_interpreter_is() {
    let home = Home::new();
    let script = home.join("app.ts");
    fs::write(&script, "").unwrap();
    let script = script.to_str().unwrap();
    // It says which version it is, and runs nothing.
    let interpreter = |name: &str, version: &str| {
        let path = home.join(name);
        let told = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo {version}\nexit 3\n");
        fs::write(&path, told).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let node = interpreter("node", "v23.5.0");
    assert_refused(
        &[script, "--interpreter", &node, "--env", "NODE_OPTIONS="],
        "23.6",
    );
    let other = interpreter("ts-node", "v10.9.2");
    for options in [
        &[&*node, "--env", "NODE_OPTIONS=--import tsx"][..],
        &[&*node, "--node-args=--import tsx"],
        &[&*other],
    ] {
        let finished = Launch::run([script, "-i", "1", "--max-boot-failures", "1"])
            .with(["--interpreter"])
            .with(options)
            .finish();
        // It was started, and failed by itself.
        assert_eq!(finished.code, Some(1), "{options:?}");
        assert_eq!(finished.log.named("exit")[0]["code"], 3, "{options:?}");
    }
}
