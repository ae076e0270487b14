//! The played shell: it reports facts to the dispatcher and performs its orders.

use std::net::SocketAddr;
use std::time::Duration;

use maitred_core::dispatch::replay::Step;
use maitred_core::dispatch::{Effect, Input, RefusalReason};
use maitred_core::id::{ConnectionId, HandoffId, ServerId, WorkerId};

use super::{Event, Law, World, law};
use crate::sim::kernel::{End, Fortune, Listener};
use crate::sim::worker::Message;

/// Far above what any plan needs (a few hundred), so that only a livelock gets there.
const STEPS_MAX: u64 = 20_000;

impl World {
    /// Reports one fact, looks at the laws, and performs the orders.
    pub(super) fn tell(&mut self, input: Input) -> Law {
        self.outcome.steps += 1;
        if self.outcome.steps > STEPS_MAX {
            return Err("it does not come to an end".to_owned());
        }
        let mut effects = Vec::new();
        let now = self.origin + Duration::from_micros(self.now);
        self.dispatcher.handle(now, input.clone(), &mut effects);
        let verdict = self
            .model
            .observe(&input, &effects)
            .map_err(|error| error.to_string());
        let performed = effects.iter().try_for_each(|effect| self.perform(effect));
        self.trace.push(Step {
            at_micros: self.now,
            input,
            effects,
        });
        verdict.and(performed)?;
        self.check_laws()
    }

    pub(super) fn perform(&mut self, effect: &Effect) -> Law {
        match *effect {
            Effect::HandOff {
                handoff,
                connection,
                worker,
                ..
            } => self.send(worker, handoff, connection),
            Effect::Release { connection, worker } => {
                self.outcome.served += 1;
                let taken_by = self.end(connection, End::Released)?.taken_by;
                law(taken_by == Some(worker), || {
                    format!("{connection} is {taken_by:?}'s")
                })
            }
            Effect::Refuse { connection, reason } => {
                self.count_refusal(reason);
                let taken_by = self.end(connection, End::Refused(reason))?.taken_by;
                law(taken_by.is_none(), || {
                    format!("{connection} refused, but {taken_by:?} has it")
                })
            }
            Effect::PauseAccept(server) => {
                self.switch_accept(server, false);
                if self.random.chance(self.plan.race_chance) {
                    self.plan_in(0, Event::LateAccept(server));
                }
                Ok(())
            }
            Effect::ResumeAccept(server) => {
                self.switch_accept(server, true);
                self.plan_in(0, Event::AcceptTurn(server));
                Ok(())
            }
            // Here is no kernel that could spread anything.
            Effect::JoinRotation { .. } | Effect::LeaveRotation { .. } => Ok(()),
            Effect::Expel { worker, .. } => {
                self.outcome.expelled += 1;
                self.kill(worker);
                Ok(())
            }
        }
    }

    pub(super) fn send(
        &mut self,
        id: WorkerId,
        handoff: HandoffId,
        connection: ConnectionId,
    ) -> Law {
        let taken_by = self.fortune(connection)?.taken_by;
        law(taken_by.is_none(), || {
            format!("{connection} sent to {id}, but {taken_by:?} has it")
        })?;
        let worker = self
            .workers
            .get_mut(&id)
            .ok_or_else(|| format!("{id} is gone"))?;
        worker.inbox.push_back((handoff, connection));
        self.issued += 1;
        self.plan_within(self.plan.ack_delay_max, Event::WorkerTurn(id));
        Ok(())
    }

    pub(super) fn end(&mut self, connection: ConnectionId, end: End) -> Result<Fortune, String> {
        self.ended += 1;
        let fortune = self.fortune(connection)?;
        let before = fortune.ended.replace(end);
        law(before.is_none(), || {
            format!("{connection} ended twice: {before:?}, {end:?}")
        })?;
        self.fortune(connection).copied()
    }

    pub(super) fn fortune(&mut self, connection: ConnectionId) -> Result<&mut Fortune, String> {
        let place = usize::try_from(connection.0).unwrap_or(usize::MAX);
        self.fortunes
            .get_mut(place)
            .ok_or_else(|| format!("{connection} was never accepted"))
    }

    pub(super) fn switch_accept(&mut self, server: ServerId, accepting: bool) {
        if let Some(listener) = self.listeners.get_mut(&server) {
            listener.is_accepting = accepting;
        }
    }

    pub(super) fn count_refusal(&mut self, reason: RefusalReason) {
        let outcome = &mut self.outcome;
        if reason == RefusalReason::PendingFull {
            outcome.refused_full += 1;
        } else if reason == RefusalReason::WorkersDied {
            outcome.refused_deaths += 1;
        } else if reason == RefusalReason::RejectedByAll {
            outcome.refused_rejects += 1;
        } else {
            outcome.refused_closed += 1;
        }
    }

    pub(super) fn client_connects(&mut self, server: ServerId) -> Law {
        match self
            .listeners
            .get_mut(&server)
            .filter(|listener| listener.is_open)
        {
            Some(listener) => listener.backlog += 1,
            None => self.outcome.reset += 1,
        }
        self.accept(server, true)
    }

    /// Accepts one connection, if there is one and the shell may.
    pub(super) fn accept(&mut self, server: ServerId, only_if_resumed: bool) -> Law {
        let may = |listener: &&mut Listener| {
            let allowed = listener.is_accepting || !only_if_resumed;
            listener.is_open && allowed && listener.backlog > 0
        };
        let Some(listener) = self.listeners.get_mut(&server).filter(may) else {
            return Ok(());
        };
        listener.backlog -= 1;
        self.outcome.accepted += 1;
        let connection = ConnectionId(self.fortunes.len() as u64);
        let client = self.any_client();
        self.fortunes.push(Fortune::default());
        if only_if_resumed {
            self.plan_in(0, Event::AcceptTurn(server));
        }
        self.tell(Input::Accepted {
            connection,
            server,
            client,
        })
    }

    /// Draws one of the clients' addresses, or none.
    fn any_client(&mut self) -> Option<SocketAddr> {
        let number = self.random.between(0, self.plan.addresses);
        let last = u8::try_from(number).unwrap_or(u8::MAX);
        (last > 0).then(|| ([10, 0, 0, last], 40_000).into())
    }

    /// Reads one message from a worker's channel.
    pub(super) fn read_one(&mut self, id: WorkerId) -> Law {
        let message = self
            .workers
            .get_mut(&id)
            .and_then(|worker| worker.outbox.pop_front());
        message.map_or(Ok(()), |message| self.report(id, message))
    }

    pub(super) fn report(&mut self, worker: WorkerId, message: Message) -> Law {
        self.tell(match message {
            Message::Acked(handoff) => Input::Acked { worker, handoff },
            Message::Rejected(handoff) => Input::Rejected { worker, handoff },
            Message::Ready => Input::Ready(worker),
            Message::Reported(open) => Input::Reported { worker, open },
        })?;
        self.let_drained_go(worker);
        Ok(())
    }

    /// A process was collected: its channel is read to the end, and only then it is gone.
    pub(super) fn reaped(&mut self, id: WorkerId) -> Law {
        while !self.plan.reports_deaths_early
            && let Some(message) = self.workers.get_mut(&id).and_then(|w| w.outbox.pop_front())
        {
            self.outcome.late_acks += u64::from(matches!(message, Message::Acked(_)));
            self.report(id, message)?;
        }
        if self.workers.remove(&id).is_none() {
            return Ok(());
        }
        self.outcome.deaths += 1;
        if self.random.chance(self.plan.respawn_chance) {
            self.plan_within(50, Event::Spawned);
        }
        self.tell(Input::WorkerGone(id))
    }

    /// The supervisor's timer: whoever still hangs is killed, never merely passed over.
    pub(super) fn hang_noticed(&mut self, id: WorkerId) -> Law {
        self.kill(id);
        self.tell(Input::Tick)
    }

    pub(super) fn kill(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id).filter(|worker| !worker.is_dead) {
            worker.is_dead = true;
            self.plan_within(30, Event::Reaped(id));
        }
    }

    pub(super) fn open(&mut self, server: ServerId) -> Law {
        let listener = self.listeners.entry(server).or_default();
        *listener = Listener {
            is_open: true,
            ..Listener::default()
        };
        let (policy, pending_max) = (self.plan.policy, self.plan.pending_max);
        self.tell(Input::ServerOpened {
            server,
            policy,
            pending_max,
        })
    }
}
