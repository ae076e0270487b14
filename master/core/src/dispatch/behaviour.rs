//! One behaviour each: these facts lead to exactly these orders.
//!
//! Written in a shorthand in which `w` is a worker, `h` a handoff and `c` a connection.
//! Handoffs are numbered from 0 in the order in which they are ordered; everything happens
//! on server 0 unless a second one is named.

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

#[test]
fn a_rejected_connection_goes_to_the_next_worker_and_its_rejecter_rests() {
    check(
        &mut house(&[2, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (rejected(1, 0), &[hand_off(1, 0, 2), PAUSE]),
            (acked(2, 1), &[release(0, 2), RESUME]),
            (accepted(1), &[hand_off(2, 1, 2), PAUSE]),
            (Ready(W[1]), &[RESUME]),
            (accepted(2), &[hand_off(3, 2, 1)]),
        ],
    );
}

#[test]
fn a_rested_worker_stands_at_the_tail() {
    check(
        &mut house(&[1, 1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (rejected(1, 0), &[hand_off(1, 0, 2)]),
            (acked(2, 1), &[release(0, 2)]),
            (Ready(W[1]), &[]),
            (accepted(1), &[hand_off(2, 1, 3)]),
            (accepted(2), &[hand_off(3, 2, 2)]),
            (accepted(3), &[hand_off(4, 3, 1), PAUSE]),
        ],
    );
}

#[test]
fn ready_from_a_worker_that_does_not_rest_gives_no_extra_turn() {
    check(
        &mut house(&[1, 1]),
        &[
            (Ready(W[1]), &[]),
            (accepted(0), &[hand_off(0, 0, 1)]),
            (Ready(W[1]), &[]),
            (accepted(1), &[hand_off(1, 1, 2), PAUSE]),
            (Ready(W[1]), &[]),
        ],
    );
}

#[test]
fn rejects_in_the_wrong_order_do_not_change_the_order() {
    check(
        &mut house(&[2]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 1), PAUSE]),
            (accepted(2), &[]),
            (rejected(1, 1), &[]),
            (rejected(1, 0), &[]),
            (Ready(W[1]), &[hand_off(2, 0, 1), hand_off(3, 1, 1)]),
            (acked(1, 2), &[release(0, 1), hand_off(4, 2, 1)]),
        ],
    );
}

#[test]
fn what_a_dead_worker_held_goes_to_others_oldest_first() {
    check(
        &mut house(&[2, 2]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2)]),
            (accepted(2), &[hand_off(2, 2, 1)]),
            (accepted(3), &[hand_off(3, 3, 2), PAUSE]),
            (accepted(4), &[]),
            (WorkerGone(W[1]), &[]),
            (acked(2, 1), &[release(1, 2), hand_off(4, 0, 2)]),
            (acked(2, 3), &[release(3, 2), hand_off(5, 2, 2)]),
            (acked(2, 4), &[release(0, 2), hand_off(6, 4, 2)]),
        ],
    );
}

#[test]
fn requeued_connections_are_not_refused_by_a_full_queue() {
    let mut dispatcher = house(&[3]);
    for connection in 0..5 {
        tell(&mut dispatcher, accepted(connection));
    }
    assert_eq!(
        (dispatcher.in_flight_of(W[1]), dispatcher.pending_of(SERVER)),
        (3, 2)
    );
    check(&mut dispatcher, &[(WorkerGone(W[1]), &[])]);
    assert_eq!((dispatcher.held(), dispatcher.pending_of(SERVER)), (5, 5));
}

#[test]
fn the_answers_of_a_worker_that_is_gone_are_ignored() {
    check(
        &mut house(&[1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (WorkerGone(W[1]), &[hand_off(1, 0, 2), PAUSE]),
            (acked(1, 0), &[]),
            (rejected(1, 0), &[]),
            (Ready(W[1]), &[]),
            (WorkerGone(W[1]), &[]),
            (
                Input::Listening {
                    worker: W[1],
                    server: SERVER,
                },
                &[],
            ),
            (acked(2, 1), &[release(0, 2), RESUME]),
        ],
    );
}

#[test]
fn a_draining_worker_gets_nothing_and_settles_what_it_has() {
    check(
        &mut house(&[3, 3]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2)]),
            (accepted(2), &[hand_off(2, 2, 1)]),
            (Draining(W[1]), &[]),
            (accepted(3), &[hand_off(3, 3, 2)]),
            (acked(1, 0), &[release(0, 1)]),
            (rejected(1, 2), &[hand_off(4, 2, 2), PAUSE]),
            (Ready(W[1]), &[]),
            (
                Input::Listening {
                    worker: W[1],
                    server: SERVER,
                },
                &[],
            ),
            (WorkerGone(W[1]), &[]),
        ],
    );
}

#[test]
fn the_third_death_with_a_connection_refuses_it() {
    check(
        &mut house(&[1, 1, 1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (WorkerGone(W[1]), &[hand_off(1, 0, 2)]),
            (WorkerGone(W[2]), &[hand_off(2, 0, 3)]),
            (WorkerGone(W[3]), &[refuse(0, RefusalReason::WorkersDied)]),
        ],
    );
}

#[test]
fn a_connection_whose_answer_is_lost_is_refused_and_what_was_not_sent_goes_on() {
    let lost = |handoff| Input::AnswerLost {
        worker: W[1],
        handoff: HandoffId(handoff),
    };
    let refused = refuse(0, RefusalReason::AnswerLost);
    check(
        &mut house(&[2, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2)]),
            (accepted(2), &[hand_off(2, 2, 1), PAUSE]),
            (accepted(3), &[]),
            // Nothing goes to the dead, although it has room now.
            (lost(0), &[refused]),
            (lost(7), &[]),
            (WorkerGone(W[1]), &[]),
            (acked(2, 1), &[release(1, 2), hand_off(3, 2, 2)]),
        ],
    );
}

#[test]
fn a_connection_that_every_worker_rejected_twice_is_refused() {
    check(
        &mut house(&[1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (rejected(1, 0), &[hand_off(1, 0, 2), PAUSE]),
            (rejected(2, 1), &[]),
            (Ready(W[1]), &[hand_off(2, 0, 1)]),
            (rejected(1, 2), &[]),
            (Ready(W[2]), &[hand_off(3, 0, 2)]),
            (rejected(2, 3), &[refuse(0, RefusalReason::RejectedByAll)]),
        ],
    );
}

#[test]
fn a_connection_that_one_worker_rejects_for_ever_is_refused_while_the_other_rests() {
    let mut house = house(&[1, 1]);
    let mut effects = tell(&mut house, accepted(0));
    let mut handoffs = 0;
    while let Some(Effect::HandOff {
        handoff, worker, ..
    }) = effects.first()
    {
        let rejected = Input::Rejected {
            worker: *worker,
            handoff: *handoff,
        };
        handoffs += 1;
        assert!(handoffs < 1000, "it goes round for ever");
        effects = tell(&mut house, rejected);
        if effects.is_empty() {
            effects = tell(&mut house, Ready(W[2]));
        }
    }
    assert_eq!(effects, [refuse(0, RefusalReason::RejectedByAll)]);
}

#[test]
fn the_rejects_of_a_draining_worker_do_not_count() {
    check(
        &mut house(&[1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (rejected(1, 0), &[hand_off(1, 0, 2), PAUSE]),
            (rejected(2, 1), &[]),
            (Ready(W[1]), &[hand_off(2, 0, 1)]),
            (Draining(W[2]), &[]),
            // Its second reject, but it drains as well, so nobody is left to judge.
            (Draining(W[1]), &[]),
            (rejected(1, 2), &[]),
        ],
    );
}

#[test]
fn a_worker_that_left_and_came_back_is_asked_twice_again() {
    let (worker, server) = (W[1], SERVER);
    check(
        &mut house(&[1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (rejected(1, 0), &[hand_off(1, 0, 2), PAUSE]),
            (Input::Closed { worker, server }, &[]),
            (rejected(2, 1), &[]),
            (Input::Listening { worker, server }, &[]),
            (Ready(W[1]), &[hand_off(2, 0, 1)]),
            (rejected(1, 2), &[]),
            // The second reject of w2, but only the first of w1 since it came back.
            (Ready(W[2]), &[hand_off(3, 0, 2)]),
            (rejected(2, 3), &[]),
        ],
    );
}

#[test]
fn closing_a_server_refuses_what_waits_and_what_comes_back() {
    let closed = RefusalReason::ServerClosed;
    check(
        &mut house(&[2, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2)]),
            (accepted(2), &[hand_off(2, 2, 1), PAUSE]),
            (accepted(3), &[]),
            (ServerClosed(SERVER), &[refuse(3, closed)]),
            (accepted(4), &[refuse(4, closed)]),
            (acked(1, 0), &[release(0, 1)]),
            (rejected(1, 2), &[refuse(2, closed)]),
            (WorkerGone(W[2]), &[refuse(1, closed)]),
        ],
    );
}

#[test]
fn an_ack_of_what_another_worker_holds_expels_the_liar_once() {
    let breach = Breach::AckedUnknown(HandoffId(0));
    check(
        &mut house(&[1, 2]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted(1), &[hand_off(1, 1, 2)]),
            (
                acked(2, 0),
                &[
                    Effect::Expel {
                        worker: W[2],
                        breach,
                    },
                    PAUSE,
                ],
            ),
            (acked(2, 0), &[]),
            // What it was sent before still settles: it may have been taken.
            (acked(2, 1), &[release(1, 2)]),
            (acked(1, 0), &[release(0, 1), RESUME]),
        ],
    );
}

#[test]
fn an_ack_said_twice_is_a_breach() {
    let breach = Breach::AckedUnknown(HandoffId(0));
    check(
        &mut house(&[1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1), PAUSE]),
            (acked(1, 0), &[release(0, 1), RESUME]),
            (
                acked(1, 0),
                &[
                    Effect::Expel {
                        worker: W[1],
                        breach,
                    },
                    PAUSE,
                ],
            ),
        ],
    );
}

#[test]
fn one_window_spans_all_servers_of_a_worker() {
    let (pause, resume) = (Effect::PauseAccept(OTHER), Effect::ResumeAccept(OTHER));
    check(
        &mut house_with_two_servers(&[1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1), PAUSE, pause]),
            (accepted_on(1, OTHER), &[]),
            (acked(1, 0), &[release(0, 1), hand_off_on(1, 1, 1, OTHER)]),
            (acked(1, 1), &[release(1, 1), RESUME, resume]),
        ],
    );
}

#[test]
fn a_worker_that_another_server_filled_keeps_its_place_until_its_turn() {
    // Back in time: w1 is first on the other server, as if nothing had happened.
    check(
        &mut house_with_two_servers(&[1, 1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (acked(1, 0), &[release(0, 1)]),
            (accepted_on(1, OTHER), &[hand_off_on(1, 1, 1, OTHER)]),
        ],
    );
    // Too late: its turn came while it was full, so w2 is first by now.
    check(
        &mut house_with_two_servers(&[1, 2]),
        &[
            (accepted(0), &[hand_off(0, 0, 1)]),
            (accepted_on(1, OTHER), &[hand_off_on(1, 1, 2, OTHER)]),
            (acked(1, 0), &[release(0, 1)]),
            (accepted_on(2, OTHER), &[hand_off_on(2, 2, 2, OTHER)]),
        ],
    );
}

#[test]
fn of_two_servers_the_one_whose_client_has_waited_longer_comes_first() {
    let pause = Effect::PauseAccept(OTHER);
    check(
        &mut house_with_two_servers(&[1]),
        &[
            (accepted(0), &[hand_off(0, 0, 1), PAUSE, pause]),
            (accepted_on(1, OTHER), &[]),
            (accepted(2), &[]),
            (acked(1, 0), &[release(0, 1), hand_off_on(1, 1, 1, OTHER)]),
        ],
    );
}

#[test]
fn the_master_never_accepts_for_a_shared_server() {
    let (worker, server) = (W[1], OTHER);
    let policy = PolicyName::Shared;
    check(
        &mut house(&[1]),
        &[
            (
                Input::ServerOpened {
                    server,
                    policy,
                    pending_max: 2,
                },
                &[],
            ),
            (Input::Listening { worker, server }, &[]),
            (
                accepted_on(0, server),
                &[refuse(0, RefusalReason::SharedServer)],
            ),
        ],
    );
}

#[test]
fn the_kernel_is_told_who_is_in_the_rotation_and_what_it_leaves_is_handed_over() {
    let (server, policy) = (OTHER, PolicyName::Kernel);
    let join = |worker| Effect::JoinRotation { worker, server };
    let leave = |worker| Effect::LeaveRotation { worker, server };
    let listening = |worker| Input::Listening { worker, server };
    let resume = Effect::ResumeAccept(server);
    check(
        &mut house(&[1, 1]),
        &[
            (
                Input::ServerOpened {
                    server,
                    policy,
                    pending_max: 2,
                },
                &[],
            ),
            (listening(W[1]), &[join(W[1]), resume.clone()]),
            (listening(W[2]), &[join(W[2])]),
            (listening(W[2]), &[]),
            // What the kernel could give to nobody.
            (accepted_on(0, server), &[hand_off_on(0, 0, 1, server)]),
            // Being full, or resting after a reject, is no reason to leave it.
            (
                rejected(1, 0),
                &[
                    hand_off_on(1, 0, 2, server),
                    PAUSE,
                    Effect::PauseAccept(server),
                ],
            ),
            (Draining(W[1]), &[leave(W[1])]),
            (acked(2, 1), &[release(0, 2), RESUME, resume]),
            (
                Input::Closed {
                    worker: W[2],
                    server,
                },
                &[leave(W[2]), Effect::PauseAccept(server)],
            ),
            (WorkerGone(W[1]), &[]),
        ],
    );
}

#[test]
fn a_closed_listener_leaves_one_rotation_and_not_the_other() {
    let (worker, server) = (W[1], SERVER);
    check(
        &mut house_with_two_servers(&[1]),
        &[
            (Input::Closed { worker, server }, &[PAUSE]),
            (accepted(0), &[]),
            (
                accepted_on(1, OTHER),
                &[hand_off_on(0, 1, 1, OTHER), Effect::PauseAccept(OTHER)],
            ),
        ],
    );
}

#[test]
fn a_tick_is_no_news() {
    check(&mut house(&[1]), &[(Tick, &[])]);
}

#[test]
fn the_oldest_handoff_is_the_one_that_is_longest_unanswered() {
    let (mut dispatcher, start) = (house(&[2]), Instant::now());
    assert_eq!(dispatcher.oldest_handoff(W[1]), None);
    let later = start + Duration::from_secs(1);
    dispatcher.handle(start, accepted(0), &mut Vec::new());
    dispatcher.handle(later, accepted(1), &mut Vec::new());
    assert_eq!(dispatcher.oldest_handoff(W[1]), Some(start));
    tell(&mut dispatcher, acked(1, 0));
    assert_eq!(dispatcher.oldest_handoff(W[1]), Some(later));
}

#[test]
fn a_snapshot_shows_who_stands_where() {
    let mut dispatcher = house(&[1, 1, 1]);
    for input in [accepted(0), accepted(1), rejected(2, 1), Draining(W[1])] {
        tell(&mut dispatcher, input);
    }
    let snapshot = dispatcher.snapshot();
    let standings: Vec<_> = snapshot
        .workers
        .iter()
        .map(|worker| worker.standing)
        .collect();
    assert_eq!(
        standings,
        [Standing::Draining, Standing::Resting, Standing::Serving]
    );
    let server = &snapshot.servers[0];
    assert_eq!(server.rotation, [W[2], W[3]]);
    assert_eq!(
        (server.ring.len(), server.in_flight, server.pending),
        (0, 2, 0)
    );
    assert_eq!((server.totals.accepted, server.totals.handed_off), (2, 3));
    assert_eq!((server.totals.rejected, server.totals.requeued), (1, 1));
    assert_eq!(snapshot.totals, server.totals);
}
