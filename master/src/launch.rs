//! Which program a worker runs, and which language it is spoken to in.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::settings::Settings;

/// What runs a script when nothing else is named.
pub const NODE: &str = "node";

/// Endings of files that Node runs. Node itself runs the last two from 22.18 and 23.6 on.
const SCRIPTS: [&str; 5] = ["js", "mjs", "cjs", "ts", "mts"];

/// How a master and its workers talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// By maitred's own protocol, as the library `maitred-worker` speaks it.
    Native,
    /// As Node's cluster does with its child processes: Node programs need no change.
    Node,
    /// Not at all: the program is started, watched and restarted, and listens by itself.
    None,
}

impl Dialect {
    /// Returns the language that a program's name suggests: Node's for scripts.
    #[must_use]
    pub fn of_program(program: &Path) -> Self {
        if is_script(program) {
            Self::Node
        } else {
            Self::Native
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::Node => "node",
            Self::None => "none",
        })
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "native" => Ok(Self::Native),
            "node" => Ok(Self::Node),
            "none" => Ok(Self::None),
            _ => Err("it is native, node or none".into()),
        }
    }
}

/// Returns whether a file is a script for Node, by its ending.
#[must_use]
pub fn is_script(program: &Path) -> bool {
    let ending = program.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| SCRIPTS.contains(&ending))
}

/// What a worker's process is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) dialect: Dialect,
}

impl Launch {
    /// Says what these settings start; `None` if they name no program.
    ///
    /// An interpreter gets its own options first, then the script, then the script's arguments,
    /// so that a script sees what it would see when it is started by hand.
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        let exec = settings.exec.clone()?;
        let dialect = dialect(settings, &exec);
        let args = settings.args.clone().unwrap_or_default();
        let Some(interpreter) = interpreter(settings, &exec) else {
            return Some(Self {
                program: exec,
                args,
                dialect,
            });
        };
        let mut line = settings.node_args.clone().unwrap_or_default();
        line.push(exec.into());
        line.extend(args);
        Some(Self {
            program: interpreter,
            args: line,
            dialect,
        })
    }
}

/// Returns the language in which these settings talk to a program.
pub(crate) fn dialect(settings: &Settings, exec: &Path) -> Dialect {
    settings
        .dialect
        .unwrap_or_else(|| Dialect::of_program(exec))
}

pub(crate) fn interpreter(settings: &Settings, exec: &Path) -> Option<PathBuf> {
    let default = || is_script(exec).then(|| NODE.into());
    settings.interpreter.clone().or_else(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_who_runs_it() {
        for script in ["app.js", "./app.mjs", "/srv/app.cjs", "a.b.ts", "app.mts"] {
            assert_eq!(
                Dialect::of_program(Path::new(script)),
                Dialect::Node,
                "{script}"
            );
        }
        for program in ["app", "js", "./app.json", "/srv/app.jsx", ".js"] {
            assert_eq!(
                Dialect::of_program(Path::new(program)),
                Dialect::Native,
                "{program}"
            );
        }
    }

    #[test]
    fn a_script_stands_behind_its_interpreters_options() {
        let settings = Settings::new().exec("app.js").args(["--port", "1"]);
        let settings = settings
            .interpreter("/opt/node")
            .node_args(["--no-warnings"]);
        let launch = Launch::of(&settings).unwrap();
        assert_eq!(launch.program, Path::new("/opt/node"));
        assert_eq!(launch.args, ["--no-warnings", "app.js", "--port", "1"]);
        assert_eq!(launch.dialect, Dialect::Node);
    }

    #[test]
    fn a_program_is_run_as_it_is() {
        let launch = Launch::of(&Settings::new().exec("/bin/server").args(["-v"])).unwrap();
        assert_eq!(launch.program, Path::new("/bin/server"));
        assert_eq!(launch.args, ["-v"]);
        assert_eq!(launch.dialect, Dialect::Native);
        assert_eq!(Launch::of(&Settings::new()), None);
    }

    #[test]
    fn the_language_can_be_told() {
        let settings = Settings::new().exec("app.js").dialect(Dialect::None);
        let launch = Launch::of(&settings).unwrap();
        assert_eq!(
            launch.program,
            Path::new("node"),
            "it is a script all the same"
        );
        assert_eq!(launch.dialect, Dialect::None);
    }

    #[test]
    fn a_language_is_read_as_it_is_written() {
        for dialect in [Dialect::Native, Dialect::Node, Dialect::None] {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        assert!("pm2".parse::<Dialect>().is_err());
    }
}
