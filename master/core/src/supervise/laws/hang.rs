//! Laws of who is found to hang.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::id::{ServerId, WorkerId};
use crate::supervise::{
    Activity, Announcement, Fact, HangSign, Limits, Order, Probe, Supervisor, look_pause,
};

const WORKER: WorkerId = WorkerId(1);

/// One worker that listens, and a clock.
struct Watch {
    supervisor: Supervisor,
    now: Instant,
}

impl Watch {
    fn new(limits: Limits) -> Self {
        let supervisor = Supervisor::new(limits, false);
        let mut watch = Self {
            supervisor,
            now: Instant::now(),
        };
        watch.tell(Fact::ScaleAsked(1));
        let (worker, server) = (WORKER, ServerId(0));
        watch.tell(Fact::Spawned { worker, pid: 1 });
        watch.tell(Fact::Online(worker));
        watch.tell(Fact::Listening { worker, server });
        watch
    }

    fn tell(&mut self, fact: Fact) -> Vec<Order> {
        let mut orders = Vec::new();
        self.supervisor.handle(self.now, fact, &mut orders);
        orders
    }

    fn look(&mut self, unanswered_for: Duration, activity: Activity, cpu: u64) -> Option<HangSign> {
        let probe = Probe {
            unanswered_for,
            activity,
            cpu,
        };
        let worker = WORKER;
        sign(&self.tell(Fact::Probed { worker, probe }))
    }
}

/// Returns how the worker hangs, if it was just found to.
fn sign(orders: &[Order]) -> Option<HangSign> {
    orders.iter().find_map(|order| {
        if let Order::Announce(Announcement::Hung { sign, .. }) = order {
            Some(*sign)
        } else {
            None
        }
    })
}

fn heartbeat(timeout: u64) -> Limits {
    Limits {
        heartbeat_timeout: Duration::from_millis(timeout),
        ..Limits::default()
    }
}

fn patience(timeout: u64) -> Limits {
    Limits {
        ack_timeout: Duration::from_millis(timeout),
        heartbeat_timeout: Duration::ZERO,
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// The pong is always there at once, but read only when the master has slept once more
    /// and looked at its deadlines first.
    #[test]
    fn who_answers_is_not_killed_however_late_the_master(
        timeout in 20_u64..60_000, sleeps in vec(0_u64..100_000, 0..40),
    ) {
        let mut watch = Watch::new(heartbeat(timeout));
        let mut pongs = 0;
        for sleep in sleeps {
            watch.now += Duration::from_millis(sleep);
            let orders = watch.tell(Fact::Tick);
            prop_assert_eq!(sign(&orders), None);
            for _ in 0..std::mem::take(&mut pongs) {
                watch.tell(Fact::Answered(WORKER));
            }
            pongs = orders.iter().filter(|order| matches!(order, Order::Ping(_))).count();
        }
    }

    #[test]
    fn who_stops_answering_is_found_in_time(
        timeout in 1_u64..60_000, answers in 0_usize..20,
    ) {
        let mut watch = Watch::new(heartbeat(timeout));
        let mut last_word = watch.now;
        let mut pings = 0;
        loop {
            watch.now = watch.supervisor.deadline().unwrap();
            let orders = watch.tell(Fact::Tick);
            if sign(&orders).is_some() {
                prop_assert_eq!(sign(&orders), Some(HangSign::NoPong));
                break;
            }
            pings += orders.iter().filter(|order| matches!(order, Order::Ping(_))).count();
            if pings <= answers {
                last_word = watch.now;
                watch.tell(Fact::Answered(WORKER));
            }
        }
        let (timeout, silence) = (Duration::from_millis(timeout), watch.now - last_word);
        prop_assert_eq!(pings, answers + 1);
        let pause_max = (timeout / 8).clamp(Duration::from_millis(1), Duration::from_millis(500));
        prop_assert_eq!(silence, timeout + pause_max);
        prop_assert_eq!(watch.tell(Fact::Tick), [], "killed once");
    }

    /// At each look it owes exactly what came since the look before; and if that is a whole
    /// patience ago, then the master was away.
    #[test]
    fn who_acks_is_not_killed_however_late_the_master_and_however_idle_it_is(
        timeout in 4_u64..10_000, sleeps in vec((0_u64..12_000, any::<bool>()), 0..40),
    ) {
        let mut watch = Watch::new(patience(timeout));
        for (sleep, is_stopped) in sleeps {
            let sleep = Duration::from_millis(sleep);
            watch.now += sleep;
            let activity = if is_stopped { Activity::Stopped } else { Activity::Waiting };
            prop_assert_eq!(watch.look(sleep, activity, 0), None);
        }
    }

    #[test]
    fn who_uses_cpu_between_two_looks_or_wants_some_is_not_killed(
        timeout in 1_u64..10_000, looks in vec((0_u64..3000, any::<bool>()), 0..40),
    ) {
        let mut watch = Watch::new(patience(timeout));
        let mut owes = Duration::ZERO;
        for (cpu, (sleep, wants_cpu)) in (0..).zip(looks) {
            let sleep = Duration::from_millis(sleep);
            watch.now += sleep;
            owes += sleep;
            let found = if wants_cpu {
                watch.look(owes, Activity::Running, 0)
            } else {
                watch.look(owes, Activity::Waiting, cpu + 1)
            };
            prop_assert_eq!(found, None);
        }
    }

    #[test]
    fn who_is_stopped_or_asleep_and_owes_is_found_in_time(
        timeout in 4_u64..10_000, first in 0_u64..10_000, is_stopped: bool,
    ) {
        let mut watch = Watch::new(patience(timeout));
        let timeout = Duration::from_millis(timeout);
        let (pause, activity, expected) = if is_stopped {
            (look_pause(timeout), Activity::Stopped, HangSign::Stopped)
        } else {
            (look_pause(timeout), Activity::Waiting, HangSign::NoAck)
        };
        // The first look comes at any time within the first pause.
        let begin = watch.now;
        watch.now += pause.mul_f64(first as f64 / 10_000.0);
        loop {
            let owes = watch.now - begin;
            if let Some(sign) = watch.look(owes, activity, 7) {
                prop_assert_eq!(sign, expected);
                prop_assert!(owes >= timeout);
                break;
            }
            // As the shell looks: in steps, and at the very end of the patience.
            let end = Some(begin + timeout).filter(|end| *end > watch.now);
            let next = watch.now + pause;
            watch.now = end.map_or(next, |end| end.min(next));
            let over = if is_stopped { Duration::ZERO } else { pause + pause };
            prop_assert!(watch.now - begin <= timeout + over, "{:?}", owes);
        }
    }
}
