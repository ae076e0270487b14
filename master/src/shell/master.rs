//! The master's state, and who is told what happened.
//!
//! [`Master`] owns all there is on the dispatch thread. Each kind of event has one method;
//! what they do is spread over files by subject: `dispatching.rs` for connections,
//! `lifecycle.rs` for processes, `conversation.rs` for what workers say, `closing.rs` for the
//! end.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use maitred_core::dispatch::{Dispatcher, Effect, Input};
use maitred_core::id::{ServerId, SlotId, WorkerId};
use maitred_core::supervise::{Fact, Order, Outcome, Supervisor};
use maitred_protocol::ChannelError;
use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot};

use super::announcer::Announcer;
use super::closing::Closing;
use super::command::Command;
use super::connections::Connections;
use super::member::Member;
use super::operations::Reloading;
use super::output::Outputs;
use super::process::Spawner;
use super::recorder::Recorder;
use super::report::Report;
use super::restarting::Restarting;
use super::servers::Servers;
use super::trace::Trace;
use crate::accept_errors::AcceptErrors;
use crate::event::Event;
use crate::launch::Dialect;
use crate::settings::{NODE_WINDOW, PENDING_MAX, Settings, WINDOW};
use crate::worker::Worker;

/// Everything on the dispatch thread.
#[derive(Debug)]
pub(crate) struct Master {
    pub(super) settings: Settings,
    pub(super) dispatcher: Dispatcher,
    pub(super) supervisor: Supervisor,
    pub(super) servers: Servers,
    pub(super) connections: Connections,
    pub(super) members: BTreeMap<WorkerId, Member>,
    pub(super) outlets: Outlets,
    /// Facts that the dispatcher is still to be told; empty between turns.
    pub(super) inputs: VecDeque<Input>,
    pub(super) is_dispatching: bool,
    /// The effects of one input; kept so that its memory is used again.
    pub(super) effects: Vec<Effect>,
    pub(super) orders: VecDeque<Order>,
    /// Environment of the fork that is being ordered.
    pub(super) fork_env: Option<BTreeMap<OsString, OsString>>,
    pub(super) accept_errors: AcceptErrors,
    /// Who is to be sent handoffs at the end of this turn.
    pub(super) unsent: VecDeque<WorkerId>,
    /// The server that accepted last, so that each gets its turn.
    pub(super) last_accepted: ServerId,
    /// When a frame is to be tried again that the kernel refused for a time.
    pub(super) retry_at: Option<Instant>,
    /// When the first worker has rested that refused a connection.
    pub(super) rest_ends: Option<Instant>,
    /// The weights that slots were given. A slot that was scaled away keeps its own.
    pub(super) weights: BTreeMap<SlotId, u32>,
    /// What runs in some slots, whatever the settings say.
    pub(super) pins: BTreeMap<SlotId, PathBuf>,
    pub(super) closing: Option<Closing>,
    pub(super) departures: Vec<oneshot::Sender<()>>,
    pub(super) reloading: Option<Reloading>,
    pub(super) restarts: Vec<Restarting>,
    /// When to look whether a worker hangs; `None` while nobody owes an ack.
    pub(super) look_at: Option<Instant>,
    /// When somebody may next turn out to be late with listening, at the earliest.
    pub(super) late_at: Option<Instant>,
    /// The number of the latest ping.
    pub(super) pings: u64,
    /// Whether a worker that passed its drain deadline held anything, since the ending began.
    pub(super) has_cut: bool,
    pub(super) outcome: Option<Outcome>,
}

/// Where the master speaks to others.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) spawner: Spawner,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) announcer: Announcer,
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) outputs: Outputs,
    pub(crate) trace: Option<Trace>,
    pub(crate) recorder: Option<Recorder>,
}

impl Master {
    pub(crate) fn new(settings: Settings, outlets: Outlets, foreground: bool) -> Self {
        let mut limits = settings.limits.unwrap_or_default();
        limits.wait_ready = settings.wait_ready.unwrap_or(limits.wait_ready);
        Self {
            settings,
            dispatcher: Dispatcher::new(),
            supervisor: Supervisor::new(limits, foreground),
            servers: Servers::default(),
            connections: Connections::default(),
            members: BTreeMap::new(),
            outlets,
            inputs: VecDeque::new(),
            is_dispatching: false,
            effects: Vec::new(),
            orders: VecDeque::new(),
            fork_env: None,
            accept_errors: AcceptErrors::default(),
            unsent: VecDeque::new(),
            last_accepted: ServerId(0),
            retry_at: None,
            rest_ends: None,
            weights: BTreeMap::new(),
            pins: BTreeMap::new(),
            closing: None,
            departures: Vec::new(),
            reloading: None,
            restarts: Vec::new(),
            look_at: None,
            late_at: None,
            pings: 0,
            has_cut: false,
            outcome: None,
        }
    }

    /// Returns how the run ended, once nothing of it is left.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.clone()
    }

    /// Returns when the master wants to be woken although nothing happened.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = [
            self.servers.rest_ends(),
            self.servers.linger_ends(),
            self.rest_ends,
            self.retry_at,
            self.look_at,
            self.late_at,
        ];
        own.into_iter()
            .flatten()
            .chain(self.supervisor.deadline())
            .min()
    }

    /// Deals with every deadline that has passed.
    pub(crate) fn handle_deadlines(&mut self, now: Instant) {
        self.servers.end_rests(now);
        self.end_lingering(now);
        self.end_rests(now);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.retry(now);
        }
        self.watch_for_hangs(now);
        if self.supervisor.deadline().is_some_and(|at| at <= now) {
            self.supervise(now, Fact::Tick);
        }
        // After that, for whom the supervisor has just sent away is not waited for.
        self.tell_of_the_late(now);
    }

    /// Deals with one report from outside the loop.
    pub(crate) fn handle_report(&mut self, now: Instant, report: Report) {
        match report {
            Report::Message(worker, message) => {
                self.take_in(now, worker, message);
                self.check_closing(now);
            }
            Report::Spawned(worker, outcome) => self.enrol(now, worker, outcome),
            Report::Writable(worker) => self.room_came(now, worker),
            Report::ChannelClosed(worker) => self.channel_closed(now, worker),
            Report::Breached(worker, error) => self.breached(now, worker, &error.to_string()),
            Report::CutOff(worker) => self.cut_off(now, worker),
            Report::Exited(worker, status) => self.exited(now, worker, status),
        }
    }

    /// Deals with one wish of the owner.
    pub(crate) fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Setup(settings) => {
                self.settings.merge(*settings);
                self.announce(Event::Setup);
            }
            Command::Scale { workers, reply } => self.scale(now, workers, reply),
            Command::Fork { env, reply } => self.fork(now, env, reply),
            Command::Send {
                worker,
                text,
                reply,
            } => {
                // The asker may have given up waiting.
                reply
                    .send(self.tell_user(now, worker, text))
                    .unwrap_or_default();
            }
            Command::Disconnect(worker) => self.supervise(now, Fact::DisconnectAsked(worker)),
            Command::DisconnectAll(reply) => self.disconnect_all(now, reply),
            Command::Kill { worker, signal } => {
                self.supervise(now, Fact::KillAsked { worker, signal });
            }
            Command::Reload { wish, reply } => self.reload(now, wish, reply),
            Command::Restart { which, reply } => self.restart(now, which, reply),
            Command::Stop(reply) => self.stop(now, reply),
            Command::Reset(slot) => self.supervise(now, Fact::ResetAsked(slot)),
            Command::Describe(reply) => drop(reply.send(self.describe_slots())),
            Command::Workers(reply) => drop(reply.send(self.handles())),
            Command::Snapshot(reply) => drop(reply.send(self.dispatcher.snapshot())),
            Command::AcceptErrors(reply) => drop(reply.send(self.accept_errors.clone())),
            Command::Pin { slots, program } => self.pin(&slots, program.as_ref()),
            Command::Policy(reply) => drop(reply.send(self.policy())),
            Command::ChangePolicy { policy, reply } => {
                drop(reply.send(self.change_policy(now, policy)));
            }
            Command::Weigh {
                slot,
                weight,
                reply,
            } => drop(reply.send(self.weigh(now, slot, weight))),
            Command::Shutdown => self.shut_down(now),
        }
    }

    /// Returns whether some worker is being started at this moment.
    pub(crate) fn is_spawning(&self) -> bool {
        self.members.values().any(|member| member.pid.is_none())
    }

    /// Returns whether a process is one of the workers.
    pub(crate) fn is_worker(&self, pid: nix::unistd::Pid) -> bool {
        let is_it = |known: Pid| known.as_raw_nonzero().get() == pid.as_raw();
        self.members
            .values()
            .any(|member| member.pid.is_some_and(is_it))
    }

    /// Tells the owner. A slow listener loses events and is told how many; nobody waits.
    pub(super) fn announce(&self, event: Event) {
        self.outlets.announcer.announce(event);
    }

    /// Returns how many handoffs a worker may have in flight.
    pub(super) fn window(&self, dialect: Dialect) -> u32 {
        let default = if dialect == Dialect::Node {
            NODE_WINDOW
        } else {
            WINDOW
        };
        self.settings.window.unwrap_or(default)
    }

    pub(super) fn pending_max(&self) -> usize {
        self.settings.pending_max.unwrap_or(PENDING_MAX)
    }

    fn handles(&self) -> Vec<Worker> {
        self.members
            .keys()
            .filter_map(|worker| self.handle_of(*worker))
            .collect()
    }

    /// Returns the owner's handle to a worker, unless the owner is gone.
    pub(super) fn handle_of(&self, id: WorkerId) -> Option<Worker> {
        let member = self.members.get(&id)?;
        let commands = self.outlets.commands.upgrade()?;
        Some(Worker {
            id,
            slot: member.slot,
            generation: member.generation,
            started_at: member.started_at,
            manner: member.manner,
            status: member.status.subscribe(),
            commands,
        })
    }

    /// A worker broke the protocol: it gets nothing more, and is killed.
    fn breached(&mut self, now: Instant, worker: WorkerId, reason: &str) {
        let Some(member) = self.members.get_mut(&worker) else {
            return;
        };
        // Once is enough: it may go on breaking it until the signal has arrived.
        if std::mem::replace(&mut member.expelled, true) {
            return;
        }
        let (pid, reason) = (member.pid_number(), reason.to_owned());
        self.dispatch(now, Input::Draining(worker));
        self.announce(Event::Breached {
            worker,
            pid,
            reason,
        });
        self.supervise(now, Fact::Breached(worker));
    }

    /// Has a worker killed that broke the protocol in a way its frames alone did not show.
    pub(super) fn expel(&mut self, now: Instant, worker: WorkerId, error: &ChannelError) {
        self.breached(now, worker, &error.to_string());
    }

    /// As [`expel`](Self::expel), with the reason in words.
    pub(super) fn expel_for(&mut self, now: Instant, worker: WorkerId, reason: &str) {
        self.breached(now, worker, reason);
    }
}
