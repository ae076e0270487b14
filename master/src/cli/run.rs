//! `maitred run`: a cluster in the foreground, until a signal or until nothing of it is left.
//!
//! Whatever can be wrong with what was asked is found before anything is started. Then the
//! master works on threads of its own, and so does the control socket; here is only who
//! listens to signals and tells events.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, value_parser};
use maitred::{
    Cluster, ClusterError, Dialect, Limits, Outcome, Output, PENDING_MAX, PolicyName, Settings,
    WINDOW_MAX,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Misuse;
use super::events::{self, Format};
use super::instances::Instances;
use super::journal::{self, Journal};
use super::launch::LaunchArguments;
use super::patience::PatienceArguments;
use super::policies;
use super::signals::{Signals, Wish};
use super::story::Story;
use crate::control::foreground::Foreground;
use crate::control::home::{Home, HomeError, Lock};
use crate::control::name::{AppName, Target};
use crate::control::server::ControlServer;
use crate::control::steward::{Change, Steward, Whom};
use crate::demo::{self, DemoArguments};

/// What a shell reports of a process that a signal ended: 128 and the signal's number.
const ENDED_BY_SIGNAL: i32 = 128;

/// How long to wait for workers to be gone after SIGKILL, which takes milliseconds; one that
/// sits in a system call that cannot be interrupted is left to the kernel.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What SIGHUP means.
const GENTLE_RELOAD: Change = Change::Reload {
    parallel: 1,
    allow_listen_change: false,
};

/// POSIX fixes its number.
const SIGKILL: i32 = 9;

/// Most connections that may be asked to wait in the master: each holds a descriptor, and the
/// kernel's usual limit (`fs.nr_open`) is 1,048,576.
const PENDING_MOST: u64 = 1_000_000;

/// Run a program as a cluster of workers, in the foreground.
///
/// The program is a worker that listens by way of the library maitred-worker, or a Node program
/// as it is (`app.js`). Without one, a built-in demo server runs. SIGTERM or Ctrl-C drains all workers and ends; a second one
/// ends at once. Meanwhile ls, scale, events and so on command it, by way of the directory
/// MAITRED_HOME (default ~/.maitred), which has one master at a time. Without a terminal
/// SIGHUP reloads, and SIGTTIN and SIGTTOU add and remove a worker.
///
/// Exit codes: 0 done; 1 it failed, or connections were cut at the drain deadline; 2 bad
/// usage; 128+N after a second signal N.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The program that workers run: a path, or a name to look for in PATH. Default: a demo
    #[arg(conflicts_with_all = ["listen", "work"])]
    program: Option<OsString>,

    /// The program's arguments
    #[arg(last = true, requires = "program")]
    args: Vec<OsString>,

    /// Workers: a number, `max` or 0 for one a processor, -N for one a processor but N
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "max",
        allow_negative_numbers = true
    )]
    instances: Instances,

    /// The name that commands use for it [default: the program's, without its ending]
    #[arg(long, value_name = "NAME")]
    name: Option<AppName>,

    /// How connections are spread: `rr` (each to the next worker), `least-connections`, `sticky`
    /// (by the client's address), `weighted`, `shared` (workers race), or `kernel` (the kernel
    /// gives each to the next worker). Of several, the first that can be had
    #[arg(
        long,
        value_name = "POLICY",
        value_delimiter = ',',
        default_value = "rr"
    )]
    policy: Vec<PolicyName>,

    /// Connections a worker may be handed that it has not acknowledged yet
    /// [default: 4, of Node workers 2]
    #[arg(long, value_name = "N",
        value_parser = value_parser!(u32).range(1..=i64::from(WINDOW_MAX)))]
    window: Option<u32>,

    /// Connections that may wait in the master; the others wait in the kernel
    #[arg(long, value_name = "N", default_value_t = PENDING_MAX as u64,
        value_parser = value_parser!(u64).range(1..=PENDING_MOST))]
    pending_max: u64,

    #[command(flatten)]
    patience: PatienceArguments,

    /// How events are written to standard error; `json` has each step of each connection, too
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    events: Format,

    /// Write events into this file instead, such as for `maitred check-loss`
    #[arg(long, value_name = "FILE")]
    events_file: Option<PathBuf>,

    /// Record every decision of the dispatcher in this file, for `maitred replay`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    #[command(flatten)]
    launch: LaunchArguments,

    #[command(flatten)]
    demo: DemoArguments,
}

/// How a run ended.
enum Ended {
    /// The master ended; whether a signal had asked it to.
    Master { outcome: Outcome, asked: bool },
    /// This second signal cut it short.
    BySignal(i32),
}

impl RunArguments {
    /// Returns how workers are talked to.
    fn dialect(&self) -> Dialect {
        let program = self.program.as_deref().map(Path::new);
        program.map_or(Dialect::Native, |program| self.launch.dialect(program))
    }

    fn limits(&self) -> Limits {
        self.patience.limits(self.dialect())
    }
}

/// Runs the cluster, and returns when nothing of it is left.
///
/// # Errors
///
/// [`Misuse`], before anything is started, and why the cluster could not go on.
pub(super) fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    // Before anything else, since the next step binds the demo's address to try it: a second
    // master is to leave everything of the first alone.
    let lock = Home::locate()
        .and_then(|home| home.lock())
        .map_err(misplaced)?;
    let settings = settings(&arguments)?;
    let settings = match arguments.dialect() {
        Dialect::Node => arguments.launch.preload(settings, lock.directory()),
        Dialect::Native | Dialect::None => settings,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(serve(&arguments, settings, &lock));
    // Whoever still writes to a terminal that does not read must not keep us.
    runtime.shutdown_background();
    code
}

fn misplaced(error: HomeError) -> Misuse {
    Misuse(error.to_string())
}

fn settings(arguments: &RunArguments) -> anyhow::Result<Settings> {
    arguments.patience.check_backoff()?;
    let limits = arguments.limits();
    // Nobody else has opened any yet: these were given to us, for workers to listen on.
    let inherited = maitred_protocol::fd::listening().context("look at open descriptors")?;
    let mut settings = Settings::new()
        .inherited(inherited)
        .output(Output::Prefixed)
        .policy(policies::choose(&arguments.policy)?)
        .pending_max(usize::try_from(arguments.pending_max)?)
        .limits(limits);
    settings.window = arguments.window;
    settings.keepalive_grace = Some(arguments.patience.grace()?);
    if arguments.events == Format::Json {
        settings = settings.record_connections();
    }
    if let Some(file) = &arguments.trace {
        // The master will create it again; here is who can still say that it cannot be.
        File::create(file).map_err(|error| cannot_write(file, &error))?;
        settings = settings.trace(file);
    }
    settings = arguments.launch.surroundings(settings)?;
    match &arguments.program {
        Some(program) => {
            let settings = arguments.launch.apply(settings, program)?;
            Ok(settings.args(&arguments.args))
        }
        None => {
            let address = arguments.demo.listen;
            address.try_bind().map_err(|error| {
                cannot_listen(address, &error.to_string(), error.raw_os_error())
            })?;
            // Resolved once: after a deploy the running file's name reads "(deleted)".
            let this = std::env::current_exe().context("find this program's file")?;
            Ok(settings.exec(this).args(arguments.demo.for_worker()))
        }
    }
}

fn cannot_listen(address: demo::Address, reason: &str, errno: Option<i32>) -> Misuse {
    let advice = errno.map_or("", events::advice);
    Misuse(format!("cannot listen on {address}: {reason}{advice}"))
}

async fn serve(
    arguments: &RunArguments,
    settings: Settings,
    lock: &Lock,
) -> anyhow::Result<ExitCode> {
    // Before the first worker, so that no signal finds us unprepared.
    let mut signals = Signals::new().context("listen to signals")?;
    let socket = lock.open_socket().map_err(misplaced)?;
    let target = target(arguments.events_file.as_deref())?;
    let program = settings.exec.clone().unwrap_or_default();
    let cluster = Cluster::foreground(settings).map_err(unsettled)?;
    let cluster = Arc::new(cluster);
    let (heard, steps) = (cluster.events(), cluster.connection_record());
    let journal = Journal::new(heard, steps, arguments.events, target);
    let telling = tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(journal.write_all())
    });
    let limits = arguments.limits();
    let steward = Foreground::new(cluster.clone(), name(arguments), program, limits);
    let steward = Arc::new(steward);
    let control = ControlServer::start(socket, steward.clone())?;
    steward.start(arguments.instances.count()).await?;
    let ended = attend(&cluster, &steward, &mut signals).await;
    let code = match ended {
        Ended::BySignal(signal) => {
            kill_all(&cluster).await;
            let code = u8::try_from(ENDED_BY_SIGNAL + signal).unwrap_or(u8::MAX);
            Ok(ExitCode::from(code))
        }
        Ended::Master { outcome, asked } => {
            let story = last_words(telling).await;
            judge(arguments, &cluster, outcome, &story, asked)
        }
    };
    control.end().await;
    code
}

/// A cluster that cannot be had with these settings is a matter for whoever chose them.
fn unsettled(error: ClusterError) -> anyhow::Error {
    match error {
        ClusterError::Setting(reason) => Misuse(reason).into(),
        ClusterError::IsWorker | ClusterError::Ended | ClusterError::Io(_) | _ => error.into(),
    }
}

/// Opens what events are written into.
fn target(file: Option<&Path>) -> Result<journal::Target, Misuse> {
    let Some(file) = file else {
        return Ok(journal::Target::StandardError);
    };
    let opened = File::create(file).map_err(|error| cannot_write(file, &error))?;
    Ok(journal::Target::File(Some(opened)))
}

fn cannot_write(file: &Path, error: &io::Error) -> Misuse {
    Misuse(format!("cannot write {}: {error}", file.display()))
}

/// Returns what commands call the app.
fn name(arguments: &RunArguments) -> AppName {
    let program = arguments.program.as_deref();
    let default = || AppName::of_program(program.unwrap_or("demo".as_ref()).as_ref());
    arguments.name.clone().unwrap_or_else(default)
}

async fn attend(cluster: &Cluster, steward: &Arc<Foreground>, signals: &mut Signals) -> Ended {
    loop {
        tokio::select! {
            outcome = cluster.finished() => {
                let asked = steward.was_killed();
                return Ended::Master { outcome, asked };
            }
            wish = signals.next() => match wish {
                Wish::End(_) => break,
                wish @ (Wish::Reload | Wish::More | Wish::Fewer) => obey(steward.clone(), wish),
            },
        }
    }
    tokio::select! {
        outcome = cluster.shutdown() => Ended::Master { outcome, asked: true },
        signal = second(signals) => Ended::BySignal(signal),
    }
}

/// Waits for the signal that cuts the end short. Wishes for the future have none any more.
async fn second(signals: &mut Signals) -> i32 {
    loop {
        if let Wish::End(signal) = signals.next().await {
            return signal;
        }
    }
}

/// Does what a signal asks for, as a command would; signals meanwhile are heard.
fn obey(steward: Arc<Foreground>, wish: Wish) {
    tokio::spawn(async move {
        let app = steward.name().clone();
        let done = match wish {
            Wish::More => steward.scale(&app, Target::More(1)).await.map(drop),
            Wish::Fewer => steward.scale(&app, Target::Fewer(1)).await.map(drop),
            Wish::Reload => {
                let whom = Whom { app, slot: None };
                steward.change(GENTLE_RELOAD, &whom).await.map(drop)
            }
            Wish::End(_) => Ok(()),
        };
        if let Err(refusal) = done {
            super::complain(&refusal.to_string());
        }
    });
}

/// Kills every worker with all that it started, and waits until they are gone.
async fn kill_all(cluster: &Cluster) {
    let killing = async {
        // The master's end is the workers' end, too: then there is nobody to kill.
        for worker in cluster.workers().await.unwrap_or_default().values() {
            worker.kill(SIGKILL).await;
        }
        cluster.finished().await
    };
    timeout(LAST_WAIT, killing).await.map(drop).unwrap_or(());
}

/// Waits until the last event is written, but not for a terminal that does not read.
async fn last_words(telling: JoinHandle<Story>) -> Story {
    let told = timeout(LAST_WAIT, telling).await;
    told.ok().and_then(Result::ok).unwrap_or_default()
}

fn judge(
    arguments: &RunArguments,
    cluster: &Cluster,
    outcome: Outcome,
    story: &Story,
    asked: bool,
) -> anyhow::Result<ExitCode> {
    match outcome {
        Outcome::Done if asked => Ok(ExitCode::SUCCESS),
        Outcome::Done => bail!("the master ended although nobody had asked it to"),
        Outcome::Cut => bail!("connections were cut at the drain deadline"),
        Outcome::Errored => {
            let lines = story.tell_given_up(|worker| cluster.last_lines(worker));
            bail!("every worker was given up; --stay would have waited for you{lines}")
        }
        Outcome::BootFailed { .. } => {
            if let (None, Some((errno, reason))) = (&arguments.program, story.listen_failure()) {
                let address = arguments.demo.listen;
                bail!(cannot_listen(address, reason, Some(*errno)));
            }
            let lines = story.tell(|worker| cluster.last_lines(worker));
            bail!("no worker came up{lines}")
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArguments,
    }

    fn read(line: &str) -> RunArguments {
        let words = format!("run {line}");
        Line::try_parse_from(words.split_whitespace()).unwrap().run
    }

    #[test]
    fn a_negative_number_of_instances_is_no_option() {
        for line in ["-i -1", "-i-1", "--instances -1", "--instances=-1"] {
            assert_eq!(read(line).instances, Instances::AllBut(1), "{line}");
        }
    }

    #[test]
    fn what_follows_the_two_dashes_is_the_programs() {
        let arguments = read("-i 2 /bin/echo -- -i 3 --");
        assert_eq!(arguments.program.as_deref(), Some("/bin/echo".as_ref()));
        assert_eq!(arguments.args, ["-i", "3", "--"]);
        assert_eq!(arguments.instances, Instances::Exactly(2));
        let settings = settings(&arguments).unwrap();
        assert_eq!(settings.exec, Some("/bin/echo".into()));
        assert_eq!(settings.args.unwrap(), ["-i", "3", "--"]);
    }

    #[test]
    fn the_demo_runs_this_very_file() {
        let settings = settings(&read("--listen 127.0.0.1:0 --work 7")).unwrap();
        assert_eq!(settings.exec, Some(std::env::current_exe().unwrap()));
        let args = settings.args.unwrap();
        assert_eq!(
            args,
            [demo::COMMAND, "--listen", "127.0.0.1:0", "--work", "7"]
        );
    }

    #[test]
    fn times_and_numbers_reach_the_settings() {
        let arguments = read("--listen 127.0.0.1:0 --window 2 --pending-max 3 --drain-timeout 2s");
        let settings = settings(&arguments).unwrap();
        assert_eq!((settings.window, settings.pending_max), (Some(2), Some(3)));
        let limits = settings.limits.unwrap();
        assert_eq!(limits.drain_timeout, Duration::from_secs(2));
        assert_eq!(settings.keepalive_grace, Some(Duration::from_secs(1)));
    }
}
