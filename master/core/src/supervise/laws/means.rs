//! What the laws are stated with: arbitrary facts, and the questions they ask.

use super::*;

/// A slot holds at most one worker and, during a reload, one successor. All others leave.
pub(super) fn places_are_in_order(supervisor: &Supervisor) -> Result<(), TestCaseError> {
    let mut placed = BTreeSet::new();
    for (id, slot) in &supervisor.slots {
        let successor = slot.successor;
        prop_assert!(successor.is_none() || supervisor.is_reloading());
        prop_assert!(successor.is_none() || slot.worker().is_some());
        for worker in slot.worker().into_iter().chain(successor) {
            prop_assert!(placed.insert(worker), "{} has two places", worker);
            prop_assert_eq!(supervisor.slot_of(worker), Some(*id));
        }
    }
    for (worker, record) in supervisor.workers() {
        prop_assert!(
            placed.contains(&worker) || record.state.is_leaving(),
            "{:?}",
            record
        );
    }
    Ok(())
}

pub(super) fn is_hung(order: &Order, who: WorkerId) -> bool {
    matches!(order, Order::Announce(Announcement::Hung { worker, .. }) if *worker == who)
}

/// Ends a worker that was never ready, in one of the ways there are.
pub(super) fn fail_to_boot(house: &mut House, worker: WorkerId, way: u8) {
    let status = ExitStatus::code(1);
    if way == 0 {
        house.tell(Fact::SpawnFailed { worker });
        return;
    }
    house.tell(Fact::Spawned { worker, pid: 1 });
    match way {
        1 => house.tell(Fact::Online(worker)),
        2 => house.tell(Fact::Breached(worker)),
        _ => house.tell(Fact::ChannelClosed(worker)),
    };
    house.tell(Fact::Exited { worker, status });
}

pub(super) fn any_event() -> impl Strategy<Value = WorkerEvent> {
    prop_oneof![
        Just(WorkerEvent::CameOnline),
        Just(WorkerEvent::Listened),
        Just(WorkerEvent::DrainBegun),
        Just(WorkerEvent::StopBegun),
        Just(WorkerEvent::Exited),
    ]
}

/// Any fact about few workers, in any order; see [`house::any_deeds`] for the form.
pub(super) fn any_fact() -> impl Strategy<Value = Fact> {
    (0_u8..44, 0_u32..8, any::<u8>()).prop_map(|(fact, number, other)| {
        let (worker, server) = (WorkerId(number), house::server(other));
        match fact {
            0..3 => Fact::ScaleAsked(number),
            3..5 => Fact::ForkAsked,
            5..9 => Fact::Spawned { worker, pid: 7 },
            9 => Fact::SpawnFailed { worker },
            10..12 => Fact::Online(worker),
            12..17 => Fact::Listening { worker, server },
            17 => Fact::Closed { worker, server },
            18 => Fact::Answered(worker),
            19..21 => Fact::Probed {
                worker,
                probe: house::look(other),
            },
            21..23 => Fact::DisconnectAsked(worker),
            23..25 => Fact::LeavingVoluntarily(worker),
            25..27 => Fact::ChannelClosed(worker),
            27 => Fact::Breached(worker),
            28 => Fact::KillAsked {
                worker,
                signal: i32::from(other) - 20,
            },
            29 => Fact::ShutdownAsked,
            30 => Fact::ServersClosed,
            31 => Fact::Tick,
            32..35 => Fact::ReloadAsked(house::wish(other)),
            35 => Fact::RestartAsked(house::slot(other)),
            36 => Fact::StopAsked,
            37 => Fact::ResetAsked(house::slot(other)),
            38..40 => Fact::SaidReady(worker),
            40 => Fact::ServedOut(worker),
            _ => house::exited(worker),
        }
    })
}
