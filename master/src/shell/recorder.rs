//! Says of each decision of the dispatcher what it meant for connections.
//!
//! The dispatcher is told of an answer by the handoff, and of a death by the worker; which
//! connections that concerns is known here a second time, so that the pure part need not
//! carry what only a record wants.

use std::collections::BTreeMap;

use maitred_core::dispatch::{Effect, Input};
use maitred_core::id::{ConnectionId, HandoffId, WorkerId};

use crate::clock::Moment;
use crate::record::{ConnectionEvent, ConnectionRecord, ConnectionStep, Steps};

/// Writes the record of connections.
#[derive(Debug)]
pub(crate) struct Recorder {
    steps: Steps,
    /// What the dispatcher has in flight, and so bounded as that is.
    in_flight: BTreeMap<HandoffId, (WorkerId, ConnectionId)>,
}

impl Recorder {
    /// Begins a record.
    pub(crate) fn begin() -> (Self, ConnectionRecord) {
        let (steps, record) = Steps::new();
        let in_flight = BTreeMap::new();
        (Self { steps, in_flight }, record)
    }

    /// Records what the dispatcher was told and what it answered.
    pub(crate) fn record(&mut self, at: Moment, input: &Input, effects: &[Effect]) {
        self.record_input(at, input, effects);
        for effect in effects {
            match *effect {
                Effect::HandOff {
                    handoff,
                    connection,
                    worker,
                    ..
                } => {
                    self.in_flight.insert(handoff, (worker, connection));
                    self.push(
                        at,
                        connection,
                        ConnectionStep::HandedOff { handoff, worker },
                    );
                }
                Effect::Refuse { connection, reason } => {
                    self.push(at, connection, ConnectionStep::Refused { reason });
                }
                // The ack, which was its reason, is recorded.
                Effect::Release { .. }
                | Effect::PauseAccept(_)
                | Effect::ResumeAccept(_)
                | Effect::JoinRotation { .. }
                | Effect::LeaveRotation { .. }
                | Effect::Expel { .. } => {}
            }
        }
    }

    fn record_input(&mut self, at: Moment, input: &Input, effects: &[Effect]) {
        match *input {
            Input::Accepted {
                connection,
                server,
                client,
            } => {
                let peer_port = client.map(|client| client.port());
                self.push(
                    at,
                    connection,
                    ConnectionStep::Accepted { server, peer_port },
                );
            }
            Input::Acked { worker, handoff } => {
                if let Some(connection) = self.settle(worker, handoff) {
                    self.push(at, connection, ConnectionStep::Acked { handoff, worker });
                }
            }
            Input::Rejected { worker, handoff } => {
                if let Some(connection) = self.settle(worker, handoff) {
                    self.push(at, connection, ConnectionStep::Rejected { handoff, worker });
                    self.requeue(at, (handoff, worker), connection, effects);
                }
            }
            // The refusal is an effect.
            Input::AnswerLost { worker, handoff } => drop(self.settle(worker, handoff)),
            Input::WorkerGone(worker) => self.take_back_all_of(at, worker, effects),
            Input::Joined { .. }
            | Input::Listening { .. }
            | Input::Closed { .. }
            | Input::Draining(_)
            | Input::Ready(_)
            | Input::ServerOpened { .. }
            | Input::PolicyChanged { .. }
            | Input::Reported { .. }
            | Input::Weighed { .. }
            | Input::ServerClosed(_)
            | Input::Tick => {}
        }
    }

    /// Takes out a handoff that is answered; `None` if the worker does not hold it, for which
    /// the dispatcher has it expelled.
    fn settle(&mut self, worker: WorkerId, handoff: HandoffId) -> Option<ConnectionId> {
        let (holder, connection) = *self.in_flight.get(&handoff)?;
        (holder == worker).then(|| self.in_flight.remove(&handoff))?;
        Some(connection)
    }

    fn take_back_all_of(&mut self, at: Moment, worker: WorkerId, effects: &[Effect]) {
        let held: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, (holder, _))| *holder == worker)
            .map(|(handoff, (_, connection))| (*handoff, *connection))
            .collect();
        for (handoff, connection) in held {
            self.in_flight.remove(&handoff);
            self.requeue(at, (handoff, worker), connection, effects);
        }
    }

    /// Records that a connection waits again, unless the dispatcher has given it up.
    fn requeue(
        &self,
        at: Moment,
        (handoff, worker): (HandoffId, WorkerId),
        connection: ConnectionId,
        effects: &[Effect],
    ) {
        let ends = |effect: &Effect| effect.ended_connection() == Some(connection);
        if !effects.iter().any(ends) {
            self.push(at, connection, ConnectionStep::Requeued { handoff, worker });
        }
    }

    fn push(&self, at: Moment, connection: ConnectionId, step: ConnectionStep) {
        self.steps.push(ConnectionEvent {
            at,
            connection,
            step,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use maitred_core::dispatch::{Dispatcher, PolicyName, RefusalReason};
    use maitred_core::id::{ServerId, SlotId};

    use super::*;

    const SERVER: ServerId = ServerId(1);
    const ONE: WorkerId = WorkerId(1);
    const TWO: WorkerId = WorkerId(2);

    /// A dispatcher with two workers, and what is recorded of it.
    struct Stage {
        dispatcher: Dispatcher,
        recorder: Recorder,
        record: ConnectionRecord,
        clock: u64,
    }

    impl Stage {
        fn new() -> Self {
            let (recorder, record) = Recorder::begin();
            let mut stage = Self {
                dispatcher: Dispatcher::new(),
                recorder,
                record,
                clock: 0,
            };
            stage.tell(Input::ServerOpened {
                server: SERVER,
                policy: PolicyName::Rr,
                pending_max: 9,
            });
            for worker in [ONE, TWO] {
                stage.tell(Input::Joined {
                    worker,
                    slot: SlotId(worker.0),
                    window: 1,
                });
                let server = SERVER;
                stage.tell(Input::Listening { worker, server });
            }
            stage
        }

        /// Returns what is recorded: the connection and the step, in short.
        fn tell(&mut self, input: Input) -> Vec<(u64, ConnectionStep)> {
            let mut effects = Vec::new();
            self.dispatcher
                .handle(Instant::now(), input.clone(), &mut effects);
            self.clock += 1;
            let at = Moment(self.clock);
            self.recorder.record(at, &input, &effects);
            std::iter::from_fn(|| self.record.try_next())
                .inspect(|event| assert_eq!(event.at, at))
                .map(|event| (event.connection.0, event.step))
                .collect()
        }

        fn accept(&mut self, number: u64) -> Vec<(u64, ConnectionStep)> {
            self.tell(Input::Accepted {
                connection: ConnectionId(number),
                server: SERVER,
                client: Some(([127, 0, 0, 1], 40_000).into()),
            })
        }
    }

    fn handed_off(handoff: u64, worker: WorkerId) -> ConnectionStep {
        let handoff = HandoffId(handoff);
        ConnectionStep::HandedOff { handoff, worker }
    }

    #[test]
    fn the_plain_way_is_three_steps() {
        let mut stage = Stage::new();
        let accepted = ConnectionStep::Accepted {
            server: SERVER,
            peer_port: Some(40_000),
        };
        assert_eq!(stage.accept(7), [(7, accepted), (7, handed_off(0, ONE))]);
        let (worker, handoff) = (ONE, HandoffId(0));
        let acked = ConnectionStep::Acked { handoff, worker };
        assert_eq!(stage.tell(Input::Acked { worker, handoff }), [(7, acked)]);
        assert_eq!(stage.tell(Input::WorkerGone(ONE)), []);
    }

    #[test]
    fn a_reject_is_recorded_before_the_next_handoff() {
        let mut stage = Stage::new();
        stage.accept(7);
        let (worker, handoff) = (ONE, HandoffId(0));
        assert_eq!(
            stage.tell(Input::Rejected { worker, handoff }),
            [
                (7, ConnectionStep::Rejected { handoff, worker }),
                (7, ConnectionStep::Requeued { handoff, worker }),
                (7, handed_off(1, TWO)),
            ]
        );
    }

    #[test]
    fn a_death_takes_back_what_was_not_acked_and_nothing_else() {
        let mut stage = Stage::new();
        stage.accept(7);
        stage.accept(8);
        let (worker, handoff) = (TWO, HandoffId(1));
        stage.tell(Input::Acked { worker, handoff });
        let requeued = ConnectionStep::Requeued {
            handoff: HandoffId(0),
            worker: ONE,
        };
        assert_eq!(
            stage.tell(Input::WorkerGone(ONE)),
            [(7, requeued), (7, handed_off(2, TWO))]
        );
    }

    #[test]
    fn what_is_given_up_is_refused_and_not_requeued() {
        let mut stage = Stage::new();
        stage.accept(7);
        stage.tell(Input::ServerClosed(SERVER));
        let reason = RefusalReason::ServerClosed;
        assert_eq!(
            stage.tell(Input::WorkerGone(ONE)),
            [(7, ConnectionStep::Refused { reason })]
        );
    }

    #[test]
    fn a_wrong_answer_changes_nothing() {
        let mut stage = Stage::new();
        stage.accept(7);
        let handoff = HandoffId(0);
        for worker in [TWO, WorkerId(3)] {
            assert_eq!(stage.tell(Input::Acked { worker, handoff }), []);
            assert_eq!(stage.tell(Input::Rejected { worker, handoff }), []);
        }
        let worker = ONE;
        let acked = ConnectionStep::Acked { handoff, worker };
        assert_eq!(stage.tell(Input::Acked { worker, handoff }), [(7, acked)]);
    }
}
