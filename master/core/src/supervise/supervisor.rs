//! The supervisor itself: facts in, orders out.

use std::collections::BTreeMap;
use std::time::Instant;

use super::exit::ExitStatus;
use super::fact::Fact;
use super::limits::Limits;
use super::order::{Announcement, Order};
use super::record::Record;
use super::refill::Gone;
use super::reload::Reload;
use super::reload_failure::ReloadFailure;
use super::shutdown::Phase;
use super::slot::{Content, Slot};
use super::worker_state::{SlotState, WorkerEvent, WorkerState};
use crate::id::{Generation, ServerId, SlotId, WorkerId};

/// Decides which worker process should be alive.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) limits: Limits,
    /// Whether somebody waits at a terminal, to whom a failed start is an answer.
    pub(super) foreground: bool,
    pub(super) phase: Phase,
    /// Who is not reaped yet. Enters with `Order::Spawn`, leaves with `Fact::Exited` or
    /// `Fact::SpawnFailed`. Bounded by the number of slots: each holds one, and during a
    /// reload a successor. Beside those there is who was replaced or dismissed by a reload,
    /// for as long as the drain and kill timeouts allow.
    pub(super) workers: BTreeMap<WorkerId, Record>,
    /// Wanted slots, and those whose worker is still to go.
    pub(super) slots: BTreeMap<SlotId, Slot>,
    /// The number given last; 0 before the first.
    pub(super) last_worker: u32,
    /// Whether a managed worker was ever ready.
    pub(super) was_ever_ready: bool,
    pub(super) was_ready_announced: bool,
    /// What workers that are started now belong to.
    pub(super) generation: Generation,
    pub(super) reload: Option<Reload>,
    /// See [`deadline`](Self::deadline). Kept, since the shell asks in every turn, which has to
    /// cost the same however many workers there are; only a fact can move it.
    deadline: Option<Instant>,
}

impl Supervisor {
    /// Returns a supervisor that wants nothing yet.
    ///
    /// In the foreground it gives up when no worker comes up at all.
    #[must_use]
    pub fn new(limits: Limits, foreground: bool) -> Self {
        Self {
            limits,
            foreground,
            phase: Phase::Running,
            workers: BTreeMap::new(),
            slots: BTreeMap::new(),
            last_worker: 0,
            was_ever_ready: false,
            was_ready_announced: false,
            generation: Generation(0),
            reload: None,
            deadline: None,
        }
    }

    /// Takes one fact and appends what is to be done about it.
    ///
    /// Afterwards no deadline is due, so that a shell which sleeps until [`Self::deadline`]
    /// never spins.
    pub fn handle(&mut self, now: Instant, fact: Fact, orders: &mut Vec<Order>) {
        if self.phase.is_finished() {
            return;
        }
        self.forgive_own_lateness(now);
        // The fact comes first: a worker that exits at its deadline needs no signal.
        self.take(now, fact, orders);
        self.announce_restarted(orders);
        self.announce_ready(orders);
        self.give_up_if_hopeless(now, orders);
        // The reload goes before the deadlines, for who fails it may have no time at all.
        self.advance_reload(now, orders);
        self.act_on_deadlines(now, orders);
        self.beat_hearts(now, orders);
        self.finish_if_alone(now, orders);
        self.deadline = self.next_deadline();
    }

    /// Returns when the next `Fact::Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn next_deadline(&self) -> Option<Instant> {
        let workers = self.workers.values().filter_map(Record::deadline);
        let slots = self.slots.values().filter_map(Slot::deadline);
        let reload = self.reload.as_ref().and_then(Reload::deadline);
        let others = self.phase.deadline().into_iter().chain(reload);
        workers.chain(slots).chain(others).min()
    }

    /// Returns the state of a worker that is not reaped yet.
    #[must_use]
    pub fn state(&self, worker: WorkerId) -> Option<WorkerState> {
        self.workers.get(&worker).map(|record| record.state)
    }

    /// Returns the place of a worker that is not reaped yet.
    #[must_use]
    pub fn slot_of(&self, worker: WorkerId) -> Option<SlotId> {
        self.workers.get(&worker).map(|record| record.slot)
    }

    /// Tells whether a worker that is not reaped yet leaves because it, or the master, wanted
    /// so. Of a reaped one [`Announcement::Exited`] tells.
    #[must_use]
    pub fn exited_after_disconnect(&self, worker: WorkerId) -> bool {
        self.workers
            .get(&worker)
            .is_some_and(|record| record.exited_after_disconnect)
    }

    /// Returns every worker that is not reaped yet, by number.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &Record)> {
        self.workers
            .iter()
            .map(|(&worker, record)| (worker, record))
    }

    /// Returns how patient this supervisor is.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns every slot there is, by number.
    pub fn slots(&self) -> impl Iterator<Item = (SlotId, SlotState)> {
        self.slots.iter().map(|(&id, slot)| (id, slot.state()))
    }

    fn take(&mut self, now: Instant, fact: Fact, orders: &mut Vec<Order>) {
        match fact {
            Fact::ScaleAsked(count) => self.scale(now, count, orders),
            Fact::ForkAsked => self.fork(now, orders),
            Fact::Spawned { worker, pid } => self.with(worker, |w, _| w.spawned(pid, orders)),
            Fact::SpawnFailed { worker } => self.spawn_failed(now, worker, orders),
            Fact::Online(worker) => self.with(worker, |w, _| {
                w.state = w.state.next(WorkerEvent::CameOnline);
            }),
            Fact::Listening { worker, server } => self.listening(now, (worker, server), orders),
            Fact::Closed { worker, server } => self.with(worker, |w, _| w.closes(server)),
            Fact::SaidReady(worker) => {
                self.with(worker, |w, l| {
                    w.said_ready = true;
                    w.start_heartbeat(now, l);
                });
                self.note_ready(now, worker, orders);
            }
            Fact::Answered(worker) => self.with(worker, |w, l| w.answered(now, l)),
            Fact::Probed { worker, probe } => self.probed(now, worker, probe, orders),
            Fact::DisconnectAsked(worker) => self.disconnect(now, worker, orders),
            Fact::LeavingVoluntarily(worker) => {
                let deadline = self.drain_deadline(now);
                self.with(worker, |w, _| w.leave_voluntarily(deadline));
            }
            Fact::ChannelClosed(worker) => self.with(worker, |w, l| w.channel_closed(now, l)),
            Fact::ServedOut(worker) => self.with(worker, |w, _| w.served_out(now)),
            Fact::Breached(worker) => self.with(worker, |w, _| w.kill(orders)),
            Fact::KillAsked { worker, signal } => self.with(worker, |w, _| {
                w.ended_by_master |= signal != 0;
                w.signal(signal, orders);
            }),
            Fact::Exited { worker, status } => self.exited(now, worker, status, orders),
            Fact::ReloadAsked(wish) => self.reload(wish, orders),
            Fact::RestartAsked(which) => self.restart(now, which, orders),
            Fact::ResetAsked(which) => self.reset(which),
            Fact::StopAsked => self.stop(now, orders),
            Fact::ShutdownAsked => self.shut_down(now, orders),
            Fact::ServersClosed => self.servers_closed(now, orders),
            Fact::Tick => {} // Whatever is due is done after every fact.
        }
    }

    /// Does something to a worker, unless it is gone.
    fn with(&mut self, worker: WorkerId, act: impl FnOnce(&mut Record, &Limits)) {
        if let Some(record) = self.workers.get_mut(&worker) {
            act(record, &self.limits);
        }
    }

    fn listening(
        &mut self,
        now: Instant,
        (worker, server): (WorkerId, ServerId),
        orders: &mut Vec<Order>,
    ) {
        self.with(worker, |record, limits| {
            record.state = record.state.next(WorkerEvent::Listened);
            record.start_heartbeat(now, limits);
            if record.state == WorkerState::Listening {
                record.listens(now, server);
            }
        });
        self.note_ready(now, worker, orders);
    }

    /// A worker has said or done something by which it may be ready now.
    fn note_ready(&mut self, now: Instant, worker: WorkerId, orders: &mut Vec<Order>) {
        let Some(record) = self.workers.get_mut(&worker) else {
            return;
        };
        record.note_ready(&self.limits);
        if !record.is_ready() {
            return;
        }
        let (id, managed) = (record.slot, record.managed);
        // A successor counts once it has the place.
        if managed && let Some(slot) = self.held_slot(id, worker) {
            slot.restart.became_ready();
            self.was_ever_ready = true;
        }
        self.successor_is_ready(now, worker, orders);
    }

    fn disconnect(&mut self, now: Instant, worker: WorkerId, orders: &mut Vec<Order>) {
        let deadline = self.drain_deadline(now);
        self.with(worker, |record, _| {
            record.ended_by_master = true;
            record.drain(deadline, orders);
        });
    }

    /// Returns the deadline of a drain that begins now: that of the shutdown, if it is nearer.
    pub(super) fn drain_deadline(&self, now: Instant) -> Option<Instant> {
        let own = now.checked_add(self.limits.drain_timeout);
        self.phase.drain_limit().or(own)
    }

    fn spawn_failed(&mut self, now: Instant, worker: WorkerId, orders: &mut Vec<Order>) {
        let Some(record) = self.workers.get(&worker) else {
            return;
        };
        // One that runs keeps its place until it is reaped, or the slot would hold two.
        if record.pid.is_some() {
            return;
        }
        let slot = record.slot;
        self.workers.remove(&worker);
        self.reload_lost(now, worker, ReloadFailure::SpawnFailed, orders);
        if self.leaves_a_gap(slot, worker) {
            // It never ran, so whatever the master wanted of it did not cause this.
            let verdict = self.boot_failed(slot);
            let gone = Gone {
                slot,
                worker,
                status: None,
            };
            self.vacate(now, gone, verdict, orders);
        }
    }

    fn exited(
        &mut self,
        now: Instant,
        worker: WorkerId,
        status: ExitStatus,
        orders: &mut Vec<Order>,
    ) {
        let Some(record) = self.workers.remove(&worker) else {
            return;
        };
        orders.push(Order::Announce(Announcement::Exited {
            worker,
            slot: record.slot,
            status,
            exited_after_disconnect: record.exited_after_disconnect,
        }));
        self.reload_lost(now, worker, ReloadFailure::Exited(status), orders);
        if self.leaves_a_gap(record.slot, worker) {
            let verdict = self.judge(now, &record, status);
            let gone = Gone {
                slot: record.slot,
                worker,
                status: Some(status),
            };
            self.vacate(now, gone, verdict, orders);
            self.relieve(now, &record, verdict);
        }
    }

    /// Tells whether the slot of a worker that is gone is empty now. It is another's if the
    /// worker was replaced, or never had it, or if a successor can take it.
    fn leaves_a_gap(&mut self, slot: SlotId, worker: WorkerId) -> bool {
        let Some(slot) = self.held_slot(slot, worker) else {
            return false;
        };
        let successor = slot.successor.take();
        if let Some(successor) = successor {
            slot.enter(successor);
        }
        successor.is_none()
    }

    /// Returns a slot, if it is this worker's.
    fn held_slot(&mut self, slot: SlotId, worker: WorkerId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(&slot);
        slot.filter(|slot| slot.content == Content::Worker(worker))
    }
}
