//! Who is found to hang, and who is not.

use super::*;
use crate::supervise::{Activity, HangSign, Probe, ReloadFailure, ReloadWish};

/// One worker that listens, and patience for a pong and for an ack.
fn watched(heartbeat_timeout: u64, ack_timeout: u64) -> Scene {
    let limits = Limits {
        heartbeat_timeout: Duration::from_millis(heartbeat_timeout),
        ack_timeout: Duration::from_millis(ack_timeout),
        ..LIMITS
    };
    let mut scene = Scene::new(limits, false);
    for fact in [ScaleAsked(1), spawned(1), Online(W[1]), listening(1)] {
        scene.tell(0, fact);
    }
    scene
}

fn ping(w: usize) -> Order {
    Order::Ping(W[w])
}

fn answered(w: usize) -> Fact {
    Fact::Answered(W[w])
}

fn hung(w: usize, sign: HangSign) -> Order {
    let worker = W[w];
    Announce(Announcement::Hung { worker, sign })
}

fn probed(w: usize, unanswered_for: u64, activity: Activity, cpu: u64) -> Fact {
    Fact::Probed {
        worker: W[w],
        probe: Probe {
            unanswered_for: Duration::from_millis(unanswered_for),
            activity,
            cpu,
        },
    }
}

fn stopped(unanswered_for: u64) -> Fact {
    probed(1, unanswered_for, Activity::Stopped, 7)
}

fn asleep(unanswered_for: u64) -> Fact {
    probed(1, unanswered_for, Activity::Waiting, 7)
}

fn killed(sign: HangSign) -> [Order; 2] {
    [hung(1, sign), signal(1, SIGKILL)]
}

#[test]
fn a_ping_goes_out_every_eighth_of_the_patience() {
    watched(800, 0).check(&[
        (99, Tick, &[]),
        (100, Tick, &[ping(1)]),
        (110, answered(1), &[]),
        (209, Tick, &[]),
        (210, Tick, &[ping(1)]),
        (305, answered(1), &[]),
        (306, answered(1), &[]), // Nobody asked.
        (405, Tick, &[ping(1)]),
    ]);
}

#[test]
fn a_long_patience_pings_twice_a_second() {
    watched(30_000, 0).check(&[
        (499, Tick, &[]),
        (500, Tick, &[ping(1)]),
        (500, answered(1), &[]),
        (1000, Tick, &[ping(1)]),
    ]);
}

#[test]
fn who_does_not_answer_is_killed_when_the_patience_is_over() {
    let mut scene = watched(30_000, 0);
    scene.tell(500, Tick);
    assert_eq!(scene.idle_until(30_499), []);
    let log = scene.idle_until(99_999);
    assert_eq!(log, [(30_500, killed(HangSign::NoPong).to_vec())]);
    scene.check(&[(99_999, crashed(1), &[gone(1, 0), spawn(2, 0)])]);
}

#[test]
fn an_answer_in_the_last_moment_is_one() {
    let mut scene = watched(800, 0);
    scene.idle_until(899);
    scene.check(&[(900, answered(1), &[]), (1000, Tick, &[ping(1)])]);
}

#[test]
fn nobody_is_pinged_who_cannot_answer() {
    let mut scene = Scene::new(
        Limits {
            heartbeat_timeout: Duration::from_millis(800),
            ..LIMITS
        },
        false,
    );
    scene.tell(0, ScaleAsked(1));
    assert_eq!(scene.idle_until(1000), []); // It has not spoken yet,
    scene.tell(1000, Online(W[1]));
    scene.tell(1000, listening(1));
    assert_eq!(scene.idle_until(2000), []); // and is not known to run,
    scene.tell(2000, spawned(1));
    assert_eq!(scene.idle_until(2100), [(2100, vec![ping(1)])]);
    scene.tell(2150, LeavingVoluntarily(W[1]));
    assert_eq!(scene.idle_until(9000), []); // and leaves.
}

#[test]
fn no_patience_is_no_heartbeat() {
    assert_eq!(watched(0, 400).supervisor.deadline(), None);
}

#[test]
fn the_smallest_patience_does_not_spin() {
    let limits = Limits {
        heartbeat_timeout: Duration::from_nanos(1),
        ..LIMITS
    };
    let mut scene = Scene::new(limits, false);
    for fact in [ScaleAsked(1), spawned(1), Online(W[1]), listening(1)] {
        scene.tell(0, fact);
    }
    scene.check(&[
        (0, Tick, &[]),
        (1, Tick, &[ping(1)]),
        (1, answered(1), &[]),
        (2, Tick, &[ping(1)]),
    ]);
}

#[test]
fn a_late_master_does_not_kill_whose_pong_is_on_its_way() {
    let mut scene = watched(800, 0);
    scene.check(&[
        (100, Tick, &[ping(1)]),
        (10_200, Tick, &[]), // Ten seconds late.
        (10_201, answered(1), &[]),
        (10_301, Tick, &[ping(1)]),
    ]);
}

#[test]
fn a_master_that_is_always_late_still_finds_who_hangs() {
    let mut scene = watched(800, 0);
    // Of each look counts its step and half a step more: six are enough.
    let lines = (0..6).map(|look| scene.tell(1000 + look * 1000, Tick));
    assert_eq!(lines.filter(|orders| *orders == [ping(1)]).count(), 1);
    let orders = scene.tell(7000, Tick);
    assert_eq!(orders, killed(HangSign::NoPong));
}

#[test]
fn who_takes_long_to_come_up_is_not_pinged_before_it_has() {
    let limits = Limits {
        heartbeat_timeout: Duration::from_millis(800),
        wait_ready: true,
        ..LIMITS
    };
    // By its word, or by its first listen, whichever comes first.
    for comes_up in [Fact::SaidReady(W[1]), listening(1)] {
        let mut scene = Scene::new(limits, true);
        for fact in [ScaleAsked(1), spawned(1), Online(W[1])] {
            scene.tell(0, fact);
        }
        assert_eq!(scene.idle_until(60_000), []);
        scene.tell(60_000, comes_up);
        let kill = vec![hung(1, HangSign::NoPong), signal(1, SIGKILL)];
        let log = scene.idle_until(60_900);
        assert_eq!(log, [(60_100, vec![ping(1)]), (60_900, kill)]);
    }
}

#[test]
fn a_successor_that_hangs_fails_its_reload() {
    let mut scene = watched(800, 0);
    let other = ServerId(9);
    scene.tell(0, listening_on(1, other));
    scene.tell(10, Fact::ReloadAsked(ReloadWish::default()));
    // It has come up in part, and gets no further.
    for fact in [spawned(2), Online(W[2]), listening(2)] {
        scene.tell(20, fact);
    }
    for at in [100, 200, 300, 400, 500, 600, 700, 800, 900] {
        scene.idle_until(at);
        scene.tell(at, answered(1));
    }
    let kill = [hung(2, HangSign::NoPong), signal(2, SIGKILL)];
    assert_eq!(scene.idle_until(920), [(920, kill.to_vec())]);
    let failure = Announce(Announcement::ReloadFailed {
        generation: Generation(1),
        culprit: Some((W[2], SlotId(0))),
        failure: ReloadFailure::Exited(CRASH),
    });
    scene.check(&[(921, crashed(2), &[gone(2, 0), failure])]);
    assert_eq!(scene.state(1), Some(WorkerState::Listening));
}

#[test]
fn who_is_stopped_and_owes_an_ack_is_killed_when_the_patience_is_over() {
    watched(0, 400).check(&[
        (100, stopped(100), &[]),
        (200, stopped(200), &[]),
        (300, stopped(300), &[]),
        (400, stopped(400), &killed(HangSign::Stopped)),
        (500, stopped(500), &[]), // It is only not reaped yet.
        (600, crashed(1), &[gone(1, 0), spawn(2, 0)]),
    ]);
}

#[test]
fn who_sleeps_and_owes_an_ack_is_killed_after_a_patience_of_looks() {
    watched(0, 400).check(&[
        (100, asleep(100), &[]),
        (200, asleep(200), &[]),
        (300, asleep(300), &[]),
        (400, asleep(400), &[]), // At the first look it may just have fallen asleep.
        (500, asleep(500), &killed(HangSign::NoAck)),
    ]);
}

#[test]
fn who_was_stopped_and_goes_on_has_all_its_time_again() {
    watched(0, 400).check(&[
        (100, stopped(100), &[]),
        (200, stopped(200), &[]),
        (300, stopped(300), &[]),
        (400, asleep(400), &[]),
        (700, asleep(700), &[]),
        (800, probed(1, 800, Activity::Waiting, 8), &[]),
    ]);
}

#[test]
fn who_uses_cpu_or_wants_it_is_busy() {
    let mut scene = watched(0, 400);
    for look in 1..100 {
        let at = look * 100;
        let orders = scene.tell(at, probed(1, at, Activity::Running, 7));
        assert_eq!(orders, [], "wants CPU at {at}");
    }
    for look in 100..200 {
        let at = look * 100;
        let orders = scene.tell(at, probed(1, at, Activity::Waiting, look));
        assert_eq!(orders, [], "used CPU until {at}");
    }
    // One tick of CPU, and the patience begins anew.
    let cpu = 1000;
    for look in 200..204 {
        let at = look * 100;
        let orders = scene.tell(at, probed(1, at, Activity::Waiting, cpu));
        assert_eq!(orders, [], "asleep until {at}");
    }
    let orders = scene.tell(20_400, probed(1, 20_400, Activity::Waiting, cpu));
    assert_eq!(orders, killed(HangSign::NoAck));
}

#[test]
fn who_acks_one_after_the_other_does_not_hang_however_idle() {
    let mut scene = watched(0, 400);
    for look in 1..100 {
        assert_eq!(scene.tell(look * 100, asleep(390)), []);
    }
}

#[test]
fn no_patience_is_no_look() {
    let mut scene = watched(0, 0);
    scene.check(&[
        (0, stopped(3_600_000), &[]),
        (1, asleep(3_600_000), &[]),
        (2, asleep(3_600_000), &[]),
    ]);
}

#[test]
fn who_drains_and_is_stopped_is_not_waited_for() {
    watched(0, 400).check(&[
        (10, DisconnectAsked(W[1]), &[drain(1)]),
        (100, stopped(100), &[]),
        (250, stopped(250), &[]),
        (400, stopped(400), &killed(HangSign::Stopped)),
    ]);
}

#[test]
fn a_late_master_reads_the_acks_before_it_judges() {
    watched(0, 400).check(&[
        (100, asleep(100), &[]),
        (10_100, asleep(10_100), &[]), // Ten seconds late: what it knew means nothing.
        (10_200, stopped(10_200), &[]),
        (10_300, stopped(10_300), &[]),
        (10_400, stopped(10_400), &killed(HangSign::Stopped)),
    ]);
    // The first look of all comes late.
    watched(0, 400).check(&[(10_100, stopped(10_100), &[])]);
    // A quarter of a second late: of that look counts a step and a half.
    watched(0, 400).check(&[
        (100, stopped(100), &[]),
        (450, stopped(450), &[]),
        (550, stopped(550), &[]),
        (650, stopped(650), &killed(HangSign::Stopped)),
    ]);
}
