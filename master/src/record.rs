//! The record of connections: each step of each, for whoever proves that none was lost.
//!
//! Nobody pays for it who has not asked for it with
//! [`Settings::record_connections`](crate::Settings::record_connections). The dispatch thread
//! puts small values into a queue of fixed length and wakes nobody; the owner looks now and
//! then. If the queue is full, steps are dropped and counted: a record with a count other than
//! 0 is good for reading, not for proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use maitred_core::dispatch::RefusalReason;
use maitred_core::id::{ConnectionId, HandoffId, ServerId, WorkerId};
use serde::Serialize;

use crate::clock::Moment;

/// Steps that may wait for their reader: two seconds of a master that hands out 20,000
/// connections a second, in 5 MiB.
const QUEUE: usize = 128 * 1024;

/// One step of one connection on its way through the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionEvent {
    /// When the master took it.
    #[serde(rename = "monotonic_ns")]
    pub at: Moment,
    /// Whose step it is.
    pub connection: ConnectionId,
    /// Which one.
    #[serde(flatten)]
    pub step: ConnectionStep,
}

/// What happened to a connection.
///
/// Each is accepted once, then handed off until a worker acks, and ends with
/// [`Acked`](Self::Acked) or [`Refused`](Self::Refused). After a reject, or a death of the
/// worker that had not acked it, it is taken back, and handed off again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionStep {
    /// The master has it.
    Accepted {
        /// The listener it came through.
        server: ServerId,
        /// The client's port; absent for Unix sockets.
        peer_port: Option<u16>,
    },
    /// It is sent to a worker, and the master keeps its own copy.
    HandedOff {
        /// The name of this attempt.
        handoff: HandoffId,
        /// To whom.
        worker: WorkerId,
    },
    /// The worker took it; it is the worker's from now on.
    Acked {
        /// Which attempt succeeded.
        handoff: HandoffId,
        /// Who took it.
        worker: WorkerId,
    },
    /// The worker gave it back unread.
    Rejected {
        /// Which attempt failed.
        handoff: HandoffId,
        /// Who gave it back.
        worker: WorkerId,
    },
    /// It waits again, after a reject or a death.
    Requeued {
        /// Which attempt failed.
        handoff: HandoffId,
        /// Who had it.
        worker: WorkerId,
    },
    /// The master closed it unserved.
    Refused {
        /// Why.
        reason: RefusalReason,
    },
}

/// The reader's end of the record.
#[derive(Debug)]
pub struct ConnectionRecord {
    steps: Receiver<ConnectionEvent>,
    dropped: Arc<AtomicU64>,
}

impl ConnectionRecord {
    /// Takes the oldest step that is waiting. Never waits itself.
    ///
    /// `None` means that nothing waits now; once the cluster has
    /// [ended](crate::Cluster::finished), it means that nothing more will come.
    pub fn try_next(&mut self) -> Option<ConnectionEvent> {
        self.steps.try_recv().ok()
    }

    /// Returns how many steps were dropped since they were not taken in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Acquire)
    }
}

/// The dispatch thread's end of the record.
#[derive(Debug)]
pub(crate) struct Steps {
    queue: SyncSender<ConnectionEvent>,
    dropped: Arc<AtomicU64>,
}

impl Steps {
    /// Makes both ends.
    pub(crate) fn new() -> (Self, ConnectionRecord) {
        Self::with_room_for(QUEUE)
    }

    fn with_room_for(room: usize) -> (Self, ConnectionRecord) {
        let (queue, steps) = sync_channel(room);
        let dropped = Arc::<AtomicU64>::default();
        let record = ConnectionRecord {
            steps,
            dropped: dropped.clone(),
        };
        (Self { queue, dropped }, record)
    }

    /// Queues a step, or counts it as dropped. Never waits, and makes no system call: the
    /// reader is never asleep on the queue.
    pub(crate) fn push(&self, event: ConnectionEvent) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(number: u64) -> ConnectionEvent {
        ConnectionEvent {
            at: Moment(number),
            connection: ConnectionId(number),
            step: ConnectionStep::Accepted {
                server: ServerId(1),
                peer_port: Some(40_000),
            },
        }
    }

    #[test]
    fn steps_arrive_in_order_also_after_the_end() {
        let (steps, mut record) = Steps::new();
        (0..1000).for_each(|number| steps.push(accepted(number)));
        drop(steps);
        let taken: Vec<_> = std::iter::from_fn(|| record.try_next()).collect();
        assert!(taken.into_iter().eq((0..1000).map(accepted)));
        assert_eq!(record.dropped(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (steps, mut record) = Steps::with_room_for(2);
        (0..5).for_each(|number| steps.push(accepted(number)));
        assert_eq!(record.dropped(), 3);
        assert_eq!(record.try_next(), Some(accepted(0)));
        steps.push(accepted(5));
        assert_eq!(record.dropped(), 3);
        drop(record);
        steps.push(accepted(6));
    }

    #[test]
    fn a_step_is_small_since_many_wait() {
        assert!(size_of::<ConnectionEvent>() <= 32);
    }

    #[test]
    fn in_json_a_step_is_one_flat_object() {
        assert_eq!(
            serde_json::to_string(&accepted(7)).unwrap(),
            r#"{"monotonic_ns":7,"connection":7,"event":"accepted","server":1,"peer_port":40000}"#
        );
        let refused = ConnectionEvent {
            step: ConnectionStep::Refused {
                reason: RefusalReason::PendingFull,
            },
            ..accepted(8)
        };
        assert_eq!(
            serde_json::to_string(&refused).unwrap(),
            r#"{"monotonic_ns":8,"connection":8,"event":"refused","reason":"pending_full"}"#
        );
    }
}
