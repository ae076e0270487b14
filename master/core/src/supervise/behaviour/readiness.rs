//! Where a worker's word is awaited: it is ready when it says so, and not when it listens.

use super::reload::*;
use super::*;
use crate::supervise::ReloadFailure;

const WAITS: Limits = Limits {
    wait_ready: true,
    ..LIMITS
};

fn said_ready(w: usize) -> Fact {
    Fact::SaidReady(W[w])
}

/// One worker that listens and has said that it is ready.
fn one_ready() -> Scene {
    let mut scene = started_in_foreground(1, WAITS);
    scene.tell(0, listening(1));
    scene.tell(0, said_ready(1));
    scene
}

fn silent(missing: &[ServerId]) -> ReloadFailure {
    ReloadFailure::NotReady {
        missing: missing.to_vec(),
        is_silent: true,
    }
}

#[test]
fn the_start_is_over_when_all_have_said_so() {
    started_in_foreground(2, WAITS).check(&[
        (0, listening(1), &[]),
        (1, listening(2), &[]),
        (2, said_ready(2), &[]),
        (3, said_ready(1), &[Announce(Ready)]),
        (4, said_ready(1), &[]),
    ]);
}

#[test]
fn one_that_listened_and_did_not_say_so_has_failed_to_boot() {
    let mut scene = Scene::new(WAITS, false);
    scene.tell(0, ScaleAsked(1));
    scene.tell(0, spawned(1));
    scene.check(&[
        (0, listening(1), &[]),
        (1, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (101, Tick, &[spawn(2, 0)]),
        (102, listening(2), &[]),
        (103, said_ready(2), &[Announce(Ready)]),
        // And its successor comes at once.
        (104, crashed(2), &[gone(2, 0), spawn(3, 0)]),
    ]);
}

#[test]
fn a_successor_takes_over_when_it_has_said_so_and_listens_wherever_the_old_one_did() {
    let orders = [[listening(2), said_ready(2)], [said_ready(2), listening(2)]];
    for [first, second] in orders {
        let mut scene = one_ready();
        scene.check(&[
            (5000, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
            (5001, spawned(2), &[]),
            (5002, first, &[]),
            (7999, Tick, &[]),
            (7999, second, &[replaced(0, 1, 2), drain(1)]),
            (8000, crashed(1), &[left(1, 0), reloaded(1)]),
        ]);
    }
}

#[test]
fn a_successor_that_never_says_so_fails_the_reload() {
    let mut scene = one_ready();
    scene.check(&[
        (5000, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (5001, spawned(2), &[]),
        (5002, listening(2), &[]),
        (8000, Tick, &[drain(2), failed(1, (2, 0), silent(&[]))]),
        // Too late.
        (8001, said_ready(2), &[]),
        (8002, crashed(2), &[left(2, 0)]),
    ]);
    assert_eq!(scene.state(1), Some(WorkerState::Listening));
}

#[test]
fn one_that_is_late_in_both_is_told_with_both() {
    let mut scene = one_ready();
    scene.check(&[
        (5000, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (5001, spawned(2), &[]),
        (
            8000,
            Tick,
            &[signal(2, SIGTERM), failed(1, (2, 0), silent(&[SERVER]))],
        ),
    ]);
}

#[test]
fn a_program_that_listens_nowhere_is_ready_by_its_word() {
    let mut scene = started_in_foreground(1, WAITS);
    scene.check(&[
        (0, Online(W[1]), &[]),
        (1, said_ready(1), &[Announce(Ready)]),
        (2, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (3, spawned(2), &[]),
        (4, said_ready(2), &[replaced(0, 1, 2), drain(1)]),
        (5, crashed(1), &[left(1, 0), reloaded(1)]),
    ]);
}

#[test]
fn where_nobody_waits_for_it_the_word_means_nothing() {
    let mut scene = started(1);
    scene.check(&[
        (0, said_ready(1), &[]),
        (1, listening(1), &[Announce(Ready)]),
    ]);
}
