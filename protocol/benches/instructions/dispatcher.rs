//! One connection's way through the dispatcher: accepted, handed off, acked, released.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use maitred_core::dispatch::{Dispatcher, Effect, Input, PolicyName};
use maitred_core::id::{ConnectionId, ServerId, SlotId, WorkerId};

const SERVER: ServerId = ServerId(0);

/// The default of Rust workers. (The master, which has the default, is not seen from here.)
const WINDOW: u32 = 4;

/// As the master's own default; nothing ever waits here.
const PENDING_MAX: usize = 128;

/// Returns one turn: a connection that comes and is a worker's in the end.
pub(crate) fn turn(policy: PolicyName, workers: u32) -> impl FnMut() {
    let (now, mut effects) = (Instant::now(), Vec::with_capacity(8));
    let mut dispatcher = staffed(policy, workers, now);
    let mut connections = 0;
    move || {
        effects.clear();
        connections += 1;
        let accepted = accepted(connections);
        dispatcher.handle(now, black_box(accepted), &mut effects);
        let [
            Effect::HandOff {
                handoff, worker, ..
            },
        ] = effects[..]
        else {
            panic!("an accepted connection is handed off, and nothing else: {effects:?}");
        };
        let acked = Input::Acked { worker, handoff };
        dispatcher.handle(now, black_box(acked), &mut effects);
        let last = effects.last();
        assert!(matches!(last, Some(Effect::Release { .. })), "{last:?}");
        black_box(&effects);
    }
}

/// Returns a dispatcher with one server, on which all workers listen.
fn staffed(policy: PolicyName, workers: u32, now: Instant) -> Dispatcher {
    let mut dispatcher = Dispatcher::new();
    let opened = Input::ServerOpened {
        server: SERVER,
        policy,
        pending_max: PENDING_MAX,
    };
    let staff = (0..workers).flat_map(|slot| {
        let (worker, slot, window) = (WorkerId(slot + 1), SlotId(slot), WINDOW);
        let joined = Input::Joined {
            worker,
            slot,
            window,
        };
        let server = SERVER;
        [joined, Input::Listening { worker, server }]
    });
    for input in [opened].into_iter().chain(staff) {
        dispatcher.handle(now, input, &mut Vec::new());
    }
    dispatcher
}

/// Returns the n-th connection. Each is of another client, so that `sticky` has work to do.
fn accepted(number: u32) -> Input {
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
    Input::Accepted {
        connection: ConnectionId(u64::from(number)),
        server: SERVER,
        client: Some(SocketAddr::from((address, 40_000))),
    }
}
