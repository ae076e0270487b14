//! What becomes of connections that are given back, or whose worker dies, drains or leaves.

use super::*;

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
