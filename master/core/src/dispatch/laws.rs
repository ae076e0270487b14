//! Laws that hold for every sequence of inputs.
//!
//! proptest invents sequences of *deeds*; the [`House`] turns each into an input that makes
//! sense just then (the ack of a handoff that exists, the death of a worker that lives) or,
//! on purpose, none (an answer nobody waits for), and the laws are looked at after each.

mod house;
mod spread;

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use super::replay::{Model, replay};
use super::{Breach, Dispatcher, Effect, Input, PolicyName, Standing, WorkerSnapshot};
use crate::id::{ConnectionId, HandoffId, ServerId, SlotId, WorkerId};
use house::{Deed, House, PENDING_MAX, address, any_deed, any_policy};

fn any_windows() -> impl Strategy<Value = Vec<u32>> {
    vec(1_u32..=5, 0..5)
}

fn any_deeds() -> impl Strategy<Value = Vec<Deed>> {
    vec(any_deed(), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_connection_is_held_released_or_refused(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(policy, &windows);
        for deed in deeds {
            house.perform(deed);
            let ended = house.ended.len();
            prop_assert_eq!(house.accepted.len(), ended + house.dispatcher.held());
        }
    }

    #[test]
    fn no_connection_goes_to_a_worker_that_is_gone_draining_resting_or_full(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(policy, &windows);
        let (mut resting, mut leaving) = (BTreeSet::new(), BTreeSet::new());
        for deed in deeds {
            let effects = house.perform(deed);
            if let Some(Input::Rejected { worker, .. }) = house.last_input() {
                // The lie of one that is yet to come says nothing about its later state.
                resting.extend(house.windows.contains_key(worker).then_some(*worker));
            } else if let Some(Input::Ready(worker)) = house.last_input() {
                resting.remove(worker);
            } else if let Some(Input::Draining(worker)) = house.last_input() {
                leaving.insert(*worker);
            }
            for effect in effects {
                if let Effect::Expel { worker, .. } = effect {
                    leaving.insert(worker);
                } else if let Effect::HandOff { worker, .. } = effect {
                    prop_assert!(house.windows.contains_key(&worker), "{} is gone", worker);
                    prop_assert!(!resting.contains(&worker), "{} rests", worker);
                    prop_assert!(!leaving.contains(&worker), "{} leaves", worker);
                }
            }
            for (&worker, &window) in &house.windows {
                prop_assert!(house.dispatcher.in_flight_of(worker) <= window);
            }
        }
    }

    #[test]
    fn who_came_first_is_seated_first_whatever_rejects_or_dies(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(policy, &windows);
        for deed in deeds {
            for effect in house.perform(deed) {
                let Effect::HandOff { connection, server, .. } = effect else { continue };
                let mut older = house.accepted.iter().filter(|(c, _)| *c < connection);
                // Who waits for a certain worker lets others go to others.
                let overtaken = older.find(|&&(c, s)| {
                    s == server && house.is_waiting(c) && house.dispatcher.waits_for(c).is_none()
                });
                prop_assert_eq!(overtaken, None, "by {}", connection);
            }
        }
    }

    #[test]
    fn a_server_holds_at_most_its_queue_and_all_windows(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(policy, &windows);
        for deed in deeds {
            house.perform(deed);
            for server in house.dispatcher.snapshot().servers {
                let held = server.pending + server.in_flight;
                // Only while one has room may so many wait for each of the others.
                let is_sticky = server.policy == PolicyName::Sticky;
                let others = house.crowd_max.saturating_sub(1).max(1);
                let queues = if is_sticky { others } else { 1 };
                prop_assert!(held <= PENDING_MAX * queues + house.windows_sum_max);
            }
        }
    }

    #[test]
    fn accept_is_on_exactly_while_a_worker_has_room_and_nobody_waits(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(policy, &windows);
        // A server that a worker with room has joined was resumed while the house was set up.
        let servers = house.dispatcher.snapshot().servers.into_iter();
        let mut accepting: BTreeSet<_> =
            servers.filter(|server| server.is_accepting).map(|server| server.server).collect();
        for deed in deeds {
            for effect in house.perform(deed) {
                if let Effect::ResumeAccept(server) = effect {
                    prop_assert!(accepting.insert(server), "resumed twice");
                } else if let Effect::PauseAccept(server) = effect {
                    prop_assert!(accepting.remove(&server), "paused twice");
                }
            }
            let snapshot = house.dispatcher.snapshot();
            accepting.retain(|open| snapshot.servers.iter().any(|server| server.server == *open));
            for server in snapshot.servers.iter().filter(|s| s.policy.accepts_in_master()) {
                let has_room = |worker: &&WorkerSnapshot| {
                    worker.servers.contains(&server.server)
                        && worker.standing == Standing::Serving
                        && worker.in_flight < worker.window
                };
                let free: Vec<_> = snapshot.workers.iter().filter(has_room).collect();
                prop_assert_eq!(accepting.contains(&server.server), !free.is_empty());
                if free.is_empty() {
                    continue;
                }
                // Whoever waits, waits for a certain worker that is full, and so no more than
                // may; without such a policy, nobody waits.
                let waiting: usize = server.waiting.values().sum();
                prop_assert_eq!(server.pending, waiting, "waits before an idle worker");
                prop_assert!(server.policy == PolicyName::Sticky || waiting == 0);
                for (awaited, count) in &server.waiting {
                    prop_assert!(free.iter().all(|worker| worker.worker != *awaited));
                    prop_assert!(server.rotation.contains(awaited) && *count <= PENDING_MAX);
                }
            }
        }
    }

    #[test]
    fn the_kernel_knows_exactly_who_is_in_the_rotation(
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::new();
        let mut known = BTreeSet::new();
        let begin = [Deed::Open(0, PolicyName::Kernel), Deed::Open(1, PolicyName::Rr)];
        let join = windows.iter().map(|&window| Deed::Join(window));
        let listen = (0_u8..).zip(&windows).map(|(worker, _)| Deed::Listen(worker, 0));
        for deed in begin.into_iter().chain(join).chain(listen).chain(deeds) {
            for effect in house.perform(deed) {
                if let Effect::JoinRotation { worker, server } = effect {
                    prop_assert!(known.insert((server, worker)), "joined twice");
                } else if let Effect::LeaveRotation { worker, server } = effect {
                    prop_assert!(known.remove(&(server, worker)), "left twice");
                }
            }
            let servers = house.dispatcher.snapshot().servers;
            // With a server its rotation goes, and nothing more is said about it.
            known.retain(|(server, _)| servers.iter().any(|open| open.server == *server));
            let kernel = servers.iter().filter(|server| server.policy == PolicyName::Kernel);
            let rotation = kernel.flat_map(|s| s.rotation.iter().map(|&worker| (s.server, worker)));
            prop_assert_eq!(rotation.collect::<BTreeSet<_>>(), known.clone());
        }
    }

    #[test]
    fn draining_ends_after_as_many_answers_as_were_owed(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
        answers in vec(any::<bool>(), 64),
    ) {
        let mut house = House::with_workers(policy, &windows);
        deeds.into_iter().for_each(|deed| drop(house.perform(deed)));
        let workers: Vec<_> = house.windows.keys().copied().collect();
        for &worker in &workers {
            house.tell(Input::Draining(worker));
        }
        let owed = house.sent.len();
        for (_, acks) in (0..owed).zip(answers.into_iter().cycle()) {
            house.perform(if acks { Deed::Ack(0) } else { Deed::Reject(0) });
        }
        prop_assert!(house.sent.is_empty(), "a draining worker was sent something");
        prop_assert!(workers.iter().all(|&worker| house.dispatcher.in_flight_of(worker) == 0));
    }

    #[test]
    fn a_lie_is_punished_once_and_changes_nothing_else(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
        handoff in 1000_u64.., acks: bool,
    ) {
        let mut house = House::with_workers(policy, &windows);
        deeds.into_iter().for_each(|deed| drop(house.perform(deed)));
        let Some(worker) = house.worker(0) else { return Ok(()) };
        let held = house.dispatcher.held();
        let handoff = HandoffId(handoff);
        let (lie, breach) = if acks {
            (Input::Acked { worker, handoff }, Breach::AckedUnknown(handoff))
        } else {
            (Input::Rejected { worker, handoff }, Breach::RejectedUnknown(handoff))
        };
        let snapshot = house.dispatcher.snapshot();
        let mut expelled = snapshot.workers.iter().filter(|w| w.standing == Standing::Expelled);
        let expelled_before = expelled.any(|other| other.worker == worker);
        // Clients that waited for the liar alone go elsewhere at once.
        let accepted = house.accepted.iter().map(|(connection, _)| *connection);
        let freed: Vec<_> =
            accepted.filter(|c| house.dispatcher.waits_for(*c) == Some(worker)).collect();
        let effects = house.tell(lie.clone());
        prop_assert_eq!(effects.contains(&Effect::Expel { worker, breach }), !expelled_before);
        let is_right = |effect: &Effect| {
            matches!(effect, Effect::Expel { .. } | Effect::PauseAccept(_))
                || matches!(effect, Effect::LeaveRotation { worker: who, .. } if *who == worker)
                || matches!(effect, Effect::HandOff { connection, .. } if freed.contains(connection))
        };
        prop_assert!(effects.iter().all(is_right), "{:?}", effects);
        prop_assert_eq!(house.dispatcher.held(), held);
        prop_assert_eq!(house.tell(lie), []);
    }

    #[test]
    fn the_naive_model_agrees_with_every_order(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(policy, &windows);
        deeds.into_iter().for_each(|deed| drop(house.perform(deed)));
        let mut model = Model::new();
        for step in &house.steps {
            let seen = model.observe(&step.input, &step.effects);
            prop_assert_eq!(seen, Ok(()), "in {:?}", step);
        }
    }

    #[test]
    fn the_same_facts_lead_to_the_same_orders_again(
        policy in any_policy(), windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(policy, &windows);
        deeds.into_iter().for_each(|deed| drop(house.perform(deed)));
        let report = replay(house.origin, &house.steps);
        prop_assert_eq!(report.map(|report| report.accepted), Ok(house.accepted.len() as u64));
    }

    #[test]
    fn facts_that_make_no_sense_are_survived(inputs in vec(any_input(), 0..80)) {
        let (mut dispatcher, mut model) = (Dispatcher::new(), Model::new());
        let (now, mut accepted, mut ended) = (Instant::now(), 0, 0);
        for (number, mut input) in inputs.into_iter().enumerate() {
            if let Input::Accepted { connection, .. } = &mut input {
                *connection = ConnectionId(number as u64);
                accepted += 1;
            }
            let mut effects = Vec::new();
            dispatcher.handle(now, input.clone(), &mut effects);
            ended += effects.iter().filter_map(Effect::ended_connection).count();
            prop_assert_eq!(accepted, ended + dispatcher.held());
            prop_assert_eq!(model.observe(&input, &effects), Ok(()), "after {:?}", input);
        }
    }
}

/// Any fact about few workers, servers and handoffs, in any order.
fn any_input() -> impl Strategy<Value = Input> {
    let worker = || (0_u32..4).prop_map(WorkerId);
    let server = || (0_u32..3).prop_map(ServerId);
    let handoff = || (0_u64..12).prop_map(HandoffId);
    let policy = || prop::sample::select(&PolicyName::ALL[..]);
    prop_oneof![
        3 => (worker(), 0_u32..3, 0_u32..4).prop_map(|(worker, slot, window)| {
            Input::Joined { worker, slot: SlotId(slot), window }
        }),
        4 => (worker(), server()).prop_map(|(worker, server)| Input::Listening { worker, server }),
        1 => (worker(), server()).prop_map(|(worker, server)| Input::Closed { worker, server }),
        1 => worker().prop_map(Input::Draining),
        1 => worker().prop_map(Input::Ready),
        4 => (worker(), handoff()).prop_map(|(worker, handoff)| Input::Acked { worker, handoff }),
        2 => (worker(), handoff())
            .prop_map(|(worker, handoff)| Input::Rejected { worker, handoff }),
        6 => (server(), any::<u8>()).prop_map(|(server, client)| {
            Input::Accepted { connection: ConnectionId(0), server, client: address(client) }
        }),
        1 => (worker(), handoff())
            .prop_map(|(worker, handoff)| Input::AnswerLost { worker, handoff }),
        1 => worker().prop_map(Input::WorkerGone),
        3 => (server(), policy(), 0_usize..3).prop_map(|(server, policy, pending_max)| {
            Input::ServerOpened { server, policy, pending_max }
        }),
        1 => (server(), policy())
            .prop_map(|(server, policy)| Input::PolicyChanged { server, policy }),
        1 => (worker(), 0_u32..5).prop_map(|(worker, open)| Input::Reported { worker, open }),
        1 => (worker(), 0_u32..4).prop_map(|(worker, weight)| Input::Weighed { worker, weight }),
        1 => server().prop_map(Input::ServerClosed),
        1 => Just(Input::Tick),
    ]
}
