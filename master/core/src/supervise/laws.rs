//! Laws that hold for every sequence of facts and times.
//!
//! proptest invents sequences of *deeds*; the [`House`] turns each into a fact that makes
//! sense just then or, on purpose, none (a report given twice, a word of one that is gone),
//! and the laws are looked at after each.

mod deeds;
mod hang;
mod house;
mod means;
mod reload;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::slot::Content;
use super::{
    Announcement, ExitStatus, Fact, Order, Outcome, SlotState, Supervisor, WorkerEvent, WorkerState,
};
use crate::id::{ServerId, SlotId, WorkerId};
use house::{GRACE, House, any_deeds, any_limits};
use means::{any_event, any_fact, fail_to_boot, is_hung, places_are_in_order};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_slot_holds_one_worker_and_a_successor_and_all_others_leave(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        for deed in deeds {
            house.perform(deed);
            places_are_in_order(&house.supervisor)?;
            // And the supervisor knows of exactly those that live.
            let known: BTreeMap<_, _> =
                house.supervisor.workers().map(|(worker, record)| (worker, record.slot)).collect();
            prop_assert_eq!(&known, &house.places);
        }
    }

    #[test]
    fn only_a_worker_that_runs_is_drained_or_signalled_or_pinged(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        let mut drained = BTreeSet::new();
        for deed in deeds {
            for order in house.perform(deed) {
                let worker = match order {
                    Order::Drain(worker) => {
                        prop_assert!(drained.insert(worker), "{} is drained twice", worker);
                        worker
                    }
                    Order::Signal { worker, .. } | Order::Ping(worker) => worker,
                    Order::Spawn { .. } | Order::CloseServers | Order::Announce(_)
                    | Order::Finish(_) => continue,
                };
                prop_assert!(house.places.contains_key(&worker), "{} is gone", worker);
                prop_assert!(!house.unborn.contains(&worker), "{} does not run", worker);
            }
        }
    }

    #[test]
    fn numbers_only_rise_and_none_is_left_out(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let house = House::after(limits, foreground, deeds);
        let orders = house.steps.iter().flat_map(|step| &step.orders);
        let numbers = orders.filter_map(|order| {
            if let Order::Spawn { worker, .. } = order { Some(worker.0) } else { None }
        });
        for (number, expected) in numbers.zip(1..) {
            prop_assert_eq!(number, expected);
        }
    }

    #[test]
    fn after_each_fact_nothing_is_due(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        for deed in deeds {
            house.perform(deed);
            let deadline = house.supervisor.deadline();
            prop_assert!(deadline.is_none_or(|deadline| deadline > house.now));
        }
    }

    #[test]
    fn wanted_slots_are_never_lost_nor_idle(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        for deed in deeds {
            house.perform(deed);
            let supervisor = &house.supervisor;
            prop_assert_eq!(supervisor.wanted_slots().count(), house.wanted as usize);
            for (id, slot) in supervisor.slots.iter().filter(|_| supervisor.phase.is_running()) {
                let is_attended = match slot.content {
                    Content::Worker(worker) => house.places.get(&worker) == Some(id),
                    Content::Backoff { until } => slot.is_wanted && until.is_some(),
                    Content::Errored => slot.is_wanted && slot.restart.boot_failures() > 0,
                    Content::Stopped => house.halted.contains(id),
                };
                prop_assert!(is_attended, "{}: {:?}", id, slot);
            }
        }
    }

    #[test]
    fn a_shutdown_ends_in_few_steps_and_in_time(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
        obeys in vec(any::<bool>(), 1..20),
    ) {
        let mut house = House::after(limits, foreground, deeds);
        house.tell(Fact::ShutdownAsked);
        let asked_at = house.now;
        // Each is forked, gets as far as SIGKILL in two rungs, and exits; and the servers. As
        // long as these are open, one that does not answer is looked at nine times. One more
        // may have to follow the last, after a wait.
        let steps_max = (4 + 9) * (house.places.len() + 1) + 2;
        let steps = house.play_to_the_end(&obeys, steps_max);
        prop_assert!(steps.is_some(), "{} workers left", house.places.len());
        prop_assert!(house.places.is_empty());
        // A master that was late before has granted a moment.
        let grace = house.forgiven.min(GRACE);
        let patience = limits.drain_timeout.max(grace) + limits.kill_timeout.max(grace);
        prop_assert!(house.now <= asked_at + patience);
    }

    #[test]
    fn the_finish_is_given_once_and_last_and_to_an_empty_house(
        limits in any_limits(), foreground: bool, deeds in any_deeds(), late in any_deeds(),
    ) {
        let mut house = House::after(limits, foreground, deeds);
        house.tell(Fact::ShutdownAsked);
        house.play_to_the_end(&[true], usize::MAX);
        prop_assert!(house.places.is_empty());
        late.into_iter().for_each(|deed| drop(house.perform(deed)));
        let orders: Vec<_> = house.steps.iter().flat_map(|step| &step.orders).collect();
        let is_finish = |order: &&&Order| matches!(order, Order::Finish(_));
        prop_assert_eq!(orders.iter().filter(is_finish).count(), 1);
        prop_assert!(orders.last().is_some_and(|order| matches!(order, Order::Finish(_))));
        let count = |wanted: &Order| orders.iter().filter(|order| **order == wanted).count();
        let rests = count(&Order::Announce(Announcement::Resting));
        prop_assert!(count(&Order::CloseServers) <= rests + 1);
    }

    #[test]
    fn a_shutdown_is_cut_exactly_if_it_cut_somebody(
        limits in any_limits(), deeds in any_deeds(), obeys in vec(any::<bool>(), 1..20),
    ) {
        let mut house = House::after(limits, false, deeds);
        house.tell(Fact::ShutdownAsked);
        house.play_to_the_end(&obeys, usize::MAX);
        // A stop that became the shutdown is a part of it.
        let begins = |step: &house::Step| {
            step.was_running && matches!(step.fact, Fact::StopAsked | Fact::ShutdownAsked)
        };
        let begin = house.steps.iter().rposition(begins).unwrap_or(0);
        let shutdown = house.steps.iter().skip(begin);
        let is_cut = |order: &Order| {
            matches!(order, Order::Announce(Announcement::CutAtDeadline { .. }))
        };
        let expected = if shutdown.flat_map(|step| &step.orders).any(is_cut) {
            Outcome::Cut
        } else {
            Outcome::Done
        };
        prop_assert_eq!(house.outcome, Some(expected));
    }

    #[test]
    fn no_rung_of_the_ladder_lasts_longer_than_its_timeout(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        let mut rungs: BTreeMap<(WorkerId, WorkerState), (Instant, Duration)> = BTreeMap::new();
        for deed in deeds {
            house.perform(deed);
            for (worker, record) in house.supervisor.workers() {
                let timeout = match record.state {
                    WorkerState::Draining => limits.drain_timeout,
                    WorkerState::Stopping => limits.kill_timeout,
                    WorkerState::Starting | WorkerState::Online | WorkerState::Listening
                    | WorkerState::Dead => continue,
                };
                let begin = (house.now, house.forgiven);
                let (since, forgiven) = *rungs.entry((worker, record.state)).or_insert(begin);
                let timeout = timeout + house.forgiven.saturating_sub(forgiven);
                // Nobody can kill what has no process yet; that is owed.
                let is_dying = house.killed.contains(&worker) || house.unborn.contains(&worker);
                prop_assert!(is_dying || house.now < since + timeout, "{:?}", record);
            }
        }
    }

    #[test]
    fn a_life_has_no_way_back(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        let mut states: BTreeMap<WorkerId, WorkerState> = BTreeMap::new();
        for deed in deeds {
            house.perform(deed);
            for (worker, record) in house.supervisor.workers() {
                let before = states.insert(worker, record.state);
                prop_assert!(before <= Some(record.state), "{} was {:?}", worker, before);
                prop_assert!(record.state != WorkerState::Dead);
            }
        }
    }

    #[test]
    fn every_event_leads_on_or_nowhere(events in vec(any_event(), 0..20)) {
        let mut state = WorkerState::Starting;
        for event in events {
            let next = state.next(event);
            prop_assert!(next >= state);
            prop_assert_eq!(next.next(event), next, "the same news again is no news");
            state = next;
        }
    }

    #[test]
    fn ready_is_said_at_most_once_a_start_and_only_of_a_full_house(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        let mut starts = 1;
        for deed in deeds {
            let orders = house.perform(deed);
            let step = house.steps.last();
            starts += usize::from(step.is_some_and(|s| matches!(s.fact, Fact::RestartAsked(_))));
            if orders.contains(&Order::Announce(Announcement::Ready)) {
                prop_assert!(starts > 0);
                starts = 0;
                prop_assert!(house.wanted > 0);
                for (id, slot) in house.supervisor.wanted_slots() {
                    let worker = slot.worker();
                    let record = worker.and_then(|worker| house.supervisor.workers.get(&worker));
                    // One may be found to hang in this very turn.
                    let is_ready = record.is_some_and(super::Record::is_ready)
                        || worker.is_some_and(|worker| orders.iter().any(|order| is_hung(order, worker)));
                    prop_assert!(is_ready, "{}: {:?}", id, slot);
                }
            }
        }
    }

    #[test]
    fn only_a_wish_or_a_managed_slot_leads_to_a_spawn(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        for deed in deeds {
            let wanted: BTreeSet<_> = house.supervisor.wanted_slots().map(|(id, _)| id).collect();
            let orders = house.perform(deed);
            let Some(step) = house.steps.last() else { continue };
            for order in orders {
                let Order::Spawn { slot, .. } = order else { continue };
                let is_wish = matches!(step.fact, Fact::ForkAsked | Fact::ScaleAsked(_));
                prop_assert!(is_wish || wanted.contains(&slot), "after {:?}", step.fact);
            }
        }
    }

    #[test]
    fn a_program_that_never_comes_up_is_tried_so_often_and_no_more(
        limits in any_limits(), slots in 1_u32..4, ways in vec(0_u8..4, 1..20),
    ) {
        let mut house = House::new(limits, false);
        house.tell(Fact::ScaleAsked(slots));
        let mut ways = ways.into_iter().cycle();
        let mut tries: BTreeMap<SlotId, u32> = BTreeMap::new();
        loop {
            while let Some(&worker) = house.unborn.first() {
                *tries.entry(house.places[&worker]).or_default() += 1;
                fail_to_boot(&mut house, worker, ways.next().unwrap_or(0));
            }
            let Some(deadline) = house.supervisor.deadline() else { break };
            house.now = deadline;
            house.tell(Fact::Tick);
        }
        let expected = (0..slots).map(|slot| (SlotId(slot), limits.max_boot_failures.max(1)));
        prop_assert_eq!(tries, expected.collect());
        prop_assert!(house.supervisor.slots().all(|(_, state)| state == SlotState::Errored));
    }

    #[test]
    fn a_slot_that_keeps_dying_is_never_given_up_nor_faster_than_ten_a_second(
        limits in any_limits(), lives in vec(0_u64..300, 10..60),
    ) {
        let mut house = House::new(limits, false);
        house.tell(Fact::ScaleAsked(1));
        let mut spawned_at = vec![house.now];
        for life in lives {
            let Some(&worker) = house.unborn.first() else { break };
            house.tell(Fact::Spawned { worker, pid: 1 });
            house.tell(Fact::Listening { worker, server: ServerId(0) });
            house.tell(Fact::SaidReady(worker));
            house.now += Duration::from_millis(life);
            house.tell(Fact::Exited { worker, status: ExitStatus::code(1) });
            house.now = house.supervisor.deadline().unwrap_or(house.now);
            house.tell(Fact::Tick);
            prop_assert_eq!(house.unborn.len(), 1);
            spawned_at.push(house.now);
        }
        // Two successors come at once; from the third on, each second has room for ten more.
        for window in spawned_at.windows(14) {
            prop_assert!(window[13] - window[0] >= Duration::from_secs(1));
        }
    }

    #[test]
    fn the_same_facts_lead_to_the_same_orders_again(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let house = House::after(limits, foreground, deeds);
        let mut supervisor = Supervisor::new(limits, foreground);
        for step in house.steps {
            let mut orders = Vec::new();
            supervisor.handle(step.now, step.fact, &mut orders);
            prop_assert_eq!(orders, step.orders, "after {:?}", step.fact);
        }
    }

    #[test]
    fn what_names_nobody_alive_changes_nothing(
        limits in any_limits(), foreground: bool, deeds in any_deeds(), number in 0_u8..12,
        fact: u8,
    ) {
        let mut house = House::after(limits, foreground, deeds);
        let before = format!("{:?}", house.supervisor);
        let fact = house.lie(number, fact);
        prop_assert_eq!(house.tell(fact), []);
        prop_assert_eq!(format!("{:?}", house.supervisor), before);
    }

    #[test]
    fn facts_that_make_no_sense_are_survived(
        limits in any_limits(), foreground: bool,
        facts in vec((any_fact(), 0_u64..2000), 0..80),
    ) {
        let mut supervisor = Supervisor::new(limits, foreground);
        let (mut now, mut last, mut finishes) = (Instant::now(), 0, 0);
        for (fact, wait) in facts {
            now += Duration::from_millis(wait);
            let mut orders = Vec::new();
            supervisor.handle(now, fact, &mut orders);
            prop_assert!(supervisor.deadline().is_none_or(|deadline| deadline > now));
            prop_assert!(finishes == 0 || orders.is_empty());
            for order in orders {
                if let Order::Spawn { worker, .. } = order {
                    prop_assert_eq!(worker, WorkerId(last + 1));
                    last += 1;
                }
                finishes += usize::from(matches!(order, Order::Finish(_)));
            }
            places_are_in_order(&supervisor)?;
        }
    }
}
