//! The start, and forks that come to it.

use super::*;

#[test]
fn the_first_scale_spawns_what_is_wanted_and_asking_again_nothing() {
    idle().check(&[
        (0, Tick, &[]),
        (0, ScaleAsked(3), &[spawn(1, 0), spawn(2, 1), spawn(3, 2)]),
        (1, ScaleAsked(3), &[]),
    ]);
}

#[test]
fn more_than_the_most_is_never_wanted() {
    let mut scene = idle();
    assert_eq!(scene.tell(0, ScaleAsked(u32::MAX)).len(), 6);
    scene.check(&[(1, ScaleAsked(1000), &[])]);
}

#[test]
fn ready_is_said_once_when_all_listen() {
    started(2).check(&[
        (1, Online(W[1]), &[]),
        (2, listening(1), &[]),
        (3, listening_on(1, ServerId(2)), &[]), // The same worker, so no news.
        (4, listening(2), &[Announce(Ready)]),
        (5, listening(2), &[]),
        (6, crashed(2), &[gone(2, 1), spawn(3, 1)]),
        (7, spawned(3), &[]),
        (8, listening(3), &[]),
    ]);
}

#[test]
fn ready_waits_for_the_successor_of_one_that_listened_and_died() {
    started(2).check(&[
        (1, listening(1), &[]),
        (2, crashed(1), &[gone(1, 0), spawn(3, 0)]),
        (3, listening(2), &[]),
        (4, spawned(3), &[]),
        (5, listening(3), &[Announce(Ready)]),
    ]);
}

#[test]
fn ready_no_longer_waits_for_one_that_was_scaled_away() {
    started(2).check(&[
        (1, listening(1), &[]),
        (2, ScaleAsked(1), &[signal(2, SIGTERM), Announce(Ready)]),
    ]);
}

#[test]
fn a_worker_may_speak_before_the_news_that_it_runs() {
    ordered(1).check(&[
        (1, Online(W[1]), &[]),
        (2, listening(1), &[Announce(Ready)]),
        (3, spawned(1), &[]),
        (4, DisconnectAsked(W[1]), &[drain(1)]),
    ]);
}

#[test]
fn a_fork_takes_the_lowest_free_slot_and_is_never_replaced() {
    let mut scene = ready(1);
    scene.check(&[
        (1, ForkAsked, &[spawn(2, 1)]),
        (2, spawned(2), &[]),
        (3, listening(2), &[]),
        (4, crashed(2), &[gone(2, 1)]),
        (5, ForkAsked, &[spawn(3, 1)]),
        (6, spawn_failed(3), &[]),
    ]);
    assert_eq!(scene.slots(), [(0, SlotState::Occupied)]);
}

#[test]
fn forks_have_no_part_in_the_start() {
    let mut scene = started_in_foreground(1, LIMITS);
    scene.check(&[
        (1, ForkAsked, &[spawn(2, 1)]),
        (2, spawned(2), &[]),
        (3, listening(2), &[]),
        (4, crashed(1), &[gone(1, 0), drain(2)]),
        (5, crashed(2), &[left(2, 1), boot_failed(&[0])]),
    ]);
}

#[test]
fn a_fork_is_not_what_a_scale_counts() {
    let mut scene = idle();
    scene.check(&[
        (0, ForkAsked, &[spawn(1, 0)]),
        (1, ScaleAsked(2), &[spawn(2, 1), spawn(3, 2)]),
        (2, ScaleAsked(0), &[]),
    ]);
    assert_eq!(scene.state(1), Some(WorkerState::Starting));
    assert_eq!(scene.state(2), Some(WorkerState::Stopping));
}
