//! When a program is given up.

use super::*;

const ONE_TRY: Limits = Limits {
    max_boot_failures: 1,
    ..LIMITS
};

#[test]
fn a_first_generation_that_fails_ends_a_foreground_run() {
    started_in_foreground(2, LIMITS).check(&[
        (1, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (2, crashed(2), &[gone(2, 1), boot_failed(&[0, 1])]),
        (3, ScaleAsked(2), &[]),
    ]);
}

#[test]
fn programs_that_cannot_be_started_end_a_foreground_run() {
    let mut scene = Scene::new(LIMITS, true);
    scene.check(&[
        (0, ScaleAsked(1), &[spawn(1, 0)]),
        (0, spawn_failed(1), &[boot_failed(&[0])]),
    ]);
}

#[test]
fn who_gives_up_spawns_nothing_more_even_without_a_backoff() {
    let limits = Limits {
        backoff_initial: Duration::ZERO,
        ..LIMITS
    };
    started_in_foreground(1, limits).check(&[(0, crashed(1), &[gone(1, 0), boot_failed(&[0])])]);
}

#[test]
fn a_second_attempt_that_lives_is_sent_away_first() {
    started_in_foreground(2, LIMITS).check(&[
        (1, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (101, Tick, &[spawn(3, 0)]),
        (102, spawned(3), &[]),
        (103, Online(W[3]), &[]),
        (104, crashed(2), &[gone(2, 1), signal(3, SIGTERM)]),
        (105, crashed(3), &[left(3, 0), boot_failed(&[0, 1])]),
    ]);
}

#[test]
fn one_worker_that_came_up_gives_the_others_their_tries() {
    started_in_foreground(2, LIMITS).check(&[
        (1, listening(1), &[]),
        (2, crashed(2), &[gone(2, 1), backing_off(1, 100, 1)]),
        (3, crashed(1), &[gone(1, 0), spawn(3, 0)]),
        (4, crashed(3), &[gone(3, 0), backing_off(0, 100, 1)]),
    ]);
}

#[test]
fn a_worker_that_somebody_killed_did_not_fail_to_boot() {
    started_in_foreground(1, LIMITS).check(&[
        (1, kill_asked(1, SIGTERM), &[signal(1, SIGTERM)]),
        (2, crashed(1), &[gone(1, 0), spawn(2, 0)]),
    ]);
}

#[test]
fn nobody_at_a_terminal_means_that_nothing_gives_up() {
    let mut scene = Scene::new(ONE_TRY, false);
    scene.tell(0, ScaleAsked(1));
    scene.check(&[
        (1, crashed(1), &[gone(1, 0), errored(1, 0, 1)]),
        (2, Tick, &[]),
    ]);
}

#[test]
fn all_slots_errored_later_end_a_foreground_run() {
    let mut scene = started_in_foreground(2, ONE_TRY);
    scene.check(&[
        (1, listening(1), &[]),
        (2, crashed(2), &[gone(2, 1), errored(2, 1, 1)]),
        (3, crashed(1), &[gone(1, 0), spawn(3, 0)]),
        (
            4,
            crashed(3),
            &[gone(3, 0), errored(3, 0, 1), Finish(Outcome::Errored)],
        ),
    ]);
}

#[test]
fn all_slots_errored_end_forks_too() {
    let mut scene = started_in_foreground(1, ONE_TRY);
    scene.check(&[
        (1, listening(1), &[Announce(Ready)]),
        (2, ForkAsked, &[spawn(2, 1)]),
        (3, spawned(2), &[]),
        (4, listening(2), &[]),
        (5, crashed(1), &[gone(1, 0), spawn(3, 0)]),
        (6, crashed(3), &[gone(3, 0), errored(3, 0, 1), drain(2)]),
        (7, crashed(2), &[left(2, 1), Finish(Outcome::Errored)]),
    ]);
}

#[test]
fn a_run_that_stays_waits_to_be_mended() {
    let limits = Limits {
        stay_when_errored: true,
        ..ONE_TRY
    };
    started_in_foreground(1, limits).check(&[
        (1, listening(1), &[Announce(Ready)]),
        (2, crashed(1), &[gone(1, 0), spawn(2, 0)]),
        (3, crashed(2), &[gone(2, 0), errored(2, 0, 1)]),
        (4, ScaleAsked(1), &[spawn(3, 0)]),
    ]);
}

#[test]
fn asking_again_gives_an_errored_slot_all_its_tries_again() {
    let mut scene = started(1);
    for w in 1..=4 {
        scene.tell(1000 * w as u64, crashed(w));
        scene.tell(1000 * w as u64 + 300, Tick);
    }
    assert_eq!(scene.slots(), [(0, SlotState::Errored)]);
    scene.check(&[
        (9000, ScaleAsked(1), &[spawn(5, 0)]),
        (9000, crashed(5), &[gone(5, 0), backing_off(0, 100, 1)]),
    ]);
}

#[test]
fn an_errored_slot_can_be_scaled_away() {
    let mut scene = Scene::new(ONE_TRY, false);
    scene.tell(0, ScaleAsked(2));
    scene.tell(0, crashed(2));
    scene.check(&[(1, ScaleAsked(1), &[]), (2, ScaleAsked(2), &[spawn(3, 1)])]);
}
