//! Laws of the reload.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::house::{self, Deed, House, SERVERS, any_deeds, any_limits};
use crate::id::{Generation, ServerId, SlotId, WorkerId};
use crate::supervise::{Announcement, Fact, Limits, Order, ReloadWish, WorkerState};

/// Limits under which nobody is killed for a silence that these laws do not play.
fn limits_without_heartbeat() -> impl Strategy<Value = Limits> {
    any_limits().prop_map(|limits| Limits {
        heartbeat_timeout: Duration::ZERO,
        ..limits
    })
}

/// Tells whether a worker listens and has a wanted slot.
fn serves(house: &House, worker: WorkerId) -> bool {
    let mut slots = house.supervisor.wanted_slots();
    house.supervisor.state(worker) == Some(WorkerState::Listening)
        && slots.any(|(_, slot)| slot.worker() == Some(worker))
}

fn capacity(house: &House) -> usize {
    let workers = house.places.keys();
    workers.filter(|worker| serves(house, **worker)).count()
}

/// Returns who serves, by slot.
fn serving(house: &House) -> BTreeMap<SlotId, WorkerId> {
    let slots = house.supervisor.wanted_slots();
    let held = slots.filter_map(|(id, slot)| Some((id, slot.worker()?)));
    held.filter(|(_, worker)| serves(house, *worker)).collect()
}

/// Has everybody started who is ordered, and everybody gone who was told to go.
fn settle(house: &mut House) {
    while let Some(fact) = house.start(true).or_else(|| house.leave_as_told(true)) {
        house.tell(fact);
    }
}

/// What workers do, and the kernel, while nobody wishes for anything and none that serves
/// dies by itself.
fn play(house: &mut House, (kind, number, other): (u8, u8, u8)) {
    let Some(worker) = house.worker(number) else {
        return;
    };
    let server = house::server(other);
    let may_end = !serves(house, worker);
    let fact = match kind {
        0..5 => {
            let can_fail = house
                .unborn
                .first()
                .is_some_and(|worker| !serves(house, *worker));
            house.start(other > 25 || !can_fail)
        }
        5..7 => Some(Fact::Online(worker)),
        7..14 => Some(Fact::Listening { worker, server }),
        14 => Some(Fact::Closed { worker, server }),
        15 if may_end => Some(Fact::LeavingVoluntarily(worker)),
        16 if may_end && !house.unborn.contains(&worker) => Some(house::exited(worker)),
        17..20 => house.leave_as_told(true),
        21..24 => Some(Fact::SaidReady(worker)),
        20 => {
            house.now = house.supervisor.deadline().unwrap_or(house.now);
            Some(Fact::Tick)
        }
        _ => {
            house.now += Duration::from_millis(u64::from(other) * 4);
            Some(Fact::Tick)
        }
    };
    if let Some(fact) = fact {
        house.tell(fact);
    }
}

/// Begins, or ends, as the announcements say; `None` while no reload runs.
fn follow(running: &mut Option<Generation>, order: &Order) -> Result<(), TestCaseError> {
    match order {
        Order::Announce(Announcement::ReloadBegun { generation, .. }) => {
            prop_assert_eq!(*running, None, "two at once");
            *running = Some(*generation);
        }
        Order::Announce(
            Announcement::Reloaded { generation } | Announcement::ReloadFailed { generation, .. },
        ) => {
            prop_assert_eq!(*running, Some(*generation), "ended without a begin");
            *running = None;
        }
        Order::Spawn { .. }
        | Order::Drain(_)
        | Order::Signal { .. }
        | Order::Ping(_)
        | Order::CloseServers
        | Order::Announce(_)
        | Order::Finish(_) => {}
    }
    Ok(())
}

/// Plays on until the reload is over: workers are forked, leave when told, and successors
/// listen somewhere as often as `listens` says. Returns whether that took few enough ticks.
fn play_to_the_end(house: &mut House, listens: &[bool]) -> bool {
    let slots = house.supervisor.slots.len();
    // A backoff in each slot, two rungs of each who leaves, and one successor that is late.
    let mut ticks = slots + 2 * house.places.len() + 1;
    let mut listens = listens.iter().copied().cycle();
    while house.supervisor.is_reloading() {
        let fact = if let Some(fact) = house.start(true) {
            fact
        } else if let Some(fact) = house.leave_as_told(true) {
            fact
        } else if let Some(fact) = next_listen(house).filter(|_| listens.next() == Some(true)) {
            fact
        } else if ticks == 0 {
            return false;
        } else {
            ticks -= 1;
            house.now = house.supervisor.deadline().unwrap_or(house.now);
            Fact::Tick
        };
        house.tell(fact);
    }
    true
}

/// Returns that a successor listens on one server more, if there is one that still can; that
/// done, it says that it is ready.
fn next_listen(house: &House) -> Option<Fact> {
    let reload = house.supervisor.reload.as_ref()?;
    let mut starting = reload.starting().filter_map(|(worker, _)| {
        let record = house.supervisor.workers.get(&worker)?;
        let mut servers = (0..SERVERS).map(ServerId);
        let server = servers.find(|server| !record.servers.contains(server));
        let next = match server {
            Some(server) => Fact::Listening { worker, server },
            None if !record.said_ready => Fact::SaidReady(worker),
            None => return None,
        };
        (!record.state.is_leaving()).then_some(next)
    });
    starting.next()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_reload_never_lessens_the_number_of_those_that_listen(
        limits in limits_without_heartbeat(), wish: u8,
        before in vec((0_u8..30, any::<u8>(), any::<u8>()), 0..30),
        meanwhile in vec((0_u8..30, any::<u8>(), any::<u8>()), 0..80),
    ) {
        let mut house = House::new(limits, false);
        house.tell(Fact::ScaleAsked(3));
        before.into_iter().for_each(|deed| play(&mut house, deed));
        let mut at_begin = capacity(&house);
        house.tell(Fact::ReloadAsked(house::wish(wish)));
        for deed in meanwhile {
            play(&mut house, deed);
            prop_assert!(capacity(&house) >= at_begin);
            if !house.supervisor.is_reloading() {
                at_begin = capacity(&house);
                house.tell(Fact::ReloadAsked(house::wish(wish)));
            }
        }
    }

    #[test]
    fn a_reload_ends_once_and_before_the_next_begins(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        let (mut running, mut last) = (None, Generation(0));
        for deed in deeds {
            for order in house.perform(deed) {
                follow(&mut running, &order)?;
                if let Order::Announce(Announcement::ReloadBegun { generation, .. }) = order {
                    prop_assert!(generation > last);
                    last = generation;
                }
            }
            prop_assert_eq!(house.supervisor.is_reloading(), running.is_some());
        }
    }

    #[test]
    fn a_reload_ends_soon_if_those_that_are_told_to_leave_do(
        limits in limits_without_heartbeat(), foreground: bool, deeds in any_deeds(),
        wish: u8, listens in vec(any::<bool>(), 1..20),
    ) {
        let mut house = House::after(limits, foreground, deeds);
        house.tell(Fact::ReloadAsked(house::wish(wish)));
        prop_assert!(play_to_the_end(&mut house, &listens), "{:?}", house.supervisor.reload);
    }

    #[test]
    fn a_reload_after_which_all_came_up_has_replaced_all(
        limits in limits_without_heartbeat(), deeds in any_deeds(), slots in 1_u32..4, wish: u8,
    ) {
        let listen_timeout = limits.listen_timeout.max(Duration::from_secs(1));
        let mut house = House::new(Limits { listen_timeout, ..limits }, false);
        let goes_on = |deed: &Deed| !matches!(deed, Deed::Shutdown | Deed::Stop);
        deeds.into_iter().filter(goes_on).for_each(|deed| drop(house.perform(deed)));
        prop_assert!(play_to_the_end(&mut house, &[true]), "one that runs already");
        house.tell(Fact::ScaleAsked(slots));
        house.tell(Fact::ReloadAsked(ReloadWish { only: None, ..house::wish(wish) }));
        prop_assert!(play_to_the_end(&mut house, &[true]));
        let generation = house.supervisor.generation;
        let done = Order::Announce(Announcement::Reloaded { generation });
        prop_assert!(house.steps.last().is_some_and(|step| step.orders.contains(&done)));
        for (id, slot) in house.supervisor.wanted_slots() {
            let record = slot.worker().and_then(|worker| house.supervisor.workers.get(&worker));
            let is_new = record.is_some_and(|record| record.generation == generation);
            prop_assert!(is_new, "{}: {:?}", id, record);
        }
        prop_assert_eq!(capacity(&house), house.wanted as usize);
    }

    #[test]
    fn a_reload_of_one_slot_replaces_its_worker_and_leaves_the_others_alone(
        limits in limits_without_heartbeat(), deeds in any_deeds(), slot in 0_u32..3, wish: u8,
    ) {
        let listen_timeout = limits.listen_timeout.max(Duration::from_secs(1));
        let mut house = House::new(Limits { listen_timeout, ..limits }, false);
        let goes_on = |deed: &Deed| !matches!(deed, Deed::Shutdown | Deed::Stop);
        deeds.into_iter().filter(goes_on).for_each(|deed| drop(house.perform(deed)));
        prop_assert!(play_to_the_end(&mut house, &[true]), "one that runs already");
        house.tell(Fact::ScaleAsked(3));
        let wanted: Vec<SlotId> = house.supervisor.wanted_slots().map(|(id, _)| id).collect();
        let only = wanted[slot as usize % wanted.len()];
        settle(&mut house);
        let before = serving(&house);
        house.tell(Fact::ReloadAsked(ReloadWish { only: Some(only), ..house::wish(wish) }));
        prop_assert!(house.supervisor.is_reloading());
        prop_assert!(play_to_the_end(&mut house, &[true]));
        let after = serving(&house);
        prop_assert!(after.contains_key(&only) && after.get(&only) != before.get(&only));
        for (id, worker) in before.iter().filter(|(id, _)| **id != only) {
            prop_assert_eq!(after.get(id), Some(worker), "{}", id);
        }
    }

    #[test]
    fn no_more_than_was_wished_start_at_once(
        limits in any_limits(), foreground: bool, deeds in any_deeds(),
    ) {
        let mut house = House::new(limits, foreground);
        let mut parallel = 0;
        for deed in deeds {
            let orders = house.perform(deed);
            let begins = |order: &Order| {
                matches!(order, Order::Announce(Announcement::ReloadBegun { .. }))
            };
            if orders.iter().any(begins)
                && let Some(Fact::ReloadAsked(wish)) = house.steps.last().map(|step| step.fact)
            {
                parallel = wish.parallel.max(1) as usize;
            }
            let Some(reload) = &house.supervisor.reload else { continue };
            let starting: Vec<_> = reload.starting().collect();
            prop_assert!(starting.len() <= parallel, "{:?}", starting);
            for (id, slot) in &house.supervisor.slots {
                let is_counted = |new| starting.contains(&(new, *id));
                prop_assert!(slot.successor.is_none_or(is_counted), "{:?}", slot);
            }
        }
    }
}
