//! The cluster as its owner sees it: Node's `cluster` module, in Rust.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use maitred_core::dispatch::{PolicyName, Snapshot};
use maitred_core::id::WorkerId;
use maitred_core::supervise::Outcome;
use maitred_protocol::{environment, fd};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::accept_errors::AcceptErrors;
use crate::event::Event;
use crate::events::Events;
use crate::kernel::try_kernel_policy;
use crate::policy;
use crate::preload;
use crate::record::ConnectionRecord;
use crate::settings::{Settings, WINDOW_MAX};
use crate::shell::announcer::{Announcer, Notice};
use crate::shell::command::{self, Command};
use crate::shell::event_loop::{self, Inlets};
use crate::shell::master::{Master, Outlets};
use crate::shell::orphans::Orphans;
use crate::shell::output::Outputs;
use crate::shell::process::{self, Spawner};
use crate::shell::recorder::Recorder;
use crate::shell::report;
use crate::shell::trace::Trace;
use crate::worker::Worker;

/// How long to wait at the end for workers' last lines of output. They are in the pipes by
/// then; only a grandchild that lives on holds one open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// Returns whether this process is a worker: it was started by a master.
#[must_use]
pub fn is_worker() -> bool {
    environment::is_worker()
}

/// Returns whether this process is no worker: it may become a primary.
#[must_use]
pub fn is_primary() -> bool {
    !is_worker()
}

/// Why a cluster could not be set up or asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// This process is a worker; a worker cannot be a primary under the same roof.
    #[error("set up a primary: this process is a worker")]
    IsWorker,
    /// A setting is out of its range.
    #[error("set up a primary: {0}")]
    Setting(String),
    /// Everything is being stopped, after which it can be asked again.
    #[error("ask the master: everything is being stopped")]
    Stopping,
    /// Everything drains, and then the master ends.
    #[error("ask the master: it is ending")]
    Ending,
    /// The master has ended: it was shut down.
    #[error("ask the master: it has ended")]
    Ended,
    /// The system refused a thread, a runtime or a file.
    #[error("start the master: {0}")]
    Io(#[from] io::Error),
}

/// A running master and its workers.
///
/// The master runs on threads of its own, so that nothing this program does can hold up a
/// connection. When the last handle (this and every [`Worker`]) is dropped, the master drains
/// its workers; when the process ends, the workers see their channels close and end too.
#[derive(Debug)]
pub struct Cluster {
    commands: mpsc::Sender<Command>,
    announcer: Announcer,
    /// Holds everything since the start, for the first who asks.
    first_events: Mutex<Option<broadcast::Receiver<Notice>>>,
    /// Waits for the first who asks, if it was wanted.
    connection_record: Mutex<Option<ConnectionRecord>>,
    outcome: watch::Receiver<Option<Outcome>>,
    outputs: Outputs,
}

impl Cluster {
    /// Starts a master with no workers yet. In Node's words: makes this process the primary.
    ///
    /// # Errors
    ///
    /// [`ClusterError`], each with what is wrong.
    pub fn setup_primary(settings: Settings) -> Result<Self, ClusterError> {
        Self::start(settings, false)
    }

    /// As [`setup_primary`](Self::setup_primary), for a program that is nothing but a
    /// cluster: if no first worker comes up, or every one is given up, the master ends. As
    /// the first process of a container it also reaps all children that are no workers, so
    /// such a program must start none by other means.
    ///
    /// # Errors
    ///
    /// [`ClusterError`], each with what is wrong.
    pub fn foreground(settings: Settings) -> Result<Self, ClusterError> {
        Self::start(settings, true)
    }

    fn start(settings: Settings, foreground: bool) -> Result<Self, ClusterError> {
        if is_worker() {
            return Err(ClusterError::IsWorker);
        }
        let settings = complete(settings)?;
        if let Some(policy) = settings.policy {
            policy::check_reports(policy, &settings)
                .map_err(|error| ClusterError::Setting(error.to_string()))?;
        }
        // What this process was started with, and nobody has closed, is not for workers.
        fd::seal_inherited()?;
        let trace = settings.trace.as_deref().map(Trace::create).transpose()?;
        let begun = settings.record_connections.then(Recorder::begin);
        let (recorder, connection_record) = begun.unzip();
        let outputs = Outputs::start()?;
        let (reporter, reports) = mpsc::channel(report::QUEUE);
        let (asker, commands) = mpsc::channel(command::QUEUE);
        let (announcer, first_events) = Announcer::new();
        let outlets = Outlets {
            spawner: Spawner::start(reporter.clone())?,
            reports: reporter,
            announcer: announcer.clone(),
            commands: asker.downgrade(),
            outputs: outputs.clone(),
            trace,
            recorder,
        };
        let (ended, outcome) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let master = Master::new(settings, outlets, foreground);
        thread::Builder::new()
            .name("maitred-dispatch".into())
            .spawn(move || {
                let ran = runtime.block_on(async {
                    let orphans = Orphans::new(foreground)?;
                    Ok::<_, io::Error>(
                        event_loop::run(
                            master,
                            Inlets {
                                reports,
                                commands: Some(commands),
                                orphans,
                            },
                        )
                        .await,
                    )
                });
                // Without its signal handler the loop never ran, so nothing was done.
                ended.send_replace(Some(ran.unwrap_or(Outcome::Done)));
            })?;
        let first_events = Mutex::new(Some(first_events));
        announcer.announce(Event::Setup);
        Ok(Self {
            commands: asker,
            announcer,
            first_events,
            connection_record: Mutex::new(connection_record),
            outcome,
            outputs,
        })
    }

    /// Changes settings for workers that are started from now on; what is not set stays.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Setting`] and [`ClusterError::Ended`].
    pub async fn setup(&self, mut settings: Settings) -> Result<(), ClusterError> {
        check(&settings)?;
        settings.exec = settings.exec.as_deref().map(process::resolve);
        self.ask(Command::Setup(Box::new(settings))).await
    }

    /// Starts one worker. It is not replaced when it ends: as in Node, that is the caller's
    /// to decide.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`]. That a program cannot be started is an [`Event::SpawnFailed`].
    pub async fn fork(&self) -> Result<Worker, ClusterError> {
        let env = BTreeMap::new();
        self.inquire(|reply| Command::Fork { env, reply }).await
    }

    /// As [`fork`](Self::fork), with these variables besides the settings'.
    ///
    /// # Errors
    ///
    /// As [`fork`](Self::fork).
    pub async fn fork_with<K, V>(
        &self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Worker, ClusterError>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let env: BTreeMap<OsString, OsString> = env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        self.inquire(|reply| Command::Fork { env, reply }).await
    }

    /// Keeps `workers` workers alive: starts what is missing, drains what is too much, and
    /// replaces whichever dies.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Stopping`], [`ClusterError::Ending`] and [`ClusterError::Ended`]; then
    /// the number is what it was.
    pub async fn scale(&self, workers: u32) -> Result<(), ClusterError> {
        self.inquire(|reply| Command::Scale { workers, reply })
            .await?
    }

    /// Returns the workers that are alive, or being started, by number.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub async fn workers(&self) -> Result<BTreeMap<WorkerId, Worker>, ClusterError> {
        let workers: Vec<Worker> = self.inquire(Command::Workers).await?;
        Ok(workers
            .into_iter()
            .map(|worker| (worker.id(), worker))
            .collect())
    }

    /// Asks every worker to leave, and returns when none is left and every listener is closed.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub async fn disconnect(&self) -> Result<(), ClusterError> {
        self.inquire(Command::DisconnectAll).await
    }

    /// Describes the dispatcher's state: rings, queues, counts.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub async fn snapshot(&self) -> Result<Snapshot, ClusterError> {
        self.inquire(Command::Snapshot).await
    }

    /// Returns the events from now on; the first who asks gets them from the very start.
    pub fn events(&self) -> Events {
        let mut first = self
            .first_events
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ring = first.take().unwrap_or_else(|| self.announcer.subscribe());
        Events::new(ring, self.outcome.clone(), self.announcer.clone())
    }

    /// Returns the record of connections, if the first settings
    /// [asked for one](Settings::record_connections); the first who asks gets it.
    pub fn connection_record(&self) -> Option<ConnectionRecord> {
        let record = self.connection_record.lock();
        record.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns how often accepting failed since the master began, by error. None of these
    /// failures lost a connection.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub async fn accept_errors(&self) -> Result<AcceptErrors, ClusterError> {
        self.inquire(Command::AcceptErrors).await
    }

    /// Serves what the backlogs hold, drains all workers, and ends the master. Returns how it
    /// ended. May be called while another call waits; they end together.
    pub async fn shutdown(&self) -> Outcome {
        // If the master has ended already, its outcome says how.
        self.ask(Command::Shutdown).await.unwrap_or_default();
        self.finished().await
    }

    /// Waits until the master has ended, for whatever reason.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn finished(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        let ended = outcome
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|outcome| outcome.clone());
        self.outputs.settle(LAST_OUTPUT).await;
        // The dispatch thread cannot end without saying how, unless it panicked.
        ended.unwrap_or(Outcome::Cut)
    }

    /// Returns the last lines that a worker printed, if its output is read here; also for a
    /// while after its death.
    #[must_use]
    pub fn last_lines(&self, worker: WorkerId) -> Vec<String> {
        self.outputs.last_lines(worker)
    }

    /// Returns how many lines of workers' output were dropped since nobody took them in time.
    #[must_use]
    pub fn dropped_lines(&self) -> usize {
        self.outputs.dropped_lines()
    }

    pub(crate) async fn ask(&self, command: Command) -> Result<(), ClusterError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| ClusterError::Ended)
    }

    pub(crate) async fn inquire<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ClusterError> {
        let (reply, answer) = oneshot::channel();
        self.ask(command(reply)).await?;
        answer.await.map_err(|_| ClusterError::Ended)
    }
}

/// Fills in what Node would: the running program, with its arguments. What is to run is
/// resolved once, now: after a deploy the running file's name reads "(deleted)".
fn complete(mut settings: Settings) -> Result<Settings, ClusterError> {
    check(&settings)?;
    settings.exec = Some(if let Some(program) = &settings.exec {
        process::resolve(program)
    } else {
        if settings.args.is_none() {
            settings.args = Some(std::env::args_os().skip(1).collect());
        }
        std::env::current_exe()?
    });
    Ok(settings)
}

fn check(settings: &Settings) -> Result<(), ClusterError> {
    // Each start writes it again if it is gone; here is who can be told that it cannot be.
    settings
        .preload
        .as_deref()
        .map(preload::write)
        .transpose()?;
    if let Some(window) = settings.window
        && !(1..=WINDOW_MAX).contains(&window)
    {
        let reason = format!("the window is {window}, but must be between 1 and {WINDOW_MAX}");
        return Err(ClusterError::Setting(reason));
    }
    if settings.instance_var.as_deref().is_some_and(is_no_name) {
        let reason = "a variable's name has at least one character, and no equals sign".into();
        return Err(ClusterError::Setting(reason));
    }
    if settings.policy == Some(PolicyName::Kernel) {
        try_kernel_policy().map_err(|error| ClusterError::Setting(error.to_string()))?;
    }
    if settings
        .exec
        .as_ref()
        .is_some_and(|exec| *exec == PathBuf::new())
    {
        return Err(ClusterError::Setting("the program's name is empty".into()));
    }
    Ok(())
}

fn is_no_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0)
}
