//! How it all ends.

use super::*;

#[test]
fn first_the_servers_then_the_workers_then_the_finish() {
    let mut scene = ready(2);
    scene.check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (100, ServersClosed, &[drain(1), drain(2)]),
        (200, ChannelClosed(W[1]), &[]),
        (300, crashed(1), &[left(1, 0)]),
        (400, crashed(2), &[left(2, 1), Finish(Outcome::Done)]),
    ]);
    assert_eq!(scene.supervisor.deadline(), None);
}

#[test]
fn what_nobody_works_for_finishes_at_once() {
    idle().check(&[(0, ShutdownAsked, &[Finish(Outcome::Done)])]);
}

#[test]
fn a_backoff_does_not_outlive_the_wish_to_end() {
    let mut scene = started(1);
    scene.tell(0, crashed(1));
    scene.check(&[(50, ShutdownAsked, &[Finish(Outcome::Done)])]);
    assert_eq!(scene.slots(), [(0, SlotState::Stopped)]);
}

#[test]
fn errored_slots_do_not_hold_up_the_end() {
    let limits = Limits {
        max_boot_failures: 1,
        ..LIMITS
    };
    let mut scene = Scene::new(limits, false);
    scene.tell(0, ScaleAsked(1));
    scene.tell(0, crashed(1));
    scene.check(&[(1, ShutdownAsked, &[Finish(Outcome::Done)])]);
}

#[test]
fn a_second_shutdown_changes_nothing() {
    ready(2).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (10_000, ShutdownAsked, &[]),
        (20_000, ServersClosed, &[drain(1), drain(2)]),
        (21_000, ShutdownAsked, &[]),
        (22_000, ServersClosed, &[]),
        (22_000, crashed(1), &[left(1, 0)]),
        (30_000, Tick, &[cut(2), signal(2, SIGTERM)]),
        (31_000, crashed(2), &[left(2, 1), Finish(Outcome::Cut)]),
        (32_000, ShutdownAsked, &[]),
    ]);
}

#[test]
fn the_servers_and_the_workers_share_one_deadline() {
    ready(2).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (20_000, ServersClosed, &[drain(1), drain(2)]),
        (29_999, Tick, &[]),
        (
            30_000,
            Tick,
            &[cut(1), signal(1, SIGTERM), cut(2), signal(2, SIGTERM)],
        ),
        (35_000, Tick, &[signal(1, SIGKILL), signal(2, SIGKILL)]),
        (35_001, crashed(1), &[left(1, 0)]),
        (35_002, crashed(2), &[left(2, 1), Finish(Outcome::Cut)]),
    ]);
}

#[test]
fn servers_that_are_not_closed_in_time_are_not_waited_for() {
    ready(1).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (29_999, Tick, &[]),
        (30_000, Tick, &[drain(1), cut(1), signal(1, SIGTERM)]),
        (30_001, ServersClosed, &[]),
        (30_002, crashed(1), &[left(1, 0), Finish(Outcome::Cut)]),
    ]);
}

#[test]
fn servers_that_close_unasked_end_nothing() {
    let mut scene = ready(1);
    scene.check(&[(0, ServersClosed, &[]), (1, ScaleAsked(2), &[spawn(2, 1)])]);
}

#[test]
fn a_drain_that_began_before_keeps_its_own_nearer_deadline() {
    ready(1).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (10_000, ShutdownAsked, &[CloseServers]),
        (11_000, ServersClosed, &[]),
        (30_000, Tick, &[cut(1), signal(1, SIGTERM)]),
    ]);
}

#[test]
fn a_drain_that_begins_while_servers_close_does_not_outlast_the_shutdown() {
    for leave in [LeavingVoluntarily(W[1]), DisconnectAsked(W[1])] {
        let mut scene = ready(1);
        scene.check(&[(0, ShutdownAsked, &[CloseServers])]);
        scene.tell(20_000, leave);
        let orders = [cut(1), signal(1, SIGTERM)];
        scene.check(&[(29_999, Tick, &[]), (30_000, Tick, &orders)]);
    }
}

#[test]
fn nobody_is_replaced_any_more() {
    ready(2).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (1, crashed(1), &[gone(1, 0)]),
        (2, ScaleAsked(4), &[]),
        (3, ForkAsked, &[]),
        (4, ServersClosed, &[drain(2)]),
        (5, crashed(2), &[left(2, 1), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn when_the_last_worker_dies_one_more_serves_what_waits() {
    ready(2).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (1, crashed(2), &[gone(2, 1)]),
        (2, crashed(1), &[gone(1, 0), spawn(3, 0)]),
        (3, spawned(3), &[]),
        (4, listening(3), &[]),
        (5, ServersClosed, &[drain(3)]),
        (6, crashed(3), &[left(3, 0), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn one_that_dies_again_and_again_is_followed_until_the_deadline_and_not_faster_than_ever() {
    let mut scene = ready(1);
    scene.check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (1, crashed(1), &[gone(1, 0), spawn(2, 0)]),
        (2, listening(2), &[]),
        (3, crashed(2), &[gone(2, 0), spawn(3, 0)]),
        (4, listening(3), &[]),
        (5, crashed(3), &[gone(3, 0)]),
        (102, Tick, &[]),
        (103, Tick, &[spawn(4, 0)]), // A hundred after the spawn before.
        (104, listening(4), &[]),
        (29_950, crashed(4), &[gone(4, 0), spawn(5, 0)]),
        (29_960, listening(5), &[]),
        (29_961, crashed(5), &[gone(5, 0), spawn(6, 0)]),
        (29_962, listening(6), &[]),
        (29_963, crashed(6), &[gone(6, 0)]),
    ]);
    // Its wait would be over after the deadline: that is the end.
    scene.check(&[(30_000, Tick, &[Finish(Outcome::Done)])]);
    assert_eq!(scene.slots(), [(0, SlotState::Stopped)]);
}

#[test]
fn one_that_hangs_while_the_servers_close_is_followed_too() {
    let limits = Limits {
        heartbeat_timeout: Duration::from_secs(4),
        ..LIMITS
    };
    let mut scene = started_in_foreground(1, limits);
    scene.tell(0, Online(W[1]));
    scene.tell(0, listening(1));
    scene.tell(1, ShutdownAsked);
    let log = scene.idle_until(9000);
    assert!(
        log.iter()
            .any(|(_, orders)| orders.contains(&signal(1, SIGKILL))),
        "{log:?}"
    );
    scene.check(&[(9001, crashed(1), &[gone(1, 0), spawn(2, 0)])]);
}

#[test]
fn nobody_follows_who_was_wanted_to_end_or_never_came_up() {
    let killed = [kill_asked(1, SIGKILL), crashed(1)];
    let disconnected = [DisconnectAsked(W[1]), crashed(1)];
    for [wish, end] in [killed, disconnected] {
        let mut scene = ready(1);
        scene.tell(0, ShutdownAsked);
        scene.tell(1, wish);
        let orders = scene.tell(2, end);
        assert_eq!(orders.last(), Some(&Finish(Outcome::Done)), "{wish:?}");
    }
    started(1).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (1, crashed(1), &[gone(1, 0), Finish(Outcome::Done)]),
    ]);
    // A fork is its owner's to follow.
    let mut scene = idle();
    scene.tell(0, ForkAsked);
    scene.tell(0, listening(1));
    scene.check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (1, crashed(1), &[gone(1, 0), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn workers_that_just_start_are_ended_too() {
    let mut scene = ordered(2);
    scene.check(&[
        (0, spawned(1), &[]),
        (1, ShutdownAsked, &[CloseServers]),
        (2, ServersClosed, &[signal(1, SIGTERM)]),
        (3, crashed(1), &[left(1, 0)]),
        (4, spawned(2), &[signal(2, SIGTERM)]),
        (5, crashed(2), &[left(2, 1), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn a_spawn_that_fails_can_be_the_last_thing_awaited() {
    ordered(1).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (1, ServersClosed, &[]),
        (2, spawn_failed(1), &[Finish(Outcome::Done)]),
    ]);
}

#[test]
fn forks_are_drained_like_all_others() {
    ready(1).check(&[
        (0, ForkAsked, &[spawn(2, 1)]),
        (0, spawned(2), &[]),
        (0, listening(2), &[]),
        (1, ShutdownAsked, &[CloseServers]),
        (2, ServersClosed, &[drain(1), drain(2)]),
    ]);
}

#[test]
fn what_was_cut_before_the_shutdown_is_not_its_fault() {
    ready(2).check(&[
        (0, ScaleAsked(1), &[drain(2)]),
        (30_000, Tick, &[cut(2), signal(2, SIGTERM)]),
        (30_001, ShutdownAsked, &[CloseServers]),
        (30_002, ServersClosed, &[drain(1)]),
        (30_003, crashed(1), &[left(1, 0)]),
        (30_004, crashed(2), &[left(2, 1), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn a_run_that_gave_up_stays_failed_even_if_something_is_cut() {
    started_in_foreground(2, LIMITS).check(&[
        (0, ForkAsked, &[spawn(3, 2)]),
        (0, spawned(3), &[]),
        (0, listening(3), &[]),
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (50, crashed(2), &[gone(2, 1), drain(3)]),
        (60, ShutdownAsked, &[]),
        (30_050, Tick, &[cut(3), signal(3, SIGTERM)]),
        (30_051, crashed(3), &[left(3, 2), boot_failed(&[0, 1])]),
    ]);
}

#[test]
fn after_the_finish_nothing_is_heard() {
    let mut scene = idle();
    scene.tell(0, ShutdownAsked);
    scene.check(&[
        (1, ScaleAsked(2), &[]),
        (1, ForkAsked, &[]),
        (1, ShutdownAsked, &[]),
        (1, ServersClosed, &[]),
        (99_999, Tick, &[]),
    ]);
}

#[test]
fn a_late_master_grants_its_lateness_to_all_who_have_a_deadline() {
    // Ten seconds late; and then what waits in the channels is heard first.
    ready(1).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (40_000, Tick, &[]),
        (40_249, Tick, &[]),
        (40_250, Tick, &[cut(1), signal(1, SIGTERM)]),
        (45_250, Tick, &[signal(1, SIGKILL)]),
    ]);
    // Late for the first of two, by which the second moves.
    ready(2).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (5000, DisconnectAsked(W[2]), &[drain(2)]),
        (32_000, Tick, &[]),
        (32_250, Tick, &[cut(1), signal(1, SIGTERM)]),
        (37_000, Tick, &[cut(2), signal(2, SIGTERM)]),
    ]);
    ready(1).check(&[
        (0, ShutdownAsked, &[CloseServers]),
        (40_000, Tick, &[]),
        (40_100, ServersClosed, &[drain(1)]),
        (40_249, Tick, &[]),
        (40_250, Tick, &[cut(1), signal(1, SIGTERM)]),
    ]);
    // A little late is what a busy machine is.
    ready(1).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (30_249, Tick, &[cut(1), signal(1, SIGTERM)]),
    ]);
}
