//! Places where a master is not just one process of many: pid 1, and an ordinary user's.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use maitred_tests::harness::client::get;
use maitred_tests::harness::{
    Home, Kind, Launch, node_program, processes, program, wait_for, wait_until,
};
use rustix::process::{Signal, geteuid};

/// A port below those that everyone may bind, by the kernel's default.
const PRIVILEGED: &str = "0.0.0.0:42";
/// `errno(3)` of an address that this user may not have.
const EACCES: i32 = 13;
/// `errno(3)` of an address that somebody else has.
const EADDRINUSE: i32 = 98;

/// Returns the words that start a program as an ordinary user, in a network of its own: there
/// the kernel's default holds (containers like to lower it).
fn as_ordinary_user() -> &'static [&'static str] {
    if geteuid().is_root() {
        let nobody = &[
            "unshare",
            "--net",
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ];
        return nobody;
    }
    &["unshare", "--user", "--net"]
}

/// Returns the words that start a program as the first process of a pid namespace.
fn as_first_process() -> Vec<&'static str> {
    let mut words = vec!["unshare", "--pid", "--fork", "--mount-proc"];
    if !geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words
}

/// Copies a program to where every user may run it.
fn public(home: &Home, program: &Path) -> String {
    let copy = home.join(program.file_name().unwrap());
    fs::copy(program, &copy).unwrap();
    copy.to_str().unwrap().to_owned()
}

/// Copies the test worker of each kind, with all that it consists of.
fn public_workers(home: &Home) -> [String; 2] {
    for part in ["feats.js", "places.js"] {
        public(home, &node_program(part));
    }
    Kind::BOTH.map(|kind| public(home, &kind.program()))
}

#[test]
fn a_port_that_an_ordinary_user_may_not_have_is_refused() {
    let home = Home::new();
    let maitred = public(&home, &program("maitred"));
    let words = [
        as_ordinary_user(),
        &[&maitred, "run", "--listen", PRIVILEGED],
    ]
    .concat();
    let finished = Launch::other(words).finish();
    assert_eq!(finished.code, Some(2), "{}", finished.log.story());
    let lines = finished.log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(PRIVILEGED) && lines[0].contains("ermission"),
        "{lines:?}"
    );
}

/// Starts one worker of each kind as an ordinary user, with a wish that is refused and one that
/// is not, and asserts that it is told why.
fn assert_eacces(home: &Home, policy: &str, wish: &str) {
    let maitred = public(home, &program("maitred"));
    let run = format!("run --events json -i 1 --policy {policy}");
    for worker in public_workers(home) {
        let mut words = as_ordinary_user().to_vec();
        words.push(&maitred);
        words.extend(run.split(' '));
        words.extend([&worker, "--", wish, "tcp:0.0.0.0:0"]);
        let cluster = Launch::other(words).ready();
        let failed = cluster.log().wait("listen_failed", |_| true);
        assert_eq!(failed["errno"], EACCES);
        let told = cluster.log().wait("message", |_| true);
        assert_eq!(told["message"]["outcomes"][0]["errno"], EACCES);
        cluster.stop();
    }
}

#[test]
fn a_worker_that_asks_for_such_a_port_is_told_eacces_and_the_master_lives() {
    let home = Home::new();
    for policy in ["rr", "shared"] {
        assert_eacces(&home, policy, &format!("tcp:{PRIVILEGED}"));
    }
}

#[test]
fn a_worker_that_asks_for_a_path_where_it_may_not_write_is_told_eacces() {
    let home = Home::new();
    let folder = home.join("closed");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    assert_eacces(&home, "rr", &format!("unix:{}/a.sock", folder.display()));
}

#[test]
fn two_clusters_cannot_have_the_same_port() {
    let first = Launch::demo(1).ready();
    let wish = format!("tcp:{}", first.address());
    for worker in Kind::BOTH.map(Kind::program) {
        let run = ["-i".as_ref(), "1".as_ref(), worker.as_os_str()];
        let second = Launch::run(run).with(["--", &wish, "tcp:127.0.0.1:0"]);
        let second = second.ready();
        let told = second.log().wait("message", |_| true);
        assert_eq!(told["message"]["outcomes"][0]["errno"], EADDRINUSE);
        get(first.address(), "/").unwrap();
        second.stop();
    }
    get(first.address(), "/").unwrap();
    first.stop();
}

#[test]
fn a_first_process_serves_reaps_orphans_and_heeds_signals() {
    let worker = program("test_worker");
    // The inner shell ends at once, so that its `sleep` becomes the first process's child.
    let script = format!("(sleep 1000 &); exec {} tcp:127.0.0.1:0", worker.display());
    let launch = Launch::run(["-i", "1", "sh", "--", "-c", &script]);
    let cluster = launch.through(as_first_process()).ready();
    get(cluster.address(), "/").unwrap();

    let master = *processes::children(cluster.pid()).first().unwrap();
    let orphan = wait_for("an orphan", || {
        let is_orphan = |pid: &u32| processes::name(*pid).is_some_and(|name| name == "sleep");
        processes::children(master).into_iter().find(is_orphan)
    });
    processes::signal(orphan, Signal::KILL);
    wait_until("the orphan is reaped", || {
        processes::state(orphan).is_none()
    });
    get(cluster.address(), "/").unwrap();

    processes::signal(master, Signal::TERM);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
}

/// A program without a channel listens by itself: it is started, watched, replaced and ended.
#[test]
fn a_program_that_is_not_talked_to_is_supervised_all_the_same() {
    let script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let cluster = Launch::run(["/bin/sh", "--ipc", "none", "-i", "2", "--", "-c", script]).ready();
    let first = cluster.workers();
    assert_eq!(first.len(), 2);
    let victim = *first.values().next().unwrap();
    processes::signal(victim, Signal::KILL);
    wait_until("its successor", || {
        let workers = cluster.workers();
        workers.len() == 2 && !workers.values().any(|pid| *pid == victim)
    });
    let before = cluster.workers();
    cluster.obey(&["reload"]);
    wait_until("a new generation", || {
        let workers = cluster.workers();
        workers.len() == 2 && workers.keys().all(|id| !before.contains_key(id))
    });
    cluster.stop();
}
