//! Several servers, closed ones, lies, and what people see.

use super::*;

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
