//! How workers are started: the options about interpreters, surroundings and users.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use maitred::{Dialect, LINE_MAX, NODE, Settings, is_script};
use nix::unistd::{Group, User, geteuid};

use super::{Misuse, program};

/// The oldest Node whose channel was tried; what is older has been out of care since 2023.
const NODE_OLDEST: (u32, u32) = (18, 0);

/// The first Node that runs TypeScript by itself (its release notes).
const NODE_OF_TYPESCRIPT: (u32, u32) = (22, 18);

/// Later ones that do not: they came before it.
const NODES_WITHOUT: Range<(u32, u32)> = (23, 0)..(23, 6);

/// Where Node finds options in its environment.
const NODE_OPTIONS: &str = "NODE_OPTIONS";

/// Shortest limit of a message: Node's own words have to fit, of which a TLS server's is the
/// longest.
const LINE_LEAST: u64 = 64 * 1024;

/// Longest limit of a message: a worker may fill that much of the master's memory.
const LINE_MOST: u64 = 1024 * 1024 * 1024;

/// How workers are started.
#[derive(Debug, Args)]
#[command(next_help_heading = "How workers are started")]
pub(super) struct LaunchArguments {
    /// How workers are talked to: `native` (the Rust library's way), `node` (as Node's cluster
    /// does), or `none` (not at all: the program listens by itself) [default: by the ending]
    #[arg(long = "ipc", value_name = "WAY", requires = "program")]
    dialect: Option<Dialect>,

    /// What runs the program [default: node for .js, .mjs, .cjs, .ts and .mts]
    #[arg(long, value_name = "PROGRAM", requires = "program")]
    interpreter: Option<OsString>,

    /// Options of the interpreter, such as '--max-old-space-size=512'; may be given several times
    #[arg(
        long,
        value_name = "OPTIONS",
        requires = "program",
        allow_hyphen_values = true
    )]
    node_args: Vec<String>,

    /// Do not load maitred's helper into Node workers: no polite drain, pongs and figures then
    #[arg(long)]
    no_preload: bool,

    /// Tell a worker that has to leave so by the message "shutdown", as pm2 does
    #[arg(long)]
    shutdown_with_message: bool,

    /// The longest message that a Node program may send to the master, or be sent, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = LINE_MAX as u64,
        value_parser = clap::value_parser!(u64).range(LINE_LEAST..=LINE_MOST))]
    message_max: u64,

    /// The directory that workers start in [default: this one]
    #[arg(long, value_name = "DIRECTORY")]
    cwd: Option<PathBuf>,

    /// A variable of the workers' environment, such as PORT=8080; may be given several times
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,

    /// The variable that tells a worker its slot: 0, 1, … [default: NODE_APP_INSTANCE, and none
    /// for Rust programs]
    #[arg(long, value_name = "NAME", value_parser = variable_name)]
    instance_var: Option<String>,

    /// The user that workers run as, by name or number
    #[arg(long, value_name = "USER", value_parser = user)]
    uid: Option<u32>,

    /// The group that workers run as, by name or number
    #[arg(long, value_name = "GROUP", value_parser = group)]
    gid: Option<u32>,
}

impl LaunchArguments {
    /// Returns how workers running `program` are talked to.
    pub(super) fn dialect(&self, program: &Path) -> Dialect {
        self.dialect.unwrap_or_else(|| Dialect::of_program(program))
    }

    /// Adds what is to be run, and how.
    ///
    /// # Errors
    ///
    /// What is not there, or cannot be run, or not by this Node.
    pub(super) fn apply(
        &self,
        mut settings: Settings,
        program: &OsStr,
    ) -> Result<Settings, Misuse> {
        let search_path = std::env::var_os("PATH");
        let path = if self.interpreter.is_some() || is_script(Path::new(program)) {
            let interpreter = self.interpreter(search_path)?;
            let node_args = self.node_args();
            if self.dialect(Path::new(program)) == Dialect::Node && self.is_node() {
                let is_plain = node_args.is_empty() && self.has_no_options();
                check_version(&interpreter, Path::new(program), is_plain)?;
            }
            settings = settings.interpreter(interpreter).node_args(node_args);
            program::resolve_script(program).map_err(Misuse)?
        } else {
            program::resolve(program, search_path).map_err(Misuse)?
        };
        settings.dialect = self.dialect;
        Ok(settings.exec(path))
    }

    /// Has Node workers load the preload, which lies in `home`. Those that run as another user
    /// cannot read it there, and do without.
    pub(super) fn preload(&self, settings: Settings, home: &Path) -> Settings {
        let is_other = self.uid.is_some_and(|uid| uid != geteuid().as_raw());
        if self.no_preload || is_other {
            return settings;
        }
        settings.preload(home)
    }

    /// Adds what holds for the built-in demo, too.
    ///
    /// # Errors
    ///
    /// A directory that is not there.
    pub(super) fn surroundings(&self, mut settings: Settings) -> Result<Settings, Misuse> {
        settings.line_max = Some(usize::try_from(self.message_max).unwrap_or(usize::MAX));
        settings.shutdown_with_message = Some(self.shutdown_with_message);
        settings.instance_var = self.instance_var.clone().map(Into::into);
        for (name, value) in &self.variables {
            settings = settings.env(name, value);
        }
        if let Some(directory) = &self.cwd {
            if !directory.is_dir() {
                let name = directory.display();
                return Err(Misuse(format!("there is no directory {name}")));
            }
            settings = settings.cwd(directory);
        }
        Ok(settings.run_as(self.uid, self.gid))
    }

    fn interpreter(&self, search_path: Option<OsString>) -> Result<PathBuf, Misuse> {
        let Some(named) = &self.interpreter else {
            return program::resolve(OsStr::new(NODE), search_path).map_err(|_| {
                let advice = "install Node 18 or newer, or name one with --interpreter";
                Misuse(format!("there is no program \"{NODE}\" in PATH; {advice}"))
            });
        };
        program::resolve(named, search_path).map_err(Misuse)
    }

    /// Tells whether Node itself is to run the program. What others print when they are asked for
    /// a version is their own.
    fn is_node(&self) -> bool {
        let named = self.interpreter.as_ref();
        named.is_none_or(|named| Path::new(named).file_name() == Some(OsStr::new(NODE)))
    }

    /// Tells whether Node gets no options by its environment, in which they may load anything.
    fn has_no_options(&self) -> bool {
        let mut given = self.variables.iter().rev();
        match given.find(|(name, _)| name == NODE_OPTIONS) {
            Some((_, value)) => value.trim().is_empty(),
            None => std::env::var_os(NODE_OPTIONS).is_none_or(|value| value.is_empty()),
        }
    }

    fn node_args(&self) -> Vec<&str> {
        let words = self.node_args.iter();
        words
            .flat_map(|options| options.split_whitespace())
            .collect()
    }
}

/// Refuses a Node that cannot be what this script needs. One that does not tell a version is
/// believed.
fn check_version(node: &Path, script: &Path, is_plain: bool) -> Result<(), Misuse> {
    let Some(version) = version(node) else {
        return Ok(());
    };
    let name = node.display();
    let (major, minor) = version;
    if version < NODE_OLDEST {
        return Err(Misuse(format!(
            "{name} is Node {major}.{minor}; maitred needs 18 or newer (see --interpreter)"
        )));
    }
    let ending = script.extension().unwrap_or_default();
    let is_typescript = ending == "ts" || ending == "mts";
    if is_typescript && is_plain && !runs_typescript(version) {
        let script = script.display();
        return Err(Misuse(format!(
            "{name} is Node {major}.{minor}, which does not run {script}; use 22.18, 23.6 or \
             newer, or load what does, such as with --node-args='--import tsx'"
        )));
    }
    Ok(())
}

fn runs_typescript(version: (u32, u32)) -> bool {
    version >= NODE_OF_TYPESCRIPT && !NODES_WITHOUT.contains(&version)
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks a program for its version, before there is a master"
)]
fn version(node: &Path) -> Option<(u32, u32)> {
    let told = std::process::Command::new(node)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&told.stdout))
}

/// Reads what `node --version` prints.
fn parse_version(told: &str) -> Option<(u32, u32)> {
    let mut numbers = told.trim().strip_prefix('v')?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give a name, an equals sign and a value, such as PORT=8080".to_owned()),
    }
}

fn variable_name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains('=') {
        true => Err("give a name such as INSTANCE, without an equals sign".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn user(text: &str) -> Result<u32, String> {
    let named = || Some(User::from_name(text).ok()??.uid.as_raw());
    let number = text.parse().ok();
    number
        .or_else(named)
        .ok_or_else(|| "there is no such user".to_owned())
}

fn group(text: &str) -> Result<u32, String> {
    let named = || Some(Group::from_name(text).ok()??.gid.as_raw());
    let number = text.parse().ok();
    number
        .or_else(named)
        .ok_or_else(|| "there is no such group".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_node_prints_it() {
        assert_eq!(parse_version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(parse_version("v23.6.0-nightly"), Some((23, 6)));
        assert_eq!(parse_version("1.2.3"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn versions_that_run_typescript_have_a_gap() {
        for (version, runs) in [
            ((22, 17), false),
            ((22, 18), true),
            ((22, 19), true),
            ((23, 0), false),
            ((23, 5), false),
            ((23, 6), true),
            ((24, 0), true),
        ] {
            assert_eq!(runs_typescript(version), runs, "{version:?}");
        }
    }

    #[test]
    fn a_variable_has_a_name_and_a_value() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(variable("A=b=c"), pair("A", "b=c"));
        assert_eq!(variable("A="), pair("A", ""));
        assert!(variable("=b").is_err() && variable("A").is_err());
        assert_eq!(variable_name("SEAT"), Ok("SEAT".to_owned()));
        assert!(variable_name("").is_err() && variable_name("A=").is_err());
    }

    #[test]
    fn users_and_groups_have_names_and_numbers() {
        assert_eq!((user("root"), group("root")), (Ok(0), Ok(0)));
        assert_eq!(
            (user("1234567"), group("7654321")),
            (Ok(1_234_567), Ok(7_654_321))
        );
        assert!(user("no-such-user").is_err() && group("no-such-group").is_err());
    }
}
