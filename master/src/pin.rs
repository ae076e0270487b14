//! Slots whose workers run another program than the settings say, for as long as that is wanted.

use std::path::{Path, PathBuf};

use maitred_core::id::SlotId;

use crate::cluster::{Cluster, ClusterError};
use crate::launch::{dialect, interpreter};
use crate::settings::Settings;
use crate::shell::command::Command;

impl Cluster {
    /// Lets the workers that are started from now on in these slots run this program, whatever
    /// the settings say; with `None`, again what the settings say. All else (arguments, language,
    /// interpreter) stays as with the settings' own program.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub async fn pin(
        &self,
        slots: Vec<SlotId>,
        program: Option<PathBuf>,
    ) -> Result<(), ClusterError> {
        self.ask(Command::Pin { slots, program }).await
    }
}

/// Returns the settings by which a worker that is pinned to a program is started.
pub(crate) fn pinned(settings: &Settings, program: &Path) -> Settings {
    let mut pinned = settings.clone();
    if let Some(named) = &settings.exec {
        // What its own name says of it may be different, if the name is a link.
        pinned.dialect = Some(dialect(settings, named));
        pinned.interpreter = interpreter(settings, named);
    }
    pinned.exec = Some(program.to_owned());
    pinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{Dialect, Launch};
    use std::ffi::OsStr;

    #[test]
    fn a_pinned_program_is_started_as_the_one_that_was_named() {
        let settings = Settings::new().exec("/srv/current.js").args(["--quick"]);
        let launch = Launch::of(&pinned(&settings, Path::new("/srv/releases/7"))).unwrap();
        assert_eq!(launch.program, Path::new("node"));
        let line: Vec<&OsStr> = launch.args.iter().map(AsRef::as_ref).collect();
        assert_eq!(line, ["/srv/releases/7", "--quick"]);
        assert_eq!(launch.dialect, Dialect::Node);
    }
}
