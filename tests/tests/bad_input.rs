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
