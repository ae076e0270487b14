//! The programs that tests start: where they lie, and those that change under a master.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Home;

/// Returns the path of a program of this workspace: `maitred`, `test_worker` …
///
/// Cargo puts them beside the folder in which the running test lies. It builds this package's
/// own programs before its tests, but those of other packages only when it is told to. Others
/// than those, such as the optimised ones of `tests/run --long`, are named by `MAITRED_PROGRAMS`.
///
/// # Panics
///
/// If it was not built, with the command that does.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let program = folder().join(name);
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build --workspace --all-targets` first",
        program.display()
    );
    program
}

fn folder() -> PathBuf {
    if let Some(named) = env::var_os("MAITRED_PROGRAMS") {
        return named.into();
    }
    let test = env::current_exe().expect("a running program has a path");
    let folder = test.ancestors().nth(2);
    folder.expect("a test lies in target/*/deps").to_owned()
}

/// Returns the path of a Node program of the tests: `express.js` …
///
/// # Panics
///
/// If the packages are missing that they use, with the command that installs them.
#[must_use]
pub fn node_program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
    assert!(
        folder.join("node_modules").is_dir(),
        "the packages of the Node programs are missing: run `npm ci --prefix tests/node` first"
    );
    folder.join(name)
}

/// A program that is replaced while workers of it run: a script that is another one each time.
#[derive(Debug)]
pub struct Changing {
    home: Home,
}

impl Changing {
    /// Makes one that is a `test_worker`.
    #[expect(
        clippy::new_without_default,
        reason = "it makes a file, which no default should"
    )]
    #[must_use]
    pub fn new() -> Self {
        let program = Self { home: Home::new() };
        program.mend();
        program
    }

    /// Returns its path, which stays.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.home.join("server")
    }

    /// Makes it a `test_worker` again.
    pub fn mend(&self) {
        let good = program("test_worker");
        self.become_script(&format!("exec '{}' \"$@\"", good.display()));
    }

    /// Makes it a script of the shell with this body, in one step, as an installer does.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn become_script(&self, body: &str) {
        let new = self.home.join("server.new");
        let written = write(&new, body).and_then(|()| fs::rename(new, self.path()));
        written.expect("the directory is this process's own");
    }
}

fn write(path: &Path, body: &str) -> std::io::Result<()> {
    fs::write(path, format!("#!/bin/sh\n{body}\n"))?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}
