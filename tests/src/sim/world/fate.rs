//! What befalls the house.

use maitred_core::dispatch::Input;
use maitred_core::id::{HandoffId, ServerId, WorkerId};

use super::{Event, Law, World};
use crate::sim::kernel::Listener;
use crate::sim::plan::{Fate, any_policy};
use crate::sim::worker::{FakeWorker, Message};

/// How long a worker may do nothing before it is killed.
const HANG_TIMEOUT: u64 = 500;

impl World {
    pub(super) fn strike(&mut self) -> Law {
        let fate = self.random.pick(&self.plan.fates);
        let well = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.is_well() && !worker.is_steady);
        let well: Vec<_> = well.map(|(&id, _)| id).collect();
        let servers: Vec<_> = self.listeners.keys().copied().collect();
        let victim = self.random.pick(&well);
        let server = self.random.pick(&servers);
        match (fate, victim, server) {
            (Some(Fate::ScaleUp), ..) => self.spawn(false),
            (Some(Fate::Shut), _, Some(server)) => self.shut(server),
            (Some(Fate::Respread), _, Some(server)) => {
                let policy = any_policy(&mut self.random);
                self.tell(Input::PolicyChanged { server, policy })
            }
            (Some(Fate::Weigh), Some(worker), _) => {
                let weight = u32::try_from(self.random.below(5)).unwrap_or(1);
                self.tell(Input::Weighed { worker, weight })
            }
            (Some(Fate::Crash), Some(victim), _) => {
                self.kill(victim);
                Ok(())
            }
            (Some(Fate::Hang), Some(victim), _) => {
                self.plan_in(HANG_TIMEOUT, Event::HangNoticed(victim));
                self.change(victim, |worker| worker.hangs = true);
                Ok(())
            }
            (Some(Fate::Drain), Some(victim), _) => {
                self.change(victim, |worker| worker.drains = true);
                self.tell(Input::Draining(victim))?;
                self.let_drained_go(victim);
                Ok(())
            }
            (Some(Fate::Lie), Some(victim), _) => self.lie(victim),
            (Some(Fate::Relisten), Some(worker), Some(server)) => {
                self.plan_within(100, Event::ListenAgain(worker, server));
                self.tell(Input::Closed { worker, server })
            }
            (None, ..) | (Some(_), None, _) | (Some(_), _, None) => Ok(()),
        }
    }

    /// A worker acks what it does not hold, and preferably what another does.
    ///
    /// Only handoffs that exist: an ack guessed ahead of its handoff may have become true by
    /// the time it is read, and then it harms nobody but the worker itself.
    pub(super) fn lie(&mut self, id: WorkerId) -> Law {
        let handoff = HandoffId(self.random.below(self.issued));
        let held = self.workers.get(&id).map(|worker| &worker.inbox);
        let is_true = held.is_some_and(|inbox| inbox.iter().any(|(held, _)| *held == handoff));
        if self.issued == 0 || is_true {
            return Ok(());
        }
        self.write(id, Message::Acked(handoff))
    }

    pub(super) fn change(&mut self, id: WorkerId, change: impl FnOnce(&mut FakeWorker)) {
        if let Some(worker) = self.workers.get_mut(&id) {
            change(worker);
        }
    }

    pub(super) fn shut(&mut self, server: ServerId) -> Law {
        let Some(listener) = self.listeners.get_mut(&server).filter(|l| l.is_open) else {
            return Ok(());
        };
        self.outcome.reset += listener.backlog;
        *listener = Listener::default();
        self.plan_within(300, Event::OpenAgain(server));
        self.tell(Input::ServerClosed(server))
    }

    pub(super) fn reopen(&mut self, server: ServerId) -> Law {
        if self
            .listeners
            .get(&server)
            .is_some_and(|listener| listener.is_open)
        {
            return Ok(());
        }
        self.open(server)?;
        let well = self.workers.iter().filter(|(_, worker)| worker.is_well());
        let well: Vec<_> = well.map(|(&id, _)| id).collect();
        well.into_iter()
            .try_for_each(|worker| self.listen(worker, server))
    }

    /// Brings in one worker on whom everybody can rely.
    ///
    /// From now on only what was begun before can go wrong: so all must end well.
    pub(super) fn finale(&mut self) -> Law {
        let servers: Vec<_> = self.listeners.keys().copied().collect();
        for server in servers {
            self.reopen(server)?;
        }
        self.spawn(true)
    }
}
