//! How a worker joins: it is started, tied to its member, and listened to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use maitred_core::id::{Generation, ServerId, SlotId, WorkerId};
use maitred_core::supervise::{ExitStatus, Fact};
use maitred_protocol::fd;
use tokio::io::Interest;
use tokio::sync::oneshot;

use super::attendant::{Attended, abandon, attend};
use super::dialect;
use super::master::Master;
use super::member::{Manner, Member};
use super::process::{SpawnOrder, Spawned};
use super::worker_link::WorkerLink;
use crate::event::Event;
use crate::launch::{Dialect, Launch};
use crate::pin::pinned;
use crate::worker::Worker;

/// What a program listens on that does so by itself, if it does. Our own begin with 1.
const UNSEEN_SERVER: ServerId = ServerId(0);

impl Master {
    pub(super) fn spawn(
        &mut self,
        now: Instant,
        worker: WorkerId,
        (slot, generation): (SlotId, Generation),
    ) {
        let launch = self.launch_for(slot);
        let dialect = launch
            .as_ref()
            .map_or(Dialect::Native, |launch| launch.dialect);
        let manner = Manner::of(dialect, &self.settings);
        let mut member = Member::new(now, slot, generation, manner);
        member.listen_by = now.checked_add(self.supervisor.limits().listen_timeout);
        self.plan_late_look(member.listen_by);
        self.members.insert(worker, member);
        let Some(launch) = launch else {
            self.enrol(now, worker, Err(io::ErrorKind::NotFound.into()));
            return;
        };
        let mut env = self.settings.env.clone();
        env.extend(self.fork_env.take().unwrap_or_default());
        let order = SpawnOrder {
            worker,
            slot,
            launch,
            preload: self.settings.preload.clone(),
            cwd: self.settings.cwd.clone(),
            env,
            instance_var: self.settings.instance_var.clone(),
            output: self.settings.output.unwrap_or_default(),
            user: (self.settings.uid, self.settings.gid),
        };
        if !self.outlets.spawner.order(order) {
            let busy = io::Error::new(io::ErrorKind::WouldBlock, "too many spawns at once");
            self.enrol(now, worker, Err(busy));
        }
    }

    /// Says what is started in a slot.
    fn launch_for(&self, slot: SlotId) -> Option<Launch> {
        match self.pins.get(&slot) {
            Some(program) => Launch::of(&pinned(&self.settings, program)),
            None => Launch::of(&self.settings),
        }
    }

    /// Lets what is started in these slots be this program, or again that of the settings.
    pub(super) fn pin(&mut self, slots: &[SlotId], program: Option<&PathBuf>) {
        for &slot in slots {
            match program {
                Some(program) => self.pins.insert(slot, program.clone()),
                None => self.pins.remove(&slot),
            };
        }
    }

    /// Starts one worker that is not replaced, and answers with its handle.
    pub(super) fn fork(
        &mut self,
        now: Instant,
        env: BTreeMap<OsString, OsString>,
        reply: oneshot::Sender<Worker>,
    ) {
        let known = self.members.keys().next_back().copied();
        self.fork_env = Some(env);
        self.supervise(now, Fact::ForkAsked);
        self.fork_env = None;
        // The first new number is the one just ordered (a respawn that was due may follow);
        // after a shutdown there is none, and the dropped reply says so.
        let new = (
            known.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let forked = self.members.range(new).next().map(|(worker, _)| *worker);
        if let Some(worker) = forked.and_then(|worker| self.handle_of(worker)) {
            // Whoever asked may have given up waiting.
            reply.send(worker).map(drop).unwrap_or_default();
        }
    }

    /// Takes in a worker that was started, or the news that it was not.
    pub(super) fn enrol(&mut self, now: Instant, worker: WorkerId, outcome: io::Result<Spawned>) {
        match outcome.and_then(|spawned| self.attach(worker, spawned)) {
            Ok(pid) => {
                if let Some(member) = self.members.get(&worker) {
                    let slot = member.slot;
                    self.announce(Event::Fork { worker, slot, pid });
                }
                self.supervise(now, Fact::Spawned { worker, pid });
                self.take_at_its_word(now, worker);
            }
            Err(error) => {
                self.announce(Event::SpawnFailed {
                    worker,
                    reason: error.to_string(),
                });
                self.bury(now, worker, ExitStatus::default());
                self.supervise(now, Fact::SpawnFailed { worker });
                self.tidy_up(now);
            }
        }
    }

    /// A program without a channel says nothing: that it runs has to do for all that others
    /// say until they are ready.
    fn take_at_its_word(&mut self, now: Instant, worker: WorkerId) {
        if self.link_of(worker).is_none_or(|link| !link.is_silent()) {
            return;
        }
        self.came_online(now, worker);
        let server = UNSEEN_SERVER;
        self.supervise(now, Fact::Listening { worker, server });
    }

    /// Ties a started process to its member: channel, pidfd, output. If that fails, which
    /// takes a system out of memory, the process is ended.
    fn attach(&mut self, worker: WorkerId, spawned: Spawned) -> io::Result<u32> {
        let Spawned {
            pid,
            pidfd,
            dialect,
            channel,
            output,
        } = spawned;
        let Some(member) = self.members.get_mut(&worker) else {
            debug_assert!(false, "a worker is a member from its order to its end");
            abandon(pid);
            return Err(io::ErrorKind::NotFound.into());
        };
        let watched = dialect::open(dialect, channel, member.manner.message_max)
            .and_then(|ends| Ok((ends, fd::watch(pidfd, Interest::READABLE)?)));
        let ((end, inbox), pidfd) = watched.inspect_err(|_| abandon(pid))?;
        let reaped = Arc::new(AtomicBool::new(false));
        member.link = Some(WorkerLink::new(end, pid, reaped.clone()));
        member.pid = Some(pid);
        let number = member.pid_number();
        member.status.send_modify(|status| {
            status.pid = Some(number);
            status.connected = dialect != Dialect::None;
        });
        self.outlets.outputs.pump(worker, member.slot, output);
        let attended = Attended {
            worker,
            pid,
            pidfd,
            inbox,
            reaped,
        };
        tokio::spawn(attend(attended, self.outlets.reports.clone()));
        Ok(number)
    }
}
