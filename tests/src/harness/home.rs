//! A place of its own for each cluster, and the mark by which its processes are known.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// The variable that every process of a test's cluster inherits.
const MARK: &str = "MAITRED_TEST";

/// A directory for one cluster (`MAITRED_HOME`, sockets, traces), removed at the end; and the
/// name under which its processes are found.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    mark: String,
}

impl Home {
    /// Makes one, for everyone to use: some tests run as nobody.
    ///
    /// # Panics
    ///
    /// If the system refuses a directory.
    #[expect(
        clippy::new_without_default,
        reason = "it makes a directory, which no default should"
    )]
    #[must_use]
    pub fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new()
            .prefix("maitred-test-")
            .tempdir()
            .expect("the system grants a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777))
            .expect("the directory is this process's own");
        Self {
            directory,
            mark: format!("{}-{number}", process::id()),
        }
    }

    /// Returns the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a path in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Returns the variable that marks the cluster's processes, and its value.
    #[must_use]
    pub fn mark(&self) -> (&str, &str) {
        (MARK, &self.mark)
    }
}
