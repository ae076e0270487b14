//! Lessons that are primary and workers in one file.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{get, meet, number, try_get};
use crate::processes::{await_end, children};
use crate::program::Program;

fn start(lesson: &str) -> Program {
    Program::start(lesson, "127.0.0.1:0")
}

/// Ends a worker as its lesson's reader would, with `kill`.
fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn http_cluster_gives_each_connection_to_the_next_worker() {
    let program = start("http_cluster");
    let workers = number(&program.after(" starts "));
    let mut address = String::new();
    for _ in 0..workers {
        address = program.after(" listens on ");
    }
    let count = usize::try_from(workers).unwrap();
    let pids = BTreeSet::from_iter(children(program.pid()));
    assert_eq!(meet(&address, count), pids);
    let ask = |_| number(&get(&address, "/"));
    let turns: Vec<i32> = (0..3 * count).map(ask).collect();
    // Everybody has a turn, and then the turns repeat.
    assert_eq!(BTreeSet::from_iter(turns[..count].iter().copied()), pids);
    let mut repeats = turns.windows(count + 1);
    assert!(repeats.all(|turn| turn[0] == turn[count]), "{turns:?}");
    program.stop();
}

#[test]
fn cluster_events_tells_who_came_and_how_each_one_went() {
    let program = start("cluster_events");
    let online = program.after(" is online, pid ");
    program.line(" listens on ");
    program.line(" listens on ");
    let pids = children(program.pid());
    assert!(pids.len() == 2 && pids.contains(&number(&online)));

    kill(pids[0]);
    program.line(&format!(" died, pid {}, signal 9", pids[0]));
    // One is left, and nobody takes the other's place.
    assert_eq!(children(program.pid()), pids[1..]);
    let last = program.stop();
    let left = format!(" left, pid {}, code 0", pids[1]);
    assert!(last.len() == 1 && last[0].ends_with(&left), "{last:?}");
}

#[test]
fn crash_and_respawn_replaces_who_died_and_not_who_left() {
    let program = start("crash_and_respawn");
    program.line(" listens on ");
    let address = program.after(" listens on ");

    assert_eq!(try_get(&address, "/crash"), "");
    // The successor may be quicker than the primary.
    let [died, successor] = program.both(" died, pid ", " listens on ");
    assert_eq!(died.rsplit_once(": ").unwrap().1, "w3 follows");
    // The successor takes its turn with the survivor.
    assert!(meet(&address, 2).contains(&number(&successor)));

    let leaver = number(&get(&address, "/leave"));
    program.line(&format!("left, pid {leaver}: it is not replaced"));
    await_end(Pid::from_raw(leaver).unwrap());
    let survivor = children(program.pid());
    assert_eq!(survivor.len(), 1);
    assert_eq!(number(&get(&address, "/")), survivor[0]);
    program.stop();
}

#[test]
fn messages_reach_all_others_through_the_primary() {
    let program = start("messages");
    program.line(" listens on ");
    program.line(" listens on ");
    let address = program.after(" listens on ");
    let from = number(&get(&address, "/good-morning"));
    let heard = format!(r#" heard "good-morning" from w{from}"#);
    let mut others = [program.line(&heard), program.line(&heard)].map(|line| number(&line));
    others.sort_unstable();
    let expected: Vec<i32> = (1..=3).filter(|worker| *worker != from).collect();
    assert_eq!(others[..], expected);
    program.stop();
}
