//! One worker as the shell knows it.

use std::time::Instant;

use maitred_core::id::{Generation, SlotId};
use maitred_core::supervise::WorkerState;
use maitred_protocol::MasterToWorker;
use maitred_protocol::message::Statistics;
use rustix::process::Pid;
use tokio::sync::watch;

use super::dialect::UserText;
use super::outbox::Cargo;
use super::resting::Rest;
use super::worker_link::WorkerLink;
use crate::launch::Dialect;
use crate::settings::{LINE_MAX, Settings};
use crate::worker::{MESSAGE_MAX, WorkerStatus};

/// How a worker is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) dialect: Dialect,
    /// The longest message of either side's program, as JSON text, in bytes.
    pub(crate) message_max: usize,
}

impl Manner {
    pub(super) fn of(dialect: Dialect, settings: &Settings) -> Self {
        let message_max = match dialect {
            Dialect::Node => settings.line_max.unwrap_or(LINE_MAX),
            Dialect::Native | Dialect::None => MESSAGE_MAX,
        };
        Self {
            dialect,
            message_max,
        }
    }
}

/// What waits for a worker's greeting.
#[derive(Debug)]
pub(super) enum Early {
    /// A message of ours.
    Ours(MasterToWorker, Cargo),
    /// A message of the owner's program.
    User(UserText),
}

/// One worker as the shell knows it, from the order to spawn it until it was reaped.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) slot: SlotId,
    pub(super) generation: Generation,
    pub(super) started_at: Instant,
    /// By when it should listen, until that was looked at.
    pub(super) listen_by: Option<Instant>,
    /// `None` until it was started.
    pub(super) link: Option<WorkerLink>,
    pub(super) pid: Option<Pid>,
    /// It has said hello, so that it may be told things.
    pub(super) greeted: bool,
    /// What it is to be told once it has.
    pub(super) early: Vec<Early>,
    /// How it is talked to, as it was when it was ordered.
    pub(super) manner: Manner,
    /// It broke the protocol and is being killed; only its answers to handoffs still count.
    pub(super) expelled: bool,
    pub(super) rest: Rest,
    pub(super) status: watch::Sender<WorkerStatus>,
}

impl Member {
    pub(super) fn new(now: Instant, slot: SlotId, generation: Generation, manner: Manner) -> Self {
        let status = WorkerStatus {
            state: WorkerState::Starting,
            pid: None,
            connected: false,
            exited_after_disconnect: false,
            exit: None,
            statistics: Statistics::default(),
        };
        let (status, _) = watch::channel(status);
        let early = Vec::new();
        Self {
            slot,
            generation,
            started_at: now,
            listen_by: None,
            link: None,
            pid: None,
            greeted: false,
            early,
            manner,
            expelled: false,
            rest: Rest::default(),
            status,
        }
    }

    /// Returns how many bytes of the owner's messages wait for its greeting.
    pub(super) fn early_bytes(&self) -> usize {
        let len = |early: &Early| match early {
            Early::Ours(..) => 0,
            Early::User(text) => text.len(),
        };
        self.early.iter().map(len).sum()
    }

    pub(super) fn pid_number(&self) -> u32 {
        self.pid
            .map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
    }
}
