//! A house run by proptest: the dispatcher is real, everybody else is played.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::dispatch::replay::Step;
use crate::dispatch::{Dispatcher, Effect, Input, PolicyName};
use crate::id::{ConnectionId, HandoffId, ServerId, WorkerId};

/// Small on purpose: the queue must overflow often enough to be tested.
pub(super) const PENDING_MAX: usize = 3;

/// What may happen next. A number chooses among what there is, modulo how many there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Arrive(u8),
    Ack(u8),
    Reject(u8),
    Ready(u8),
    Die(u8),
    Join(u32),
    Listen(u8, u8),
    Close(u8, u8),
    Drain(u8),
    Lie(u8, u8, bool),
    Open(u8, PolicyName),
    Shut(u8),
    Tick,
}

pub(super) fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        12 => any::<u8>().prop_map(Deed::Arrive),
        8 => any::<u8>().prop_map(Deed::Ack),
        3 => any::<u8>().prop_map(Deed::Reject),
        3 => any::<u8>().prop_map(Deed::Ready),
        2 => any::<u8>().prop_map(Deed::Die),
        2 => (0_u32..=5).prop_map(Deed::Join),
        4 => any::<(u8, u8)>().prop_map(|(worker, server)| Deed::Listen(worker, server)),
        1 => any::<(u8, u8)>().prop_map(|(worker, server)| Deed::Close(worker, server)),
        1 => any::<u8>().prop_map(Deed::Drain),
        1 => any::<(u8, u8, bool)>().prop_map(|(worker, id, acks)| Deed::Lie(worker, id, acks)),
        1 => (any::<u8>(), any_policy()).prop_map(|(server, policy)| Deed::Open(server, policy)),
        1 => any::<u8>().prop_map(Deed::Shut),
        1 => Just(Deed::Tick),
    ]
}

fn any_policy() -> impl Strategy<Value = PolicyName> {
    prop::sample::select(PolicyName::ALL.to_vec())
}

/// A handoff without an answer, as a worker would remember it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    handoff: HandoffId,
    connection: ConnectionId,
    pub(super) worker: WorkerId,
}

/// A dispatcher with everything around it played by the test.
pub(super) struct House {
    pub(super) dispatcher: Dispatcher,
    pub(super) origin: Instant,
    pub(super) steps: Vec<Step>,
    pub(super) sent: Vec<Sent>,
    pub(super) windows: BTreeMap<WorkerId, usize>,
    pub(super) windows_sum_max: usize,
    joined: u32,
    pub(super) accepted: Vec<(ConnectionId, ServerId)>,
    pub(super) ended: BTreeSet<ConnectionId>,
}

impl House {
    pub(super) fn new() -> Self {
        Self {
            dispatcher: Dispatcher::new(),
            origin: Instant::now(),
            steps: Vec::new(),
            sent: Vec::new(),
            windows: BTreeMap::new(),
            windows_sum_max: 0,
            joined: 0,
            accepted: Vec::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Two servers, and as many workers as there are windows, each on both.
    pub(super) fn with_workers(windows: &[u32]) -> Self {
        let mut house = Self::new();
        for (server, policy) in [(0, PolicyName::Rr), (1, PolicyName::Kernel)] {
            house.perform(Deed::Open(server, policy));
        }
        for (worker, &window) in (0..).zip(windows) {
            house.perform(Deed::Join(window));
            for server in 0..2 {
                house.perform(Deed::Listen(worker, server));
            }
        }
        house
    }

    /// Turns a deed into an input, if there is anything it can be done to.
    fn input_for(&mut self, deed: Deed) -> Option<Input> {
        Some(match deed {
            Deed::Arrive(server) => self.arrive(server_of(server)),
            Deed::Ack(index) => {
                let Sent {
                    worker, handoff, ..
                } = self.answer(index)?;
                Input::Acked { worker, handoff }
            }
            Deed::Reject(index) => {
                let Sent {
                    worker, handoff, ..
                } = self.answer(index)?;
                Input::Rejected { worker, handoff }
            }
            Deed::Ready(index) => Input::Ready(self.worker(index)?),
            Deed::Die(index) => self.die(index)?,
            Deed::Join(window) => self.join(window),
            Deed::Listen(index, server) => Input::Listening {
                worker: self.worker(index)?,
                server: server_of(server),
            },
            Deed::Close(index, server) => Input::Closed {
                worker: self.worker(index)?,
                server: server_of(server),
            },
            Deed::Drain(index) => Input::Draining(self.worker(index)?),
            Deed::Lie(worker, handoff, acks) => lie(worker, handoff, acks),
            Deed::Open(server, policy) => {
                let server = server_of(server);
                Input::ServerOpened {
                    server,
                    policy,
                    pending_max: PENDING_MAX,
                }
            }
            Deed::Shut(server) => Input::ServerClosed(server_of(server)),
            Deed::Tick => Input::Tick,
        })
    }

    fn arrive(&mut self, server: ServerId) -> Input {
        let connection = ConnectionId(self.accepted.len() as u64);
        self.accepted.push((connection, server));
        Input::Accepted {
            connection,
            server,
            client: None,
        }
    }

    fn join(&mut self, window: u32) -> Input {
        self.joined += 1;
        let worker = WorkerId(self.joined);
        self.windows.insert(worker, window.max(1) as usize);
        let sum = self.windows.values().sum();
        self.windows_sum_max = self.windows_sum_max.max(sum);
        Input::Joined { worker, window }
    }

    fn die(&mut self, index: u8) -> Option<Input> {
        let worker = self.worker(index)?;
        self.windows.remove(&worker);
        self.sent.retain(|sent| sent.worker != worker);
        Some(Input::WorkerGone(worker))
    }

    fn answer(&mut self, index: u8) -> Option<Sent> {
        let count = self.sent.len();
        (count > 0).then(|| self.sent.remove(usize::from(index) % count))
    }

    pub(super) fn worker(&self, index: u8) -> Option<WorkerId> {
        let count = self.windows.len();
        (count > 0).then(|| self.windows.keys().nth(usize::from(index) % count).copied())?
    }

    pub(super) fn perform(&mut self, deed: Deed) -> Vec<Effect> {
        self.input_for(deed)
            .map_or_else(Vec::new, |input| self.tell(input))
    }

    /// Tells the dispatcher one fact and follows its orders.
    pub(super) fn tell(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let at_micros = self.steps.len() as u64;
        let now = self.origin + Duration::from_micros(at_micros);
        self.dispatcher.handle(now, input.clone(), &mut effects);
        for effect in &effects {
            if let Effect::HandOff {
                handoff,
                connection,
                worker,
                ..
            } = *effect
            {
                self.sent.push(Sent {
                    handoff,
                    connection,
                    worker,
                });
            }
            if let Some(connection) = effect.ended_connection() {
                assert!(self.ended.insert(connection), "{connection} ended twice");
            }
        }
        self.steps.push(Step {
            at_micros,
            input,
            effects: effects.clone(),
        });
        effects
    }

    pub(super) fn last_input(&self) -> Option<&Input> {
        self.steps.last().map(|step| &step.input)
    }

    pub(super) fn is_waiting(&self, connection: ConnectionId) -> bool {
        let is_sent = self.sent.iter().any(|sent| sent.connection == connection);
        !is_sent && !self.ended.contains(&connection)
    }
}

fn server_of(number: u8) -> ServerId {
    ServerId(u32::from(number % 4))
}

/// An answer to a handoff that never was, from a worker that may never have been.
fn lie(worker: u8, handoff: u8, acks: bool) -> Input {
    let (worker, handoff) = (
        WorkerId(worker.into()),
        HandoffId(1000 + u64::from(handoff)),
    );
    if acks {
        Input::Acked { worker, handoff }
    } else {
        Input::Rejected { worker, handoff }
    }
}
