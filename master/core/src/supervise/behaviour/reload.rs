//! How every worker is replaced.

use super::*;
use crate::supervise::{ReloadFailure, ReloadWish};

pub(super) const A: ServerId = SERVER;
pub(super) const B: ServerId = ServerId(2);
pub(super) const C: ServerId = ServerId(3);

pub(super) fn reload(parallel: u32) -> Fact {
    Fact::ReloadAsked(ReloadWish {
        parallel,
        ..ReloadWish::default()
    })
}

pub(super) fn begun(generation: u32, workers: usize) -> Order {
    Announce(Announcement::ReloadBegun {
        generation: Generation(generation),
        workers,
    })
}

/// Worker 0 stands for nobody.
pub(super) fn replaced(s: u32, old: usize, new: usize) -> Order {
    Announce(Announcement::Replaced {
        slot: SlotId(s),
        old: (old > 0).then_some(W[old]),
        new: W[new],
    })
}

pub(super) fn reloaded(generation: u32) -> Order {
    Announce(Announcement::Reloaded {
        generation: Generation(generation),
    })
}

pub(super) fn failed(generation: u32, culprit: (usize, u32), failure: ReloadFailure) -> Order {
    Announce(Announcement::ReloadFailed {
        generation: Generation(generation),
        culprit: Some((W[culprit.0], SlotId(culprit.1))),
        failure,
    })
}

pub(super) fn superseded(generation: u32) -> Order {
    Announce(Announcement::ReloadFailed {
        generation: Generation(generation),
        culprit: None,
        failure: ReloadFailure::Superseded,
    })
}

pub(super) fn exited_early() -> ReloadFailure {
    ReloadFailure::Exited(CRASH)
}

pub(super) fn not_ready(missing: &[ServerId]) -> ReloadFailure {
    let missing = missing.to_vec();
    ReloadFailure::NotReady {
        missing,
        is_silent: false,
    }
}

pub(super) fn closed(w: usize, server: ServerId) -> Fact {
    let worker = W[w];
    Fact::Closed { worker, server }
}

#[test]
fn one_after_the_other_in_order_while_the_drains_overlap() {
    ready(3).check(&[
        (0, reload(1), &[begun(1, 3), spawn_in(1, 4, 0)]),
        (1, spawned(4), &[]),
        (2, Online(W[4]), &[]),
        (
            3,
            listening(4),
            &[replaced(0, 1, 4), drain(1), spawn_in(1, 5, 1)],
        ),
        (
            5,
            listening(5),
            &[replaced(1, 2, 5), drain(2), spawn_in(1, 6, 2)],
        ),
        (6, crashed(2), &[left(2, 1)]),
        (7, listening(6), &[replaced(2, 3, 6), drain(3)]),
        (8, crashed(1), &[left(1, 0)]),
        (9, crashed(3), &[left(3, 2), reloaded(1)]),
    ]);
}

#[test]
fn so_many_at_once_as_was_wished() {
    ready(3).check(&[
        (
            0,
            reload(2),
            &[begun(1, 3), spawn_in(1, 4, 0), spawn_in(1, 5, 1)],
        ),
        // Whoever is ready first makes room for the next.
        (
            1,
            listening(5),
            &[replaced(1, 2, 5), drain(2), spawn_in(1, 6, 2)],
        ),
        (2, listening(6), &[replaced(2, 3, 6), drain(3)]),
        (3, listening(4), &[replaced(0, 1, 4), drain(1)]),
    ]);
    let orders = ready(3).tell(0, reload(u32::MAX));
    assert_eq!(orders.len(), 4);
    let orders = ready(3).tell(0, reload(0));
    assert_eq!(orders, [begun(1, 3), spawn_in(1, 4, 0)]);
}

#[test]
fn who_does_not_drain_in_time_is_cut_and_waited_for() {
    let mut scene = ready(2);
    scene.check(&[
        (
            0,
            reload(2),
            &[begun(1, 2), spawn_in(1, 3, 0), spawn_in(1, 4, 1)],
        ),
        (1000, listening(3), &[replaced(0, 1, 3), drain(1)]),
        (2000, listening(4), &[replaced(1, 2, 4), drain(2)]),
        (31_000, Tick, &[cut(1), signal(1, SIGTERM)]),
        (31_500, crashed(1), &[left(1, 0)]),
        (32_000, Tick, &[cut(2), signal(2, SIGTERM)]),
        (37_000, Tick, &[signal(2, SIGKILL)]),
    ]);
    assert!(scene.supervisor.is_reloading());
    scene.check(&[(37_001, crashed(2), &[left(2, 1), reloaded(1)])]);
}

#[test]
fn a_successor_has_to_listen_wherever_its_predecessor_did() {
    let mut scene = ready(1);
    scene.check(&[
        (1000, listening_on(1, B), &[]),
        (5000, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (5001, listening_on(2, B), &[]),
        (5002, listening_on(2, C), &[]),
        (5003, closed(2, B), &[]),
        (5004, listening_on(2, A), &[]),
    ]);
    assert_eq!(scene.state(1), Some(WorkerState::Listening));
    scene.check(&[(5005, listening_on(2, B), &[replaced(0, 1, 2), drain(1)])]);
}

#[test]
fn nobody_owes_what_the_predecessor_opened_or_closed_in_its_service() {
    let later: [&[(u64, Fact)]; 2] = [
        &[(1001, listening_on(1, B))],
        &[(500, listening_on(1, B)), (9000, closed(1, B))],
    ];
    for facts in later {
        let mut scene = ready(1);
        for &(at, fact) in facts {
            scene.tell(at, fact);
        }
        scene.tell(9000, reload(1));
        let orders = scene.tell(9001, listening_on(2, A));
        assert_eq!(orders, [replaced(0, 1, 2), drain(1)], "{facts:?}");
    }
}

#[test]
fn what_the_predecessor_closed_on_its_way_out_is_owed() {
    ready(1).check(&[
        (500, listening_on(1, B), &[]),
        (5000, DisconnectAsked(W[1]), &[drain(1)]),
        (5001, closed(1, A), &[]),
        (5001, closed(1, B), &[]),
        (5002, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (5003, listening_on(2, A), &[]),
        (5004, listening_on(2, B), &[replaced(0, 1, 2)]),
        (5005, crashed(1), &[left(1, 0), reloaded(1)]),
    ]);
}

#[test]
fn a_successor_may_listen_elsewhere_if_that_was_wished() {
    let wish = ReloadWish {
        allow_listen_change: true,
        ..ReloadWish::default()
    };
    ready(1).check(&[
        (
            0,
            Fact::ReloadAsked(wish),
            &[begun(1, 1), spawn_in(1, 2, 0)],
        ),
        (1, Online(W[2]), &[]),
        (2, listening_on(2, C), &[replaced(0, 1, 2), drain(1)]),
    ]);
}

#[test]
fn a_predecessor_that_listened_nowhere_asks_for_a_listen_anywhere() {
    ordered(1).check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (0, spawned(1), &[]),
        (
            1,
            listening_on(2, C),
            &[replaced(0, 1, 2), signal(1, SIGTERM), Announce(Ready)],
        ),
        (2, crashed(1), &[left(1, 0), reloaded(1)]),
    ]);
    ordered(1).check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (3000, Tick, &[failed(1, (2, 0), not_ready(&[]))]),
        (3001, spawned(2), &[signal(2, SIGTERM)]),
    ]);
}

#[test]
fn when_the_old_dies_first_its_successor_has_the_slot() {
    let mut scene = ready(1);
    scene.check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (1, crashed(1), &[gone(1, 0)]),
        (2, listening(2), &[replaced(0, 0, 2), reloaded(1)]),
        (9, crashed(2), &[gone(2, 0), spawn_in(1, 3, 0)]),
    ]);
}

#[test]
fn who_died_and_was_respawned_before_its_turn_is_new_already() {
    let mut scene = ready(2);
    scene.check(&[
        (0, reload(1), &[begun(1, 2), spawn_in(1, 3, 0)]),
        (1, crashed(2), &[gone(2, 1), spawn_in(1, 4, 1)]),
        (2, listening(4), &[]),
        (3, listening(3), &[replaced(0, 1, 3), drain(1)]),
        (4, crashed(1), &[left(1, 0), reloaded(1)]),
    ]);
}

#[test]
fn one_that_was_respawned_and_is_not_ready_is_waited_for() {
    ready(2).check(&[
        (0, reload(1), &[begun(1, 2), spawn_in(1, 3, 0)]),
        (1, crashed(2), &[gone(2, 1), spawn_in(1, 4, 1)]),
        (2, listening(3), &[replaced(0, 1, 3), drain(1)]),
        (3, crashed(1), &[left(1, 0)]),
        (4, listening(4), &[replaced(1, 0, 4), reloaded(1)]),
    ]);
}

#[test]
fn one_that_was_respawned_and_leaves_is_replaced() {
    let mut scene = ready(2);
    scene.check(&[
        (0, reload(1), &[begun(1, 2), spawn_in(1, 3, 0)]),
        (1, crashed(2), &[gone(2, 1), spawn_in(1, 4, 1)]),
        (2, listening(4), &[]),
        (3, LeavingVoluntarily(W[4]), &[]),
        (
            4,
            listening(3),
            &[replaced(0, 1, 3), drain(1), spawn_in(1, 5, 1)],
        ),
        (5, crashed(1), &[left(1, 0)]),
        (6, crashed(4), &[left(4, 1)]),
        (7, listening(5), &[replaced(1, 0, 5), reloaded(1)]),
    ]);
}

#[test]
fn a_second_reload_does_nothing_while_one_runs() {
    let mut scene = ready(1);
    assert!(scene.supervisor.may_reload(None));
    scene.check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (1, reload(1), &[]),
        (2, listening(2), &[replaced(0, 1, 2), drain(1)]),
        (3, reload(1), &[]), // The old one still drains.
    ]);
    assert!(!scene.supervisor.may_reload(None));
    scene.check(&[(4, crashed(1), &[left(1, 0), reloaded(1)])]);
    assert!(scene.supervisor.may_reload(None));
}

#[test]
fn nothing_is_reloaded_where_nothing_is_wanted_or_all_ends() {
    let mut nothing = idle();
    nothing.check(&[
        (0, reload(1), &[]),
        (1, ForkAsked, &[spawn(1, 0)]),
        (2, reload(1), &[]),
    ]);
    assert!(!nothing.supervisor.may_reload(None));
    let mut ending = ready(1);
    ending.check(&[(0, ShutdownAsked, &[CloseServers]), (1, reload(1), &[])]);
    assert!(!ending.supervisor.may_reload(None));
}

#[test]
fn forks_are_not_replaced() {
    ready(1).check(&[
        (0, ForkAsked, &[spawn(2, 1)]),
        (0, listening(2), &[]),
        (1, reload(9), &[begun(1, 1), spawn_in(1, 3, 0)]),
    ]);
}

#[test]
fn a_slot_in_its_backoff_gets_a_new_worker_at_once() {
    started(2).check(&[
        (0, listening(2), &[]),
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (1, reload(1), &[begun(1, 2), spawn_in(1, 3, 0)]),
        (
            2,
            listening(3),
            &[replaced(0, 0, 3), Announce(Ready), spawn_in(1, 4, 1)],
        ),
    ]);
}

#[test]
fn slots_that_are_scaled_away_are_left_out() {
    let mut scene = ready(3);
    scene.tell(0, reload(2));
    scene.check(&[
        (1, spawned(5), &[]),
        // Slot 1 is being replaced just now, slot 2 would be next.
        (2, ScaleAsked(1), &[signal(5, SIGTERM), drain(2), drain(3)]),
        (3, crashed(5), &[left(5, 1)]),
        (4, listening(4), &[replaced(0, 1, 4), drain(1)]),
        (5, crashed(1), &[left(1, 0), reloaded(1)]),
        (6, crashed(2), &[left(2, 1)]),
        (7, crashed(3), &[left(3, 2)]),
    ]);
    assert_eq!(scene.slots(), [(0, SlotState::Occupied)]);
}

#[test]
fn who_was_respawned_in_a_slot_that_is_scaled_away_is_no_failure() {
    let mut scene = started(2);
    scene.tell(0, listening(1));
    scene.tell(0, crashed(2));
    scene.check(&[
        (
            1,
            reload(2),
            &[begun(1, 2), spawn_in(1, 3, 0), spawn_in(1, 4, 1)],
        ),
        (2, spawned(4), &[]),
        (3, ScaleAsked(1), &[signal(4, SIGTERM), Announce(Ready)]),
        (4, crashed(4), &[left(4, 1)]),
        (5, listening(3), &[replaced(0, 1, 3), drain(1)]),
    ]);
}

#[test]
fn slots_that_come_to_it_are_of_the_new_generation() {
    ready(1).check(&[
        (0, reload(1), &[begun(1, 1), spawn_in(1, 2, 0)]),
        (1, ScaleAsked(2), &[spawn_in(1, 3, 1)]),
        (2, listening(2), &[replaced(0, 1, 2), drain(1)]),
        (3, crashed(1), &[left(1, 0), reloaded(1)]),
    ]);
}

#[test]
fn a_slot_number_may_be_given_again_while_who_was_replaced_there_drains() {
    let mut scene = ready(2);
    scene.tell(0, reload(2));
    scene.check(&[
        (1, listening(4), &[replaced(1, 2, 4), drain(2)]),
        (2, spawned(4), &[]),
        (3, ScaleAsked(1), &[drain(4)]),
        (4, crashed(4), &[left(4, 1)]),
        (5, ScaleAsked(2), &[spawn_in(1, 5, 1)]),
        (6, crashed(2), &[left(2, 1)]),
    ]);
    let reports = scene.supervisor.slot_reports();
    assert_eq!(reports.last().unwrap().worker, Some(W[5]));
}

#[test]
fn a_successor_that_dies_again_and_again_is_slowed_down_like_any_other() {
    ready(1).check(&[
        (500, crashed(1), &[gone(1, 0), spawn(2, 0)]),
        (510, listening(2), &[]),
        (520, crashed(2), &[gone(2, 0), spawn(3, 0)]),
        (530, listening(3), &[]),
        (540, reload(1), &[begun(1, 1), spawn_in(1, 4, 0)]),
        (550, listening(4), &[replaced(0, 3, 4)]),
        (560, crashed(4), &[gone(4, 0)]),
        (639, Tick, &[]),
        (640, Tick, &[spawn_in(1, 5, 0)]), // A hundred after the spawn before.
    ]);
}
