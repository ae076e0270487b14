//! How the worker of one slot is replaced, and the others are not.

use super::reload::{begun, failed, reload, reloaded, replaced};
use super::*;
use crate::supervise::{ReloadFailure, ReloadWish};

fn reload_only(slot: u32) -> Fact {
    Fact::ReloadAsked(ReloadWish {
        only: Some(SlotId(slot)),
        // However many might start at once, one is meant.
        parallel: 9,
        ..ReloadWish::default()
    })
}

#[test]
fn one_slots_worker_is_replaced_and_the_others_stay() {
    let mut scene = ready(3);
    scene.check(&[
        (0, reload_only(1), &[begun(1, 1), spawn_in(1, 4, 1)]),
        (1, listening(4), &[replaced(1, 2, 4), drain(2)]),
        (2, crashed(2), &[left(2, 1), reloaded(1)]),
        // The next reload is of everybody again.
        (
            3,
            reload(9),
            &[
                begun(2, 3),
                spawn_in(2, 5, 0),
                spawn_in(2, 6, 1),
                spawn_in(2, 7, 2),
            ],
        ),
    ]);
}

#[test]
fn if_the_new_one_does_not_come_up_the_old_one_stays() {
    ready(2).check(&[
        (0, reload_only(0), &[begun(1, 1), spawn_in(1, 3, 0)]),
        (
            1,
            crashed(3),
            &[gone(3, 0), failed(1, (3, 0), ReloadFailure::Exited(CRASH))],
        ),
        (2, reload_only(0), &[begun(2, 1), spawn_in(2, 4, 0)]),
    ]);
}

#[test]
fn another_slots_respawn_is_neither_waited_for_nor_a_failure() {
    ready(2).check(&[
        (0, reload_only(0), &[begun(1, 1), spawn_in(1, 3, 0)]),
        (1, crashed(2), &[gone(2, 1), spawn_in(1, 4, 1)]),
        (2, listening(3), &[replaced(0, 1, 3), drain(1)]),
        (3, crashed(1), &[left(1, 0), reloaded(1)]),
    ]);
}

#[test]
fn a_slot_that_is_not_there_or_not_wanted_is_not_reloaded() {
    let mut scene = ready(2);
    assert!(!scene.supervisor.may_reload(Some(SlotId(2))));
    scene.check(&[
        (0, reload_only(2), &[]),
        (1, ScaleAsked(1), &[drain(2)]),
        (2, reload_only(1), &[]),
    ]);
    assert!(scene.supervisor.may_reload(Some(SlotId(0))));
}
