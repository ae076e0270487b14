//! How one worker is made to leave: the ladder, scaling down, and what waits for a process.

use super::*;

#[test]
fn who_ignores_everything_climbs_from_drain_to_kill_signal_to_sigkill() {
    let mut scene = ready(1);
    scene.check(&[
        (1000, DisconnectAsked(W[1]), &[drain(1)]),
        (30_999, Tick, &[]),
        (31_000, Tick, &[cut(1), signal(1, SIGTERM)]),
        (35_999, Tick, &[]),
        (36_000, Tick, &[signal(1, SIGKILL)]),
        (99_999, Tick, &[]),
        (99_999, crashed(1), &[left(1, 0), spawn(2, 0)]),
    ]);
}

#[test]
fn who_never_listened_is_not_given_a_drain_to_sleep_through() {
    let mut scene = started(1);
    scene.check(&[
        (0, Online(W[1]), &[]),
        (1, ScaleAsked(0), &[signal(1, SIGTERM)]),
        (5001, Tick, &[signal(1, SIGKILL)]),
    ]);
}

#[test]
fn each_rung_has_its_state() {
    let mut scene = started(1);
    let mut states = vec![scene.state(1)];
    for (at, fact) in [
        (0, Online(W[1])),
        (0, listening(1)),
        (0, DisconnectAsked(W[1])),
        (30_000, Tick),
        (30_000, crashed(1)),
    ] {
        scene.tell(at, fact);
        states.push(scene.state(1));
    }
    let life = [
        WorkerState::Starting,
        WorkerState::Online,
        WorkerState::Listening,
        WorkerState::Draining,
        WorkerState::Stopping,
    ];
    assert_eq!(states, [life.map(Some).as_slice(), &[None]].concat());
}

#[test]
fn the_kill_signal_is_a_setting() {
    let limits = Limits {
        kill_signal: SIGHUP,
        ..LIMITS
    };
    started_in_foreground(1, limits).check(&[
        (0, listening(1), &[Announce(Ready)]),
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (30_000, Tick, &[cut(1), signal(1, SIGHUP)]),
        (35_000, Tick, &[signal(1, SIGKILL)]),
    ]);
}

#[test]
fn with_no_patience_the_whole_ladder_is_climbed_at_once() {
    let limits = Limits {
        drain_timeout: Duration::ZERO,
        kill_timeout: Duration::ZERO,
        ..LIMITS
    };
    started_in_foreground(1, limits).check(&[
        (0, listening(1), &[Announce(Ready)]),
        (
            1,
            DisconnectAsked(W[1]),
            &[drain(1), cut(1), signal(1, SIGTERM), signal(1, SIGKILL)],
        ),
    ]);
}

#[test]
fn who_exits_in_the_moment_of_its_deadline_is_neither_cut_nor_signalled() {
    ready(1).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (30_000, crashed(1), &[left(1, 0), spawn(2, 0)]),
    ]);
}

#[test]
fn a_second_wish_that_it_leave_wins_no_time() {
    ready(1).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (10_000, DisconnectAsked(W[1]), &[]),
        (20_000, LeavingVoluntarily(W[1]), &[]),
        (25_000, ScaleAsked(0), &[]),
        (30_000, Tick, &[cut(1), signal(1, SIGTERM)]),
        (31_000, DisconnectAsked(W[1]), &[]),
        (35_000, Tick, &[signal(1, SIGKILL)]),
    ]);
}

#[test]
fn who_leaves_by_its_own_will_gets_no_order_and_the_usual_time() {
    ready(1).check(&[
        (0, LeavingVoluntarily(W[1]), &[]),
        (29_999, Tick, &[]),
        (30_000, Tick, &[cut(1), signal(1, SIGTERM)]),
        (35_000, Tick, &[signal(1, SIGKILL)]),
    ]);
}

#[test]
fn who_closes_its_channel_has_to_exit_soon() {
    ready(1).check(&[
        (0, ChannelClosed(W[1]), &[]),
        (1, DisconnectAsked(W[1]), &[]), // Nothing can be told to it any more.
        (5000, Tick, &[signal(1, SIGKILL)]),
    ]);
}

#[test]
fn who_closes_its_channel_while_it_drains_keeps_its_time() {
    ready(1).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (1, ChannelClosed(W[1]), &[]),
        (5001, Tick, &[]),
        (30_000, Tick, &[cut(1), signal(1, SIGTERM)]),
    ]);
}

#[test]
fn who_has_served_all_while_it_drains_gets_the_kill_signal_soon_and_is_not_cut() {
    ready(1).check(&[
        (0, ServedOut(W[1]), &[]), // It does not drain.
        (2000, DisconnectAsked(W[1]), &[drain(1)]),
        (3000, ServedOut(W[1]), &[]),
        (3999, Tick, &[]),
        (4000, Tick, &[signal(1, SIGTERM)]),
        (9000, Tick, &[signal(1, SIGKILL)]),
    ]);
    // Never later than at the deadline that it has.
    ready(1).check(&[
        (0, DisconnectAsked(W[1]), &[drain(1)]),
        (29_900, ServedOut(W[1]), &[]),
        (30_000, Tick, &[signal(1, SIGTERM)]),
    ]);
}

#[test]
fn a_breach_is_answered_by_force_and_once() {
    ready(1).check(&[
        (0, Breached(W[1]), &[signal(1, SIGKILL)]),
        (1, Breached(W[1]), &[]),
        (2, ChannelClosed(W[1]), &[]),
        (3, crashed(1), &[gone(1, 0), spawn(2, 0)]),
    ]);
}

#[test]
fn a_signal_that_somebody_sends_moves_nobody_on_by_itself() {
    let mut scene = ready(1);
    scene.check(&[(0, kill_asked(1, SIGHUP), &[signal(1, SIGHUP)])]);
    assert_eq!(scene.state(1), Some(WorkerState::Listening));
    assert_eq!(scene.supervisor.deadline(), None);
}

#[test]
fn only_who_was_to_disconnect_exits_after_disconnect() {
    let ways = [
        (kill_asked(1, SIGTERM), false),
        (Breached(W[1]), false),
        (ChannelClosed(W[1]), false),
        (DisconnectAsked(W[1]), true),
        (LeavingVoluntarily(W[1]), true),
        (ScaleAsked(0), true),
    ];
    for (fact, expected) in ways {
        let mut scene = ready(1);
        scene.tell(0, fact);
        let known = scene.supervisor.exited_after_disconnect(W[1]);
        assert_eq!(known, expected, "{fact:?}");
        let orders = scene.tell(1, crashed(1));
        assert_eq!(orders[0], exited(1, 0, expected), "{fact:?}");
    }
}

#[test]
fn fewer_are_wanted_from_the_top_and_not_replaced() {
    let mut scene = ready(3);
    scene.check(&[
        (0, ScaleAsked(1), &[drain(2), drain(3)]),
        (1, crashed(3), &[left(3, 2)]),
        (2, crashed(2), &[left(2, 1)]),
    ]);
    assert_eq!(scene.slots(), [(0, SlotState::Occupied)]);
}

#[test]
fn who_has_not_spoken_yet_is_scaled_away_by_the_kill_signal() {
    started(2).check(&[
        (0, Online(W[1]), &[]),
        (0, ScaleAsked(0), &[signal(1, SIGTERM), signal(2, SIGTERM)]),
        (5000, Tick, &[signal(1, SIGKILL), signal(2, SIGKILL)]),
    ]);
}

#[test]
fn a_slot_that_is_scaled_away_in_its_backoff_spawns_nothing_more() {
    let mut scene = started(2);
    scene.check(&[
        (0, crashed(2), &[gone(2, 1), backing_off(1, 100, 1)]),
        (50, ScaleAsked(1), &[]),
        (100, Tick, &[]),
    ]);
    assert_eq!(scene.slots(), [(0, SlotState::Occupied)]);
    // And when it is wanted again, nothing of its past is held against it.
    scene.check(&[
        (150, ScaleAsked(2), &[spawn(3, 1)]),
        (200, crashed(3), &[gone(3, 1), backing_off(1, 100, 1)]),
    ]);
}

#[test]
fn a_scale_up_does_not_wait_for_those_that_still_drain() {
    ready(2).check(&[
        (0, ScaleAsked(1), &[drain(2)]),
        (1, ScaleAsked(2), &[spawn(3, 2)]),
        (2, crashed(2), &[left(2, 1)]),
        (3, ScaleAsked(3), &[spawn(4, 1)]),
    ]);
}

#[test]
fn a_worker_without_a_process_is_told_as_soon_as_it_has_one() {
    ordered(2).check(&[
        (0, DisconnectAsked(W[1]), &[]),
        (0, kill_asked(2, SIGHUP), &[]),
        (5, spawned(1), &[drain(1)]),
        (5, spawned(2), &[signal(2, SIGHUP)]),
        (6, spawned(1), &[]),
        (6, spawned(2), &[]),
    ]);
}

#[test]
fn the_first_report_of_a_process_is_the_true_one() {
    let mut scene = started(1);
    let (worker, pid) = (W[1], 999);
    scene.check(&[(1, Fact::Spawned { worker, pid }, &[])]);
    let mut pids = scene.supervisor.workers().map(|(_, record)| record.pid);
    assert_eq!(pids.next(), Some(Some(101)));
}

#[test]
fn nothing_that_is_owed_undoes_what_was_owed_before() {
    ordered(1).check(&[
        (0, kill_asked(1, SIGTERM), &[]),
        (0, DisconnectAsked(W[1]), &[]),
        (0, kill_asked(1, SIGHUP), &[]),
        (0, kill_asked(1, SIGHUP), &[]),
        (0, kill_asked(1, NULL_SIGNAL), &[]),
        (0, kill_asked(1, -1), &[]),
        (0, kill_asked(1, 65), &[]),
        (
            5,
            spawned(1),
            &[drain(1), signal(1, SIGHUP), signal(1, SIGTERM)],
        ),
    ]);
}

#[test]
fn one_whose_fork_outlasts_all_patience_is_killed_as_soon_as_it_runs() {
    ordered(1).check(&[
        (0, DisconnectAsked(W[1]), &[]),
        (30_000, Tick, &[cut(1)]),
        (35_000, Tick, &[]),
        (35_001, kill_asked(1, SIGTERM), &[]),
        (60_000, spawned(1), &[signal(1, SIGKILL)]),
    ]);
}

#[test]
fn a_breach_before_the_news_that_it_runs_is_not_forgotten() {
    ordered(1).check(&[
        (0, Online(W[1]), &[]),
        (1, Breached(W[1]), &[]),
        (2, spawned(1), &[signal(1, SIGKILL)]),
    ]);
}

#[test]
fn what_names_a_worker_that_is_not_alive_is_ignored() {
    let mut scene = ready(1);
    scene.check(&[(0, crashed(1), &[gone(1, 0), spawn(2, 0)])]);
    // One that is reaped, one that was never ordered, and the number that nobody has.
    for w in [1, 5, 0] {
        for fact in [
            spawned(w),
            spawn_failed(w),
            Online(W[w]),
            listening(w),
            Fact::Closed {
                worker: W[w],
                server: SERVER,
            },
            Fact::Answered(W[w]),
            DisconnectAsked(W[w]),
            LeavingVoluntarily(W[w]),
            ChannelClosed(W[w]),
            Breached(W[w]),
            kill_asked(w, SIGKILL),
            crashed(w),
        ] {
            assert_eq!(scene.tell(1, fact), [], "{fact:?}");
            assert_eq!(scene.state(w), None);
        }
    }
    assert_eq!(scene.state(2), Some(WorkerState::Starting));
    assert_eq!(scene.slots(), [(0, SlotState::Occupied)]);
}

#[test]
fn a_worker_that_runs_cannot_have_failed_to_start() {
    let mut scene = started(1);
    scene.check(&[(0, spawn_failed(1), &[])]);
    assert_eq!(scene.state(1), Some(WorkerState::Starting));
}
