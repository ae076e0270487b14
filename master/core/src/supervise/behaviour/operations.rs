//! What an operator, or a worker itself, may want besides: stop, restart, reset, no restart.

mod restarts;

use super::Announcement::Resting;
use super::Fact::{ResetAsked, RestartAsked, StopAsked};
use super::reload::reload;
use super::*;
use crate::supervise::RestartFailure::{self, Superseded};
use crate::supervise::SlotReport;

const DONE: u8 = 3;

fn with_stop_code() -> Limits {
    Limits {
        stop_codes: ExitCodes::NONE.with(DONE),
        ..LIMITS
    }
}

const STAYS: Limits = Limits {
    stay_when_errored: true,
    ..LIMITS
};

const FIRST: Option<SlotId> = Some(SlotId(0));

/// A worker ends with the code that says "not again".
fn quits(w: usize) -> Fact {
    Fact::Exited {
        worker: W[w],
        status: ExitStatus::code(DONE.into()),
    }
}

fn quit(w: usize, s: u32, exited_after_disconnect: bool) -> Order {
    Announce(Announcement::Exited {
        worker: W[w],
        slot: SlotId(s),
        status: ExitStatus::code(DONE.into()),
        exited_after_disconnect,
    })
}

fn restarted(s: u32) -> Order {
    Announce(Announcement::Restarted { slot: SlotId(s) })
}

fn not_restarted(s: u32, failure: RestartFailure) -> Order {
    let slot = SlotId(s);
    Announce(Announcement::RestartFailed { slot, failure })
}

fn boot_failed(w: usize) -> RestartFailure {
    let (worker, status) = (W[w], Some(CRASH));
    RestartFailure::BootFailed { worker, status }
}

fn stopped(s: u32) -> Order {
    Announce(Announcement::Stopped { slot: SlotId(s) })
}

fn with_limits(count: u32, limits: Limits) -> Scene {
    let mut scene = Scene::new(limits, false);
    scene.tell(0, ScaleAsked(count));
    (1..=count as usize).for_each(|w| drop(scene.tell(0, spawned(w))));
    (1..=count as usize).for_each(|w| drop(scene.tell(0, listening(w))));
    scene
}

/// So many slots at rest, in a run that stays.
fn at_rest(count: u32) -> Scene {
    let mut scene = with_limits(count, STAYS);
    scene.tell(1, StopAsked);
    scene.tell(1, ServersClosed);
    (1..=count as usize).for_each(|w| drop(scene.tell(1, crashed(w))));
    scene
}

fn starts(scene: &Scene) -> Vec<u32> {
    let reports = scene.supervisor.slot_reports().into_iter();
    reports.map(|report| report.starts).collect()
}

#[test]
fn a_stop_code_leaves_the_slot_empty() {
    for listens in [false, true] {
        let mut scene = Scene::new(with_stop_code(), false);
        for fact in [ScaleAsked(1), spawned(1)] {
            scene.tell(0, fact);
        }
        if listens {
            scene.tell(0, listening(1));
        }
        scene.check(&[(1, quits(1), &[quit(1, 0, false), stopped(0)])]);
        assert_eq!(scene.slots(), [(0, SlotState::Stopped)]);
        assert_eq!(scene.supervisor.deadline(), None);
        scene.check(&[(2, ScaleAsked(1), &[spawn(2, 0)])]);
    }
}

#[test]
fn a_stop_code_counts_from_one_that_leaves_by_its_own_will_only() {
    with_limits(2, with_stop_code()).check(&[
        (1, LeavingVoluntarily(W[1]), &[]),
        (2, quits(1), &[quit(1, 0, true), stopped(0)]),
        (3, DisconnectAsked(W[2]), &[drain(2)]),
        (4, quits(2), &[quit(2, 1, true), spawn(3, 1)]),
        (5, kill_asked(3, SIGTERM), &[]),
        (6, quits(3), &[quit(3, 1, false), spawn(4, 1)]),
    ]);
}

#[test]
fn a_foreground_run_in_which_every_slot_is_done_is_done() {
    let mut scene = started_in_foreground(2, with_stop_code());
    scene.check(&[
        (1, listening(1), &[]),
        (2, quits(1), &[quit(1, 0, false), stopped(0)]),
        (
            3,
            quits(2),
            &[quit(2, 1, false), stopped(1), Finish(Outcome::Done)],
        ),
    ]);
}

#[test]
fn one_that_is_done_does_not_hide_one_that_is_errored() {
    let limits = Limits {
        max_boot_failures: 1,
        ..with_stop_code()
    };
    started_in_foreground(2, limits).check(&[
        (1, listening(1), &[]),
        (2, quits(1), &[quit(1, 0, false), stopped(0)]),
        (
            3,
            crashed(2),
            &[gone(2, 1), errored(2, 1, 1), Finish(Outcome::Errored)],
        ),
    ]);
}

#[test]
fn a_run_that_stays_waits_for_those_that_are_done_to_be_wanted_again() {
    let limits = Limits {
        stay_when_errored: true,
        ..with_stop_code()
    };
    started_in_foreground(1, limits).check(&[
        (1, listening(1), &[Announce(Ready)]),
        (2, quits(1), &[quit(1, 0, false), stopped(0)]),
        (3, RestartAsked(None), &[spawn(2, 0)]),
        (4, listening(2), &[restarted(0), Announce(Ready)]),
    ]);
}

#[test]
fn a_stop_is_the_end_of_a_run_that_does_not_stay() {
    ready(2).check(&[
        (0, StopAsked, &[CloseServers]),
        (1, ServersClosed, &[drain(1), drain(2)]),
        (2, crashed(1), &[left(1, 0)]),
        (3, crashed(2), &[left(2, 1), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn a_run_that_stays_comes_to_rest_and_a_restart_wakes_it() {
    let mut scene = with_limits(2, STAYS);
    scene.check(&[
        (0, StopAsked, &[CloseServers]),
        (1, ServersClosed, &[drain(1), drain(2)]),
        (2, crashed(1), &[left(1, 0)]),
        (3, crashed(2), &[left(2, 1), Announce(Resting)]),
        (9999, Tick, &[]),
    ]);
    assert_eq!(
        scene.slots(),
        [(0, SlotState::Stopped), (1, SlotState::Stopped)]
    );
    assert_eq!(scene.supervisor.deadline(), None);
    scene.check(&[
        (10_000, RestartAsked(None), &[spawn(3, 0), spawn(4, 1)]),
        (10_001, listening(3), &[restarted(0)]),
        (10_002, listening(4), &[restarted(1), Announce(Ready)]),
    ]);
}

#[test]
fn who_ignores_a_stop_is_cut_as_in_a_shutdown() {
    with_limits(1, STAYS).check(&[
        (0, StopAsked, &[CloseServers]),
        (30_000, Tick, &[drain(1), cut(1), signal(1, SIGTERM)]),
        (35_000, Tick, &[signal(1, SIGKILL)]),
        (35_001, crashed(1), &[left(1, 0), Announce(Resting)]),
    ]);
}

#[test]
fn at_rest_anything_that_wants_workers_wakes() {
    at_rest(2).check(&[(2, RestartAsked(FIRST), &[spawn(3, 0)])]);
    at_rest(2).check(&[(2, ScaleAsked(3), &[spawn(3, 0), spawn(4, 1), spawn(5, 2)])]);
    at_rest(2).check(&[(2, ScaleAsked(1), &[spawn(3, 0)])]);
    at_rest(1).check(&[(2, ForkAsked, &[spawn(2, 1)])]);
    let wish = crate::supervise::ReloadWish {
        parallel: 2,
        ..Default::default()
    };
    let mut scene = at_rest(2);
    let orders = scene.tell(2, Fact::ReloadAsked(wish));
    assert_eq!(orders[1..], [spawn_in(1, 3, 0), spawn_in(1, 4, 1)]);
}

#[test]
fn to_stop_what_rests_already_is_said_to_be_done() {
    at_rest(1).check(&[(2, StopAsked, &[Announce(Resting)])]);
    at_rest(1).check(&[(2, ShutdownAsked, &[Finish(Outcome::Done)])]);
}

#[test]
fn a_shutdown_makes_a_stop_the_end_and_no_stop_makes_it_a_rest() {
    for wishes in [[StopAsked, ShutdownAsked], [ShutdownAsked, StopAsked]] {
        let mut scene = with_limits(1, STAYS);
        scene.check(&[
            (0, wishes[0], &[CloseServers]),
            (1, wishes[1], &[]),
            (2, ServersClosed, &[drain(1)]),
            (3, crashed(1), &[left(1, 0), Finish(Outcome::Done)]),
        ]);
    }
}

#[test]
fn a_restart_that_is_asked_for_during_a_stop_follows_upon_it() {
    let mut scene = with_limits(2, STAYS);
    scene.check(&[
        (0, StopAsked, &[CloseServers]),
        (1, RestartAsked(FIRST), &[]),
        (2, ServersClosed, &[drain(1), drain(2)]),
        (3, crashed(1), &[left(1, 0)]),
        (4, crashed(2), &[left(2, 1), Announce(Resting), spawn(3, 0)]),
    ]);
    assert_eq!(
        scene.slots(),
        [(0, SlotState::Occupied), (1, SlotState::Stopped)]
    );
}

#[test]
fn another_number_may_not_be_asked_for_while_everything_is_being_stopped() {
    let mut scene = with_limits(2, STAYS);
    let may = |scene: &Scene| (scene.supervisor.may_scale(), scene.supervisor.is_ending());
    assert_eq!(may(&scene), (true, false));
    scene.check(&[(0, StopAsked, &[CloseServers]), (1, ScaleAsked(4), &[])]);
    assert_eq!(may(&scene), (false, false));
    assert_eq!(scene.supervisor.wanted_slots().count(), 2);
    scene.tell(2, ServersClosed);
    assert_eq!(may(&scene), (false, false));
    for w in [1, 2] {
        scene.tell(3, crashed(w));
    }
    assert_eq!(may(&scene), (true, false));
    scene.tell(4, ShutdownAsked);
    assert_eq!(may(&scene), (false, true));
}

#[test]
fn the_last_word_counts() {
    with_limits(1, STAYS).check(&[
        (0, StopAsked, &[CloseServers]),
        (1, RestartAsked(None), &[]),
        (2, StopAsked, &[not_restarted(0, Superseded)]),
        (3, ServersClosed, &[drain(1)]),
        (4, crashed(1), &[left(1, 0), Announce(Resting)]),
    ]);
    with_limits(1, STAYS).check(&[
        (0, StopAsked, &[CloseServers]),
        (1, RestartAsked(None), &[]),
        (2, ShutdownAsked, &[not_restarted(0, Superseded)]),
        (3, ServersClosed, &[drain(1)]),
        (4, crashed(1), &[left(1, 0), Finish(Outcome::Done)]),
    ]);
}

#[test]
fn a_rest_forgives_what_failed_before() {
    // All fail to boot, but the second while everything is being stopped.
    let mut scene = started_in_foreground(2, STAYS);
    scene.check(&[
        (0, crashed(1), &[gone(1, 0), backing_off(0, 100, 1)]),
        (1, StopAsked, &[CloseServers]),
        (2, crashed(2), &[gone(2, 1), Announce(Resting)]),
        (3, Tick, &[]),
        (4, RestartAsked(FIRST), &[spawn(3, 0)]),
        (
            5,
            crashed(3),
            &[
                gone(3, 0),
                backing_off(0, 100, 1),
                not_restarted(0, boot_failed(3)),
            ],
        ),
    ]);
}

#[test]
fn starts_are_counted_until_somebody_resets_them() {
    let mut scene = ready(2);
    for fact in [
        crashed(1),
        listening(3),
        crashed(3),
        listening(4),
        crashed(2),
    ] {
        scene.tell(0, fact);
    }
    assert_eq!(starts(&scene), [3, 2]);
    scene.check(&[(3, ResetAsked(FIRST), &[])]);
    assert_eq!(starts(&scene), [1, 2]);
    scene.check(&[
        (4, ResetAsked(Some(SlotId(9))), &[]),
        (5, ResetAsked(None), &[]),
    ]);
    assert_eq!(starts(&scene), [1, 1]);
    scene.tell(5000, crashed(4));
    assert_eq!(starts(&scene), [2, 1]);
}

#[test]
fn a_successor_counts_as_a_start_once_it_has_the_place() {
    let mut scene = ready(1);
    // It fails, and the next one gets ready.
    scene.tell(1, reload(1));
    scene.tell(2, crashed(2));
    assert_eq!(starts(&scene), [1]);
    scene.tell(3, reload(1));
    scene.tell(4, listening(3));
    assert_eq!(starts(&scene)[0], 2);
    scene.tell(5, crashed(1));
    // The third inherits the place before it is ready.
    scene.tell(6, reload(1));
    assert_eq!(starts(&scene)[0], 2);
    scene.tell(7, crashed(3));
    assert_eq!(starts(&scene), [3]);
    scene.tell(8, listening(4));
    assert_eq!(starts(&scene), [3]);
}

#[test]
fn every_worker_that_lives_is_described_wherever_its_slot_went() {
    let mut scene = ready(2);
    let rows = |scene: &Scene| -> Vec<_> {
        let reports = scene.supervisor.slot_reports().into_iter();
        let row = |r: SlotReport| (r.slot.0, r.worker.map_or(0, |w| w.0), r.is_wanted);
        reports.map(row).collect()
    };
    scene.tell(0, reload(2));
    // Who comes, and who leaves for it, stand below whoever has the slot.
    assert_eq!(
        rows(&scene),
        [(0, 1, true), (0, 3, true), (1, 2, true), (1, 4, true)]
    );
    scene.tell(1, listening(4));
    scene.tell(1, spawned(4));
    assert_eq!(rows(&scene)[2..], [(1, 4, true), (1, 2, true)]);
    // The slot goes with its worker; who was replaced there still drains.
    scene.tell(2, ScaleAsked(1));
    assert_eq!(rows(&scene)[2..], [(1, 4, false), (1, 2, false)]);
    scene.tell(3, crashed(4));
    assert_eq!(scene.slots(), [(0, SlotState::Occupied)]);
    assert_eq!(rows(&scene)[2..], [(1, 2, false)]);
    assert_eq!(scene.state(2), Some(WorkerState::Draining));
    scene.tell(4, crashed(2));
    assert_eq!(rows(&scene).len(), 2);
}
