//! The twelve reloads that process managers are measured by: programs that know nothing of them,
//! programs that end politely by themselves, and programs that do all they can; answers at once
//! and after 100 ms; connections that stay, and one for each request. And programs that end at
//! a message. None may fail.
//!
//! Nor may one fail when the new program is broken, which changes nothing else either.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use maitred_tests::harness::client::get;
use maitred_tests::harness::{Beat, Bench, Launch, node_program, wait_until};

const CLIENTS: &str = "40";
/// A load that lasts until it is stopped.
const FOR_LONG: &str = "1h";

/// What a program does about its end.
enum Manners {
    /// Nothing: it knows neither of managers nor of signals.
    None,
    /// It says when it is ready, and closes its server on SIGINT.
    Closes,
    /// It also announces its end in its answers.
    Announces,
    /// It closes its server when it is told to by message.
    IsTold,
}

/// Reloads under load, of which nothing may fail.
fn reload_under(manners: &Manners, delay: &str, load: &[&str]) {
    let is_long = std::env::var_os("MAITRED_LONG").is_some();
    let (reloads, every) = if is_long { (5, 800) } else { (2, 100) };
    let delay = format!("DELAY={delay}");
    let launch = Launch::node("draining.js", 2).with(["--env", &delay]);
    let launch = match manners {
        Manners::None => launch.with(["--env", "PLAIN=1"]),
        Manners::Closes => launch.with(["--wait-ready", "--kill-signal", "SIGINT"]),
        Manners::IsTold => launch
            .with(["--wait-ready", "--shutdown-with-message"])
            .with(["--env", "TOLD=1"]),
        Manners::Announces => launch
            .with(["--wait-ready", "--kill-signal", "SIGINT"])
            .with(["--env", "POLITE=1"]),
    };
    let cluster = launch.recorded().ready();
    let load = cluster.bench("/", &[&["-c", CLIENTS, "-d", FOR_LONG], load].concat());
    let mut beat = Beat::every(Duration::from_millis(every));
    for _ in 0..reloads {
        beat.wait();
        cluster.obey(&["reload"]);
    }
    beat.wait();
    let record = load.stop();
    let master = cluster.end();
    record.assert_all_answered(&master, 40);
    assert!(master.log.named("reload_failed").is_empty());
}

macro_rules! scenarios {
    ($($name:ident: $manners:ident, $delay:literal, $load:expr;)*) => {
        $(
            #[test]
            fn $name() {
                reload_under(&Manners::$manners, $delay, &$load);
            }
        )*
    };
}

scenarios! {
    a_plain_program_with_connections_that_stay: None, "0", [];
    a_plain_program_with_a_connection_a_request: None, "0", ["--close"];
    a_plain_slow_program_with_connections_that_stay: None, "100", [];
    a_plain_slow_program_with_a_connection_a_request: None, "100", ["--close"];
    a_program_that_closes_with_connections_that_stay: Closes, "0", [];
    a_program_that_closes_with_a_connection_a_request: Closes, "0", ["--close"];
    a_slow_program_that_closes_with_connections_that_stay: Closes, "100", [];
    a_slow_program_that_closes_with_a_connection_a_request: Closes, "100", ["--close"];
    a_program_that_announces_with_connections_that_stay: Announces, "0", [];
    a_program_that_announces_with_a_connection_a_request: Announces, "0", ["--close"];
    a_slow_program_that_announces_with_connections_that_stay: Announces, "100", [];
    a_slow_program_that_announces_with_a_connection_a_request: Announces, "100", ["--close"];
    a_program_that_is_told_with_connections_that_stay: IsTold, "0", [];
}

/// Makes a program another one of the tests', in one step, as an installer does, with more lines
/// at its end.
fn become_another(program: &Path, name: &str, more: &str) {
    let text = fs::read_to_string(node_program(name)).unwrap();
    let new = program.with_extension("new");
    fs::write(&new, text + more).unwrap();
    fs::rename(new, program).unwrap();
}

#[test]
fn a_reload_to_a_broken_program_fails_no_request_and_changes_nothing() {
    const NEW: &str = "server.prependListener('request', (_, r) => r.setHeader('x-new', 'yes'));";
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("app.js");
    become_another(&program, "plain.js", "");
    let options = ["-i", "2", "--env", "PORT=0", "--listen-timeout", "2s"];
    let cluster = Launch::run([&program]).with(options).recorded().ready();
    let loads: [&[&str]; 2] = [&["-c", "4"], &["-c", "4", "--close"]];
    let loads = loads.map(|load| cluster.bench("/", &[load, &["-d", FOR_LONG]].concat()));
    let before = cluster.workers();
    for (broken, reason) in [("never.js", "did not listen"), ("throws.js", "code 1")] {
        become_another(&program, broken, "");
        let failed = cluster.command(&["reload"]);
        let said = failed.log.story();
        assert_eq!(failed.code, Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
        wait_until("the old workers, and no others", || {
            cluster.workers() == before
        });
        let answer = get(cluster.address(), "/").unwrap();
        assert!(!answer.headers.contains_key("x-new"));
    }
    become_another(&program, "plain.js", NEW);
    cluster.obey(&["reload"]);
    for _ in 0..10 {
        let answer = get(cluster.address(), "/").unwrap();
        assert_eq!(answer.headers["x-new"], "yes", "the new code answers all");
    }
    let records = loads.map(Bench::stop);
    let master = cluster.end();
    for record in records {
        record.assert_all_answered(&master, 4);
    }
}
