//! One behaviour each: these facts lead to exactly these orders.
//!
//! Written in a shorthand in which `w` is a worker, `h` a handoff and `c` a connection.
//! Handoffs are numbered from 0 in the order in which they are ordered; everything happens
//! on server 0 unless a second one is named.

mod servers;
mod taken_back;

use std::time::{Duration, Instant};

use super::Input::{Draining, Ready, ServerClosed, Tick, WorkerGone};
use super::{Breach, Dispatcher, Effect, Input, PolicyName, RefusalReason, Standing};
use crate::id::{ConnectionId, HandoffId, ServerId, SlotId, WorkerId};

const SERVER: ServerId = ServerId(0);
const OTHER: ServerId = ServerId(1);
const W: [WorkerId; 5] = [
    WorkerId(0),
    WorkerId(1),
    WorkerId(2),
    WorkerId(3),
    WorkerId(4),
];

const PAUSE: Effect = Effect::PauseAccept(SERVER);
const RESUME: Effect = Effect::ResumeAccept(SERVER);

/// A server with a pending queue of two, and workers 1, 2, … with these windows on it.
fn house(windows: &[u32]) -> Dispatcher {
    let mut dispatcher = Dispatcher::new();
    tell(&mut dispatcher, open(SERVER));
    for (worker, &window) in W.into_iter().skip(1).zip(windows) {
        tell(&mut dispatcher, joined(worker, window));
        tell(
            &mut dispatcher,
            Input::Listening {
                worker,
                server: SERVER,
            },
        );
    }
    dispatcher
}

/// The same, with every worker on a second server too.
fn house_with_two_servers(windows: &[u32]) -> Dispatcher {
    let mut dispatcher = house(windows);
    tell(&mut dispatcher, open(OTHER));
    for (worker, _) in W.into_iter().skip(1).zip(windows) {
        tell(
            &mut dispatcher,
            Input::Listening {
                worker,
                server: OTHER,
            },
        );
    }
    dispatcher
}

fn tell(dispatcher: &mut Dispatcher, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    dispatcher.handle(Instant::now(), input, &mut effects);
    effects
}

#[track_caller]
fn check(dispatcher: &mut Dispatcher, table: &[(Input, &[Effect])]) {
    for (number, (input, expected)) in table.iter().enumerate() {
        let effects = tell(dispatcher, input.clone());
        assert_eq!(&effects, expected, "line {number}: {input:?}");
    }
}

fn open(server: ServerId) -> Input {
    Input::ServerOpened {
        server,
        policy: PolicyName::Rr,
        pending_max: 2,
    }
}

/// Each worker has a slot of its own.
fn joined(worker: WorkerId, window: u32) -> Input {
    let slot = SlotId(worker.0);
    Input::Joined {
        worker,
        slot,
        window,
    }
}

fn accepted(connection: u64) -> Input {
    accepted_on(connection, SERVER)
}

fn accepted_on(connection: u64, server: ServerId) -> Input {
    Input::Accepted {
        connection: ConnectionId(connection),
        server,
        client: None,
    }
}

fn acked(worker: usize, handoff: u64) -> Input {
    Input::Acked {
        worker: W[worker],
        handoff: HandoffId(handoff),
    }
}

fn rejected(worker: usize, handoff: u64) -> Input {
    Input::Rejected {
        worker: W[worker],
        handoff: HandoffId(handoff),
    }
}

/// Handoff `h` gives `c` to `w`.
fn hand_off(h: u64, c: u64, w: usize) -> Effect {
    hand_off_on(h, c, w, SERVER)
}

fn hand_off_on(h: u64, c: u64, w: usize, server: ServerId) -> Effect {
    let (handoff, connection) = (HandoffId(h), ConnectionId(c));
    Effect::HandOff {
        handoff,
        connection,
        worker: W[w],
        server,
    }
}

fn release(connection: u64, worker: usize) -> Effect {
    Effect::Release {
        connection: ConnectionId(connection),
        worker: W[worker],
    }
}

fn refuse(connection: u64, reason: RefusalReason) -> Effect {
    Effect::Refuse {
        connection: ConnectionId(connection),
        reason,
    }
}

#[test]
fn a_server_is_paused_until_a_worker_listens() {
    let (worker, server) = (W[1], SERVER);
    check(
        &mut Dispatcher::new(),
        &[
            (open(server), &[]),
            (joined(worker, 1), &[]),
            (Input::Listening { worker, server }, &[RESUME]),
            (Input::Listening { worker, server }, &[]),
            (Input::Closed { worker, server }, &[PAUSE]),
            (Input::Closed { worker, server }, &[]),
        ],
    );
}

#[test]
fn connections_go_round() {
    check(
        &mut house(&[1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (acked(1, 0), &[release(0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2)]),
            (acked(2, 1), &[release(1, 2)]),
            (accepted(2), &[hand_off(2, 2, 1)]),
        ],
    );
}

#[test]
fn a_busy_worker_is_passed_over() {
    check(
        &mut house(&[1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2), PAUSE]),
            (acked(2, 1), &[release(1, 2), RESUME]),
            (accepted(2), &[hand_off(2, 2, 2), PAUSE]),
        ],
    );
}

#[test]
fn a_worker_with_room_left_goes_to_the_tail_before_its_ack() {
    check(
        &mut house(&[2, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2)]),
            (accepted(2), &[hand_off(2, 2, 1), PAUSE]),
        ],
    );
}

#[test]
fn a_window_of_none_is_taken_as_one() {
    check(
        &mut house(&[0]),
        &[(accepted(0), &[hand_off(0, 0, 1), PAUSE])],
    );
}

#[test]
fn what_was_accepted_while_paused_waits_until_the_queue_is_full() {
    check(
        &mut house(&[1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1), PAUSE]),
            (accepted(1), &[]),
            (accepted(2), &[]),
            (accepted(3), &[refuse(3, RefusalReason::PendingFull)]),
            // Room for one, and two were waiting: so accepting stays paused.
            (acked(1, 0), &[release(0, 1), hand_off(1, 1, 1)]),
            (acked(1, 1), &[release(1, 1), hand_off(2, 2, 1)]),
            (acked(1, 2), &[release(2, 1), RESUME]),
        ],
    );
}

#[test]
fn a_queue_of_none_still_lets_through_what_a_worker_has_room_for() {
    let mut dispatcher = Dispatcher::new();
    let (worker, policy) = (W[1], PolicyName::Rr);
    tell(
        &mut dispatcher,
        Input::ServerOpened {
            server: SERVER,
            policy,
            pending_max: 0,
        },
    );
    tell(&mut dispatcher, joined(worker, 1));
    tell(
        &mut dispatcher,
        Input::Listening {
            worker,
            server: SERVER,
        },
    );
    check(
        &mut dispatcher,
        &[
            (accepted(0), &[hand_off(0, 0, 1), PAUSE]),
            (accepted(1), &[refuse(1, RefusalReason::PendingFull)]),
        ],
    );
}
