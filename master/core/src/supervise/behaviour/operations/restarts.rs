//! A restart: of one slot or of all, told by the slots that it meant.

use super::*;

#[test]
fn a_restart_drains_who_is_there_and_starts_who_follows() {
    ready(2).check(&[
        (0, RestartAsked(None), &[drain(1), drain(2)]),
        (1, crashed(2), &[left(2, 1), spawn(3, 1)]),
        (2, listening(3), &[restarted(1)]),
        (3, crashed(1), &[left(1, 0), spawn(4, 0)]),
        (4, listening(4), &[restarted(0), Announce(Ready)]),
    ]);
}

#[test]
fn a_restart_of_one_slot_leaves_the_others_alone() {
    ready(2).check(&[
        (0, RestartAsked(FIRST), &[drain(1)]),
        (1, RestartAsked(Some(SlotId(2))), &[]), // There is none.
        (2, crashed(1), &[left(1, 0), spawn(3, 0)]),
        (3, listening(3), &[restarted(0), Announce(Ready)]),
    ]);
}

#[test]
fn a_restart_of_one_slot_is_over_whatever_the_others_do() {
    let mut scene = with_limits(3, with_stop_code());
    scene.check(&[
        (0, quits(2), &[quit(2, 1, false), stopped(1)]),
        (1, RestartAsked(FIRST), &[drain(1)]),
        // One that is new dies before it is ready, and one is scaled away and drains.
        (2, crashed(3), &[gone(3, 2), spawn(4, 2)]),
        (3, crashed(4), &[gone(4, 2), backing_off(2, 100, 1)]),
        (4, crashed(1), &[left(1, 0), spawn(5, 0)]),
        (5, listening(5), &[restarted(0)]),
    ]);
}

#[test]
fn a_restart_that_brings_no_worker_says_so_and_why() {
    let being_restarted = || {
        let mut scene = with_limits(2, with_stop_code());
        scene.check(&[
            (0, RestartAsked(Some(SlotId(1))), &[drain(2)]),
            (1, crashed(2), &[left(2, 1), spawn(3, 1)]),
        ]);
        scene
    };
    being_restarted().check(&[
        (
            2,
            crashed(3),
            &[
                gone(3, 1),
                backing_off(1, 100, 1),
                not_restarted(1, boot_failed(3)),
            ],
        ),
        // It goes on trying, and nobody waits for that any more.
        (102, Tick, &[spawn(4, 1)]),
        (103, listening(4), &[Announce(Ready)]),
    ]);
    being_restarted().check(&[(
        2,
        quits(3),
        &[
            quit(3, 1, false),
            stopped(1),
            not_restarted(1, RestartFailure::Stopped),
        ],
    )]);
    let orders = being_restarted().tell(2, ScaleAsked(1));
    assert_eq!(orders[0], not_restarted(1, RestartFailure::ScaledAway));
    let orders = being_restarted().tell(2, ShutdownAsked);
    assert_eq!(orders[0], not_restarted(1, Superseded));
}

#[test]
fn a_restart_that_is_restarted_is_over_with_the_last_worker() {
    ready(1).check(&[
        (0, RestartAsked(None), &[drain(1)]),
        (1, RestartAsked(None), &[]),
        (2, crashed(1), &[left(1, 0), spawn(2, 0)]),
        (3, spawned(2), &[]),
        (4, RestartAsked(None), &[signal(2, SIGTERM)]),
        (5, crashed(2), &[left(2, 0), spawn(3, 0)]),
        (6, listening(3), &[restarted(0), Announce(Ready)]),
    ]);
}

#[test]
fn a_restart_stops_who_only_starts_and_does_not_count_it() {
    let mut scene = started_in_foreground(1, LIMITS);
    scene.check(&[
        (0, RestartAsked(None), &[signal(1, SIGTERM)]),
        (1, crashed(1), &[left(1, 0), spawn(2, 0)]),
    ]);
}

#[test]
fn a_restart_ends_a_backoff_and_gives_all_tries_again() {
    let mut scene = started(1);
    for w in 1..=3 {
        scene.tell(1000 * w as u64, crashed(w));
        if w < 3 {
            scene.idle_until(1000 * w as u64 + 300);
        }
    }
    scene.check(&[
        (3001, RestartAsked(None), &[spawn(4, 0)]),
        (
            3002,
            crashed(4),
            &[
                gone(4, 0),
                backing_off(0, 100, 1),
                not_restarted(0, boot_failed(4)),
            ],
        ),
    ]);
}

#[test]
fn forks_are_not_restarted() {
    ready(1).check(&[
        (0, ForkAsked, &[spawn(2, 1)]),
        (1, RestartAsked(Some(SlotId(1))), &[]),
        (2, RestartAsked(None), &[drain(1)]),
    ]);
}
