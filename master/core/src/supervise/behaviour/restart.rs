//! Who follows one that is gone, and when.

use super::*;

#[test]
fn a_worker_that_dies_in_service_is_replaced_at_once_in_its_slot() {
    ready(3).check(&[
        (5000, crashed(2), &[gone(2, 1), spawn(4, 1)]),
        (5001, spawned(4), &[]),
        (5002, listening(4), &[]),
        (9000, crashed(4), &[gone(4, 1), spawn(5, 1)]),
    ]);
}

#[test]
fn from_the_third_death_within_a_second_on_spawns_keep_their_distance() {
    let mut scene = ready(1);
    scene.check(&[
        (500, crashed(1), &[gone(1, 0), spawn(2, 0)]),
        (510, listening(2), &[]),
        (520, crashed(2), &[gone(2, 0), spawn(3, 0)]),
        (530, listening(3), &[]),
        (540, crashed(3), &[gone(3, 0)]),
    ]);
    assert_eq!(scene.slots(), [(0, SlotState::Backoff)]);
    // A hundred after the spawn at 520.
    scene.check(&[(619, Tick, &[]), (620, Tick, &[spawn(4, 0)])]);
}

#[test]
fn a_worker_that_leaves_by_its_own_will_is_replaced_at_once() {
    ready(1).check(&[
        (1, LeavingVoluntarily(W[1]), &[]),
        (2, ChannelClosed(W[1]), &[]),
        (9, crashed(1), &[left(1, 0), spawn(2, 0)]),
    ]);
}

#[test]
fn boot_failures_wait_longer_each_time_and_end_errored() {
    let mut scene = started(1);
    scene.check(&[
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (99, Tick, &[]),
        (100, Tick, &[spawn(2, 0)]),
        (100, crashed(2), &[gone(2, 0), backing_off(0, 200, 2)]),
        (300, Tick, &[spawn(3, 0)]),
        (300, crashed(3), &[gone(3, 0), backing_off(0, 300, 3)]),
        (600, Tick, &[spawn(4, 0)]),
        (
            600,
            crashed(4),
            &[gone(4, 0), errored(4, 0, LIMITS.max_boot_failures)],
        ),
        (9_999_999, Tick, &[]),
    ]);
    assert_eq!(scene.slots(), [(0, SlotState::Errored)]);
    assert_eq!(scene.supervisor.deadline(), None);
}

#[test]
fn a_worker_that_is_only_online_did_not_come_up() {
    started(1).check(&[
        (1, Online(W[1]), &[]),
        (2, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
    ]);
}

#[test]
fn a_program_that_cannot_be_started_is_a_boot_failure() {
    ordered(1).check(&[
        (0, spawn_failed(1), &[backing_off(0, 100, 1)]),
        (100, Tick, &[spawn(2, 0)]),
        (100, spawn_failed(2), &[backing_off(0, 200, 2)]),
    ]);
}

#[test]
fn one_ready_worker_forgives_the_boot_failures_before() {
    started(1).check(&[
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (100, Tick, &[spawn(2, 0)]),
        (150, listening(2), &[Announce(Ready)]),
        (200, crashed(2), &[gone(2, 0), spawn(3, 0)]),
        (250, crashed(3), &[gone(3, 0), backing_off(0, 100, 1)]),
    ]);
}

#[test]
fn each_slot_counts_for_itself() {
    started(2).check(&[
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (50, crashed(2), &[gone(2, 1), backing_off(1, 100, 1)]),
        (100, Tick, &[spawn(3, 0)]),
        (150, Tick, &[spawn(4, 1)]),
    ]);
}

#[test]
fn a_late_tick_spawns_all_that_is_due() {
    started(2).check(&[
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (50, crashed(2), &[gone(2, 1), backing_off(1, 100, 1)]),
        (7000, Tick, &[spawn(3, 0), spawn(4, 1)]),
    ]);
}

#[test]
fn exits_that_somebody_asked_for_never_count() {
    let wishes: [fn(usize) -> (Fact, bool); 3] = [
        |w| (kill_asked(w, SIGTERM), false),
        |w| (kill_asked(w, SIGKILL), false),
        |w| (DisconnectAsked(W[w]), true),
    ];
    for (listens, wish) in [false, true]
        .into_iter()
        .flat_map(|l| wishes.map(|w| (l, w)))
    {
        let mut scene = started(1);
        // More than it takes to become errored, and fast enough for a series of deaths.
        for w in 1..=6 {
            scene.tell(1, spawned(w));
            if listens {
                scene.tell(1, listening(w));
            }
            let (fact, disconnects) = wish(w);
            scene.tell(1, fact);
            let expected = [exited(w, 0, disconnects), spawn(w + 1, 0)];
            assert_eq!(scene.tell(1, crashed(w)), expected, "{fact:?}");
        }
    }
}

#[test]
fn asking_whether_a_worker_exists_is_no_kill() {
    started(1).check(&[
        (0, kill_asked(1, NULL_SIGNAL), &[signal(1, NULL_SIGNAL)]),
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
    ]);
}

#[test]
fn a_kill_that_the_program_brought_about_counts() {
    started(1).check(&[
        (0, Breached(W[1]), &[signal(1, SIGKILL)]),
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (100, Tick, &[spawn(2, 0)]),
        (100, spawned(2), &[]),
        (100, ChannelClosed(W[2]), &[]),
        (5100, Tick, &[signal(2, SIGKILL)]),
        (5100, crashed(2), &[gone(2, 0), backing_off(0, 200, 2)]),
    ]);
}

#[test]
fn the_word_of_one_that_leaves_does_not_count_as_ready() {
    let mut scene = started(1);
    scene.check(&[(0, LeavingVoluntarily(W[1]), &[]), (1, listening(1), &[])]);
    assert_eq!(scene.state(1), Some(WorkerState::Draining));
    scene.check(&[(2, crashed(1), &[left(1, 0), backing_off(0, 100, 1)])]);
}

#[test]
fn a_backoff_past_the_end_of_the_clock_is_for_ever() {
    let limits = Limits {
        backoff_initial: Duration::MAX,
        backoff_max: Duration::MAX,
        ..LIMITS
    };
    let mut scene = Scene::new(limits, false);
    scene.tell(0, ScaleAsked(1));
    scene.tell(0, crashed(1));
    assert_eq!(scene.slots(), [(0, SlotState::Backoff)]);
    assert_eq!(scene.supervisor.deadline(), None);
}
