//! Laws that hold for every sequence of inputs.
//!
//! proptest invents sequences of *deeds*; the [`House`] turns each into an input that makes
//! sense just then (the ack of a handoff that exists, the death of a worker that lives) or,
//! on purpose, none (an answer nobody waits for), and the laws are looked at after each.

mod house;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use super::replay::{Model, replay};
use super::{Breach, Dispatcher, Effect, Input, PolicyName, Standing};
use crate::id::{ConnectionId, HandoffId, ServerId, WorkerId};
use house::{Deed, House, PENDING_MAX, any_deed};

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
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(&windows);
        for deed in deeds {
            house.perform(deed);
            let ended = house.ended.len();
            prop_assert_eq!(house.accepted.len(), ended + house.dispatcher.held());
        }
    }

    #[test]
    fn no_connection_goes_to_a_worker_that_is_gone_draining_resting_or_full(
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(&windows);
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
    fn ready_workers_are_served_in_strict_rotation(
        windows in vec(1_u32..=5, 1..12), connections in 0_u32..100,
    ) {
        let mut house = House::with_workers(&windows);
        let mut served: BTreeMap<_, u32> = house.windows.keys().map(|&w| (w, 0)).collect();
        for _ in 0..connections {
            house.perform(Deed::Arrive(0));
            let sent = house.sent[0];
            *served.entry(sent.worker).or_default() += 1;
            house.perform(Deed::Ack(0));
        }
        let (most, least) = (served.values().max(), served.values().min());
        prop_assert!(most <= least.map(|least| least + 1).as_ref(), "{:?}", served);
    }

    #[test]
    fn who_came_first_is_seated_first_whatever_rejects_or_dies(
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(&windows);
        for deed in deeds {
            for effect in house.perform(deed) {
                let Effect::HandOff { connection, server, .. } = effect else { continue };
                let mut older = house.accepted.iter().filter(|(c, _)| *c < connection);
                let overtaken = older.find(|&&(c, s)| s == server && house.is_waiting(c));
                prop_assert_eq!(overtaken, None, "by {}", connection);
            }
        }
    }

    #[test]
    fn a_server_holds_at_most_its_queue_and_all_windows(
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(&windows);
        for deed in deeds {
            house.perform(deed);
            for server in house.dispatcher.snapshot().servers {
                let held = server.pending + server.in_flight;
                prop_assert!(held <= PENDING_MAX + house.windows_sum_max);
            }
        }
    }

    #[test]
    fn accept_is_on_exactly_while_a_worker_has_room_and_nobody_waits(
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(&windows);
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
            for server in snapshot.servers.iter().filter(|s| s.policy != PolicyName::Shared) {
                let has_room = snapshot.workers.iter().any(|worker| {
                    worker.servers.contains(&server.server)
                        && worker.standing == Standing::Serving
                        && worker.in_flight < worker.window
                });
                prop_assert!(!has_room || server.pending == 0, "waits before an idle worker");
                prop_assert_eq!(accepting.contains(&server.server), has_room);
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
        windows in any_windows(), deeds in any_deeds(), answers in vec(any::<bool>(), 64),
    ) {
        let mut house = House::with_workers(&windows);
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
        windows in any_windows(), deeds in any_deeds(), handoff in 1000_u64.., acks: bool,
    ) {
        let mut house = House::with_workers(&windows);
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
        let effects = house.tell(lie.clone());
        prop_assert_eq!(effects.contains(&Effect::Expel { worker, breach }), !expelled_before);
        let is_right = |effect: &Effect| {
            let leaves = matches!(effect, Effect::LeaveRotation { worker: who, .. } if *who == worker);
            leaves || matches!(effect, Effect::Expel { .. } | Effect::PauseAccept(_))
        };
        prop_assert!(effects.iter().all(is_right), "{:?}", effects);
        prop_assert_eq!(house.dispatcher.held(), held);
        prop_assert_eq!(house.tell(lie), []);
    }

    #[test]
    fn the_naive_model_agrees_with_every_order(
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(&windows);
        deeds.into_iter().for_each(|deed| drop(house.perform(deed)));
        let mut model = Model::new();
        for step in &house.steps {
            let seen = model.observe(&step.input, &step.effects);
            prop_assert_eq!(seen, Ok(()), "in {:?}", step);
        }
    }

    #[test]
    fn the_same_facts_lead_to_the_same_orders_again(
        windows in any_windows(), deeds in any_deeds(),
    ) {
        let mut house = House::with_workers(&windows);
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
    let policy = prop_oneof![
        4 => Just(PolicyName::Rr), 1 => Just(PolicyName::Shared), 2 => Just(PolicyName::Kernel),
    ];
    prop_oneof![
        3 => (worker(), 0_u32..4).prop_map(|(worker, window)| Input::Joined { worker, window }),
        4 => (worker(), server()).prop_map(|(worker, server)| Input::Listening { worker, server }),
        1 => (worker(), server()).prop_map(|(worker, server)| Input::Closed { worker, server }),
        1 => worker().prop_map(Input::Draining),
        1 => worker().prop_map(Input::Ready),
        4 => (worker(), handoff()).prop_map(|(worker, handoff)| Input::Acked { worker, handoff }),
        2 => (worker(), handoff())
            .prop_map(|(worker, handoff)| Input::Rejected { worker, handoff }),
        6 => server().prop_map(|server| {
            Input::Accepted { connection: ConnectionId(0), server, client: None }
        }),
        1 => worker().prop_map(Input::WorkerGone),
        3 => (server(), policy, 0_usize..3).prop_map(|(server, policy, pending_max)| {
            Input::ServerOpened { server, policy, pending_max }
        }),
        1 => server().prop_map(Input::ServerClosed),
        1 => Just(Input::Tick),
    ]
}
