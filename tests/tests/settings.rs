//! What workers are started with, and whose word counts.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use maitred::{Output, Settings, Worker};
use maitred_tests::harness::{Kind, LibraryCluster};
use serde_json::{Value, json};

/// A variable that every test has, since cargo needs it, and that no worker needs.
const HOME: &str = "HOME";

/// Starts a worker with the settings as they are.
fn fork(cluster: &LibraryCluster, env: &[(&str, &str)]) -> Worker {
    let env = env.iter().copied();
    cluster.wait(cluster.cluster().fork_with(env)).unwrap()
}

fn setup(cluster: &LibraryCluster, settings: Settings) {
    cluster.wait(cluster.cluster().setup(settings)).unwrap();
}

fn tell(cluster: &LibraryCluster, worker: &Worker, variable: &str) -> Value {
    cluster.ask(worker, &format!("tell {variable}"))
}

#[test]
fn workers_start_where_and_with_what_they_are_told() {
    for kind in Kind::BOTH {
        let cluster = LibraryCluster::of(kind, |home| {
            Settings::new()
                .exec(kind.program())
                .args(["tcp:127.0.0.1:0", "with spaces and \"quotes\""])
                .cwd(home.path())
                .env("TEST_SETTING", "ä=1")
                .output(Output::Discard)
        });
        let told = tell(&cluster, &fork(&cluster, &[]), "TEST_SETTING");
        let expected = json!({
            "args": ["tcp:127.0.0.1:0", "with spaces and \"quotes\""],
            "cwd": cluster.home().path().canonicalize().unwrap(),
            "variable": "ä=1",
        });
        assert_eq!(told, expected);
        cluster.stop();
    }
}

#[test]
fn the_forks_variables_count_more_than_the_settings_and_those_more_than_the_masters() {
    for kind in Kind::BOTH {
        let settings = Settings::new().exec(kind.program());
        let cluster = LibraryCluster::of(kind, |_| settings);
        let own = std::env::var(HOME).unwrap();
        let worker = fork(&cluster, &[]);
        assert_eq!(tell(&cluster, &worker, HOME)["variable"], own);
        setup(&cluster, Settings::new().env(HOME, "/of/the/settings"));
        let worker = fork(&cluster, &[]);
        assert_eq!(
            tell(&cluster, &worker, HOME)["variable"],
            "/of/the/settings"
        );
        let worker = fork(&cluster, &[(HOME, "/of/the/fork")]);
        assert_eq!(tell(&cluster, &worker, HOME)["variable"], "/of/the/fork");
        // For that one worker only.
        let worker = fork(&cluster, &[]);
        assert_eq!(
            tell(&cluster, &worker, HOME)["variable"],
            "/of/the/settings"
        );
        cluster.stop();
    }
}

#[test]
fn each_setup_adds_to_those_before_it_and_is_told() {
    let cluster = LibraryCluster::with(|_| Settings::new().exec(Kind::Rust.program()));
    let early = fork(&cluster, &[]);
    // One after the other, with nobody waiting between them.
    setup(&cluster, Settings::new().args(["udp:127.0.0.1:0"]));
    setup(&cluster, Settings::new().env("TEST_SETTING", "one"));
    setup(&cluster, Settings::new().env("TEST_OTHER", "two"));
    setup(&cluster, Settings::new().args(["tcp:127.0.0.1:0"]));
    let late = fork(&cluster, &[]);
    assert_eq!(tell(&cluster, &late, "TEST_SETTING")["variable"], "one");
    let told = tell(&cluster, &late, "TEST_OTHER");
    assert_eq!(told["variable"], "two");
    assert_eq!(
        told["args"],
        json!(["tcp:127.0.0.1:0"]),
        "the newest counts"
    );
    let before = tell(&cluster, &early, "TEST_SETTING");
    assert_eq!(
        (&before["args"], &before["variable"]),
        (&json!([]), &Value::Null)
    );
    // The first is the one that the cluster began with.
    assert_eq!(cluster.log().named("setup").len(), 5);
    cluster.stop();
}
