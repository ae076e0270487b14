//! Who is compared, and how each is started.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use maitred_tests::harness::{Home, program};

use super::server::{Server, Start, free_port};

/// Where the programs of the contenders lie.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/contenders");

/// Who serves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Contender {
    /// `maitred run --policy …`, with workers in Rust or Node.
    Maitred { policy: &'static str, app: App },
    /// Processes with a listening socket each: the same Rust program without a master.
    Reuseport,
    /// The same Rust program in one process.
    Single,
    /// nginx, answering by itself.
    Nginx,
    /// Node's own cluster; `shared` has its workers accept for themselves.
    NodeCluster { shared: bool },
    /// The same Node program in one process.
    NodeSingle,
}

/// What maitred's workers run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum App {
    /// The Rust program that `Reuseport` runs.
    Rust,
    /// The Node program that `NodeCluster` runs.
    Node,
    /// The same without the preload.
    NodePlain,
}

impl Contender {
    /// Starts it with so many workers, whose busy handler makes so many turns.
    ///
    /// # Errors
    ///
    /// It cannot run here; in words.
    pub(crate) fn start(self, workers: usize, turns: u64) -> Result<Server, String> {
        self.start_in(Home::new(), workers, turns, &[])
    }

    /// Starts it with events in the file `record` of its directory.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub(crate) fn start_recorded(self, workers: usize) -> Result<Server, String> {
        let home = Home::new();
        let record = home.join("record").into_os_string();
        let extra = [
            "--events".into(),
            "json".into(),
            "--events-file".into(),
            record,
        ];
        self.start_in(home, workers, 0, &extra)
    }

    fn start_in(
        self,
        home: Home,
        workers: usize,
        turns: u64,
        extra: &[OsString],
    ) -> Result<Server, String> {
        let port = free_port();
        let (mut words, has_front) = self.words(&home, workers, port)?;
        words.splice(2..2, extra.iter().cloned());
        let mut environment = vec![
            ("LESSON_TURNS", turns.to_string().into()),
            ("PORT", port.to_string().into()),
        ];
        if matches!(self, Self::NodeCluster { shared: true }) {
            environment.push(("NODE_CLUSTER_SCHED_POLICY", "none".into()));
        }
        let alone = matches!(self, Self::Single | Self::NodeSingle);
        let processes = if alone { 1 } else { workers + 1 };
        Server::start(
            Start {
                words,
                environment,
                has_front,
                processes,
            },
            port,
            home,
        )
    }

    /// Returns the command line, and whether its first process is a front.
    fn words(
        self,
        home: &Home,
        workers: usize,
        port: u16,
    ) -> Result<(Vec<OsString>, bool), String> {
        let count = workers.to_string();
        let address = format!("127.0.0.1:{port}");
        let rust = example("reuseport");
        Ok(match self {
            Self::Maitred { policy, app } => {
                let maitred = program("maitred");
                let mut words = words([maitred.as_os_str(), "run".as_ref()]);
                words.extend(["--policy", policy, "-i", &count, "--name", "bench"].map(Into::into));
                match app {
                    App::Rust => {
                        words.extend([rust.into(), "--".into(), address.into()]);
                    }
                    App::Node => words.push(contender("app.js").into()),
                    App::NodePlain => {
                        words.extend(["--no-preload".into(), contender("app.js").into()]);
                    }
                }
                (words, true)
            }
            Self::Reuseport => (words([rust, address.into(), count.into()]), false),
            Self::Single => (words([rust, address.into()]), false),
            Self::Nginx => {
                let file = configure_nginx(home, workers, port).map_err(|e| e.to_string())?;
                (words(["nginx".into(), "-c".into(), file]), false)
            }
            Self::NodeCluster { .. } => {
                let app = contender("app.js");
                (
                    words(["node".into(), contender("cluster.js"), count.into(), app]),
                    true,
                )
            }
            Self::NodeSingle => (words(["node".into(), contender("app.js")]), false),
        })
    }
}

fn words<W: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = W>) -> Vec<OsString> {
    words
        .into_iter()
        .map(|word| word.as_ref().to_owned())
        .collect()
}

fn contender(name: &str) -> PathBuf {
    Path::new(PROGRAMS).join(name)
}

/// An example lies in a folder of its own, beside that of this program.
fn example(name: &str) -> PathBuf {
    let maitred = program("maitred");
    let folder = maitred.parent().unwrap_or(Path::new("."));
    folder.join("examples").join(name)
}

fn configure_nginx(home: &Home, workers: usize, port: u16) -> std::io::Result<PathBuf> {
    let filled = fs::read_to_string(contender("nginx.conf"))?
        .replace("@WORKERS@", &workers.to_string())
        .replace("@PORT@", &port.to_string())
        .replace("@DIRECTORY@", &home.join("").to_string_lossy());
    let file = home.join("nginx.conf");
    fs::write(&file, filled)?;
    Ok(file)
}
