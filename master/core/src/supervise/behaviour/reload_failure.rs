//! What stops a reload, and who is there afterwards.

use std::collections::BTreeSet;

use super::reload::*;
use super::*;
use crate::supervise::ReloadFailure;

#[test]
fn who_is_not_ready_in_time_is_named_with_what_it_lacks_and_drains_what_it_serves() {
    let mut scene = ready(1);
    scene.check(&[
        (0, listening_on(1, C), &[]),
        (0, listening_on(1, B), &[]),
        (5000, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (5001, spawned(2), &[]),
        (5002, listening_on(2, A), &[]),
        (7999, Tick, &[]),
        (
            8000,
            Tick,
            &[drain(2), failed(1, (2, 0), not_ready(&[B, C]))],
        ),
        (8001, listening_on(2, B), &[]),
        (8002, listening_on(2, C), &[]),
        (8003, crashed(2), &[left(2, 0)]),
    ]);
    assert_eq!(scene.state(1), Some(WorkerState::Listening));
    assert_eq!(scene.supervisor.deadline(), None);
}

#[test]
fn who_serves_nothing_yet_is_stopped_at_once() {
    for is_online in [false, true] {
        let mut scene = ready(1);
        scene.tell(0, reload(1));
        scene.tell(1, spawned(2));
        if is_online {
            scene.tell(2, Online(W[2]));
        }
        let failure = failed(1, (2, 0), not_ready(&[A]));
        scene.check(&[
            (3000, Tick, &[signal(2, SIGTERM), failure]),
            (3001, listening(2), &[]),
            (8000, Tick, &[signal(2, SIGKILL)]),
            (8001, crashed(2), &[left(2, 0)]),
        ]);
        assert_eq!(scene.state(1), Some(WorkerState::Listening));
    }
}

#[test]
fn one_that_exits_or_cannot_be_started_ends_the_reload_and_the_old_stay() {
    let ways = [
        (crashed(3), Some(gone(3, 0)), exited_early()),
        (spawn_failed(3), None, ReloadFailure::SpawnFailed),
    ];
    for (fact, news, failure) in ways {
        let mut scene = ready(2);
        scene.tell(0, reload(1));
        let failure = failed(1, (3, 0), failure);
        let expected: Vec<_> = news.into_iter().chain([failure]).collect();
        scene.check(&[(1, fact, &expected), (9000, Tick, &[])]);
        for w in [1, 2] {
            assert_eq!(scene.state(w), Some(WorkerState::Listening));
        }
        // No boot failure of the slot: its own worker is well.
        scene.check(&[(9001, crashed(1), &[gone(1, 0), spawn_in(1, 4, 0)])]);
    }
}

#[test]
fn who_was_replaced_before_a_failure_stays_replaced() {
    let mut scene = ready(3);
    scene.check(&[
        (0, reload(1), &[begun(1, 3), spawn_in(1, 4, 0)]),
        (
            1,
            listening(4),
            &[replaced(0, 1, 4), drain(1), spawn_in(1, 5, 1)],
        ),
        (
            2,
            crashed(5),
            &[gone(5, 1), failed(1, (5, 1), exited_early())],
        ),
        (3, crashed(1), &[left(1, 0)]),
    ]);
    let alive = [2, 3, 4].map(|w| scene.state(w));
    assert_eq!(alive, [Some(WorkerState::Listening); 3]);
    assert_eq!(scene.supervisor.workers().count(), 3);
}

#[test]
fn one_failure_dismisses_all_who_are_not_ready() {
    let mut scene = ready(3);
    scene.tell(0, reload(3));
    scene.check(&[
        (1, spawned(4), &[]),
        (2, listening(5), &[replaced(1, 2, 5), drain(2)]),
        (
            3,
            crashed(6),
            &[
                gone(6, 2),
                signal(4, SIGTERM),
                failed(1, (6, 2), exited_early()),
            ],
        ),
        (4, crashed(4), &[left(4, 0)]),
        (5, crashed(2), &[left(2, 1)]),
    ]);
    assert_eq!(scene.slots(), [0, 1, 2].map(|s| (s, SlotState::Occupied)));
}

#[test]
fn no_patience_at_all_lets_nobody_be_ready_in_time() {
    let limits = Limits {
        listen_timeout: Duration::ZERO,
        kill_timeout: Duration::ZERO,
        ..LIMITS
    };
    let mut scene = started_in_foreground(1, limits);
    scene.tell(0, listening(1));
    scene.check(&[
        (
            1,
            reload(1),
            &[
                begun(1, 1),
                spawn_in(1, 2, 0),
                failed(1, (2, 0), not_ready(&[A])),
            ],
        ),
        (2, spawned(2), &[signal(2, SIGKILL)]),
    ]);
}

#[test]
fn a_successor_that_has_the_slot_and_fails_is_tried_again_like_any_other() {
    ready(1).check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (1, crashed(1), &[gone(1, 0)]),
        (
            2,
            crashed(2),
            &[
                gone(2, 0),
                failed(1, (2, 0), exited_early()),
                backing_off(0, 100, 1),
            ],
        ),
        (102, Tick, &[spawn_in(1, 3, 0)]),
    ]);
}

#[test]
fn a_successor_that_has_the_slot_and_is_late_stays() {
    let mut scene = ready(1);
    scene.check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (1, crashed(1), &[gone(1, 0)]),
        (3000, Tick, &[failed(1, (2, 0), not_ready(&[A]))]),
        (4000, listening(2), &[]),
    ]);
    assert_eq!(scene.state(2), Some(WorkerState::Listening));
}

#[test]
fn an_errored_slot_gets_all_its_tries_again() {
    let mut scene = started(1);
    for w in 1..=4 {
        scene.tell(1000 * w as u64, crashed(w));
        scene.idle_until(1000 * w as u64 + 300);
    }
    assert_eq!(scene.slots(), [(0, SlotState::Errored)]);
    scene.check(&[
        (9000, reload(1), &[begun(1, 1), spawn_in(1, 5, 0)]),
        (
            9001,
            crashed(5),
            &[
                gone(5, 0),
                failed(1, (5, 0), exited_early()),
                backing_off(0, 100, 1),
            ],
        ),
        (9101, Tick, &[spawn_in(1, 6, 0)]),
    ]);
}

#[test]
fn a_new_worker_in_an_empty_slot_that_is_late_stays() {
    let mut scene = started(1);
    scene.tell(0, crashed(1));
    scene.check(&[
        (1, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (3001, Tick, &[failed(1, (2, 0), not_ready(&[]))]),
        (4000, listening(2), &[Announce(Ready)]),
    ]);
}

#[test]
fn a_shutdown_ends_a_reload() {
    let mut scene = ready(1);
    scene.tell(0, reload(1));
    scene.check(&[
        (1, spawned(2), &[]),
        (
            2,
            ShutdownAsked,
            &[signal(2, SIGTERM), superseded(1), CloseServers],
        ),
        (3, crashed(2), &[left(2, 0)]),
        (4, ServersClosed, &[drain(1)]),
        (5, crashed(1), &[left(1, 0), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn a_restart_ends_a_reload_and_one_of_nobody_does_not() {
    ready(2).check(&[
        (0, reload(1), &[begun(1, 2), spawn_in(1, 3, 0)]),
        (1, spawned(3), &[]),
        (2, Fact::RestartAsked(Some(SlotId(5))), &[]),
        (
            3,
            Fact::RestartAsked(Some(SlotId(1))),
            &[signal(3, SIGTERM), superseded(1), drain(2)],
        ),
        (4, crashed(3), &[left(3, 0)]),
        (5, crashed(2), &[left(2, 1), spawn_in(1, 4, 1)]),
    ]);
}

#[test]
fn a_restart_leaves_a_reload_alone_that_only_awaits_drains() {
    let mut scene = ready(1);
    scene.check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (1, spawned(2), &[]),
        (2, listening(2), &[replaced(0, 1, 2), drain(1)]),
        (3, Fact::RestartAsked(None), &[drain(2)]),
        (4, crashed(2), &[left(2, 0), spawn_in(1, 3, 0)]),
        (5, crashed(1), &[left(1, 0), reloaded(1)]),
    ]);
}

#[test]
fn each_reload_begins_a_generation_even_one_that_fails() {
    let mut scene = ready(2);
    scene.check(&[
        (0, reload(1), &[begun(1, 2), spawn_in(1, 3, 0)]),
        (
            1,
            crashed(3),
            &[gone(3, 0), failed(1, (3, 0), exited_early())],
        ),
        (2, crashed(2), &[gone(2, 1), spawn_in(1, 4, 1)]),
        (3, listening(4), &[]),
        (
            4,
            reload(2),
            &[begun(2, 2), spawn_in(2, 5, 0), spawn_in(2, 6, 1)],
        ),
        (5, listening(5), &[replaced(0, 1, 5), drain(1)]),
        (6, listening(6), &[replaced(1, 4, 6)]), // Its fork is not even through.
        (7, spawned(4), &[drain(4)]),
    ]);
    let generations: BTreeSet<_> = (scene.supervisor.workers())
        .map(|(worker, record)| (worker.0, record.generation.0))
        .collect();
    assert_eq!(
        generations,
        BTreeSet::from([(1, 0), (4, 1), (5, 2), (6, 2)])
    );
}

#[test]
fn a_late_master_hears_the_successor_before_it_judges() {
    let mut scene = ready(1);
    scene.check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (13_000, Tick, &[]), // Ten seconds late.
        (13_001, listening(2), &[replaced(0, 1, 2), drain(1)]),
    ]);
    let mut silent = ready(1);
    silent.tell(0, reload(1));
    silent.check(&[
        (13_000, Tick, &[]),
        (13_249, Tick, &[]),
        (13_250, Tick, &[failed(1, (2, 0), not_ready(&[A]))]),
    ]);
}

#[test]
fn a_successor_that_leaves_by_its_own_will_is_not_hurried() {
    ready(1).check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (0, spawned(2), &[]),
        (1, LeavingVoluntarily(W[2]), &[]),
        (3000, Tick, &[failed(1, (2, 0), not_ready(&[A]))]),
        (29_000, crashed(2), &[left(2, 0)]),
    ]);
}
