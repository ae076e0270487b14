//! You will learn how maitred chooses the worker for each connection, by driving the
//! dispatcher that the master runs by hand: no sockets, no processes, no time.
//! Run `cargo run -p maitred-examples --example round_robin_by_hand`.

#![expect(clippy::print_stdout, reason = "the printed trace is the lesson")]

use std::time::Instant;

use maitred_core::dispatch::{Dispatcher, Effect, Input, PolicyName};
use maitred_core::id::{ConnectionId, HandoffId, ServerId, SlotId, WorkerId};

/// A dispatcher with one server, and how many connections have come so far.
#[derive(Default)]
struct House(Dispatcher, u64);

impl House {
    /// Opens with three workers, each of which may hold `window` un-acked handoffs.
    fn open(window: u32) -> Self {
        println!("\n== three workers, window {window} ==");
        let (mut house, server) = (Self::default(), ServerId(0));
        house.tell(Input::ServerOpened {
            server,
            policy: PolicyName::Rr,
            pending_max: 8,
        });
        for worker in [1, 2, 3].map(WorkerId) {
            house.tell(Input::Joined {
                worker,
                slot: SlotId(worker.0),
                window,
            });
            house.tell(Input::Listening { worker, server });
        }
        house
    }

    fn accept(&mut self) {
        self.1 += 1;
        self.tell(Input::Accepted {
            connection: ConnectionId(self.1 - 1),
            server: ServerId(0),
            client: None,
        });
    }

    fn ack(&mut self, worker: u32, handoff: u64) {
        let (worker, handoff) = (WorkerId(worker), HandoffId(handoff));
        self.tell(Input::Acked { worker, handoff });
    }

    /// Tells the dispatcher one fact; prints the orders that follow, and the ring.
    fn tell(&mut self, fact: Input) {
        println!("{fact:?}");
        let mut orders = Vec::new();
        self.0.handle(Instant::now(), fact, &mut orders);
        for order in orders {
            println!("    -> {}", in_words(&order));
        }
        for server in self.0.snapshot().servers {
            let ring = server.ring.iter().map(|worker| format!("{worker} "));
            println!("       ring: {}", ring.collect::<String>());
        }
    }
}

fn in_words(order: &Effect) -> String {
    match order {
        Effect::HandOff {
            connection, worker, ..
        } => format!("hand {connection} to {worker}"),
        Effect::Release { connection, worker } => format!("{connection} is {worker}'s now"),
        Effect::Refuse { connection, reason } => format!("refuse {connection}: {reason:?}"),
        Effect::PauseAccept(_) => "pause: who comes now waits in the kernel".to_owned(),
        Effect::ResumeAccept(_) => "accept".to_owned(),
        Effect::JoinRotation { .. } | Effect::LeaveRotation { .. } => "(`kernel`)".to_owned(),
        Effect::Expel { worker, breach } => format!("kill {worker}: {breach:?}"),
    }
}

fn main() {
    // One handoff at a time: whoever has not acked is not in the ring.
    let mut house = House::open(1);
    house.accept(); // h0 goes to w1 ...
    house.ack(1, 0); // ... who is quick, and stands behind w2 and w3 again.
    house.accept(); // h1 goes to w2, who is slow.
    house.accept(); // h2 to w3,
    house.accept(); // h3 to w1: nobody has room now, so the master pauses.
    house.ack(3, 2); // w3 is done, and gets the next one although "it was w2's turn":
    house.accept(); // h4 passes the slow w2 over.

    // A wider window: a worker with room goes to the tail at once, ack or no ack.
    let mut house = House::open(2);
    (0..6).for_each(|_| house.accept());
    house.ack(2, 1); // w2 took c1, and has room for one more.
    // w1 dies with c0 and c3 un-acked: c0 goes to w2 at once, c3 waits at the front.
    house.tell(Input::WorkerGone(WorkerId(1)));
    house.ack(3, 2); // And there is room for c3.

    // Something to try: let w2 answer `Input::Rejected` instead of its ack. Who gets c1?
}
