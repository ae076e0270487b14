//! Which file a program's name means.
//!
//! It is looked up once, at the start: workers that are started later run the same path,
//! whatever has become of PATH and of the working directory.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Returns the absolute path of a program: looked for in `search_path` if its name has no
/// slash, as a shell does.
///
/// # Errors
///
/// What is wrong, and what would be right.
pub(crate) fn resolve(program: &OsStr, search_path: Option<OsString>) -> Result<PathBuf, String> {
    let name = program.to_string_lossy();
    if !name.contains('/') {
        return search(program, search_path);
    }
    let path = std::path::absolute(program)
        .map_err(|error| format!("the program {name} has no absolute path: {error}"))?;
    let file = path
        .metadata()
        .map_err(|error| format!("the program {name} cannot be run: {error}; give its path"))?;
    if file.is_dir() {
        return Err(format!(
            "the program {name} is a directory; give the path of a file in it"
        ));
    }
    if !is_executable(&path) {
        return Err(format!(
            "the program {name} is not executable; try chmod +x {name}"
        ));
    }
    Ok(path)
}

/// Returns the absolute path of a script. Its interpreter only reads it, so it need not be
/// executable, and PATH is not asked.
///
/// # Errors
///
/// What is wrong, and what would be right.
pub(crate) fn resolve_script(script: &OsStr) -> Result<PathBuf, String> {
    let name = script.to_string_lossy();
    let path = std::path::absolute(script)
        .map_err(|error| format!("the script {name} has no absolute path: {error}"))?;
    match path.metadata() {
        Ok(file) if file.is_dir() => Err(format!(
            "the script {name} is a directory; give the path of a file in it"
        )),
        Ok(_) => Ok(path),
        Err(error) => Err(format!(
            "the script {name} cannot be run: {error}; give its path"
        )),
    }
}

fn search(program: &OsStr, search_path: Option<OsString>) -> Result<PathBuf, String> {
    let name = program.to_string_lossy();
    let directories = search_path.unwrap_or_default();
    // An empty name joined to a directory is the directory, which is no file.
    let found = std::env::split_paths(&directories)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file() && is_executable(candidate));
    if let Some(found) = found {
        return std::path::absolute(&found).map_err(|error| error.to_string());
    }
    let hint = if Path::new(program).exists() && !program.is_empty() {
        format!("; for the file here, say ./{name}")
    } else {
        "; give its path, or leave it out for the built-in demo".to_owned()
    };
    Err(format!("there is no program {name:?} in PATH{hint}"))
}

fn is_executable(path: &Path) -> bool {
    access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory with an executable `app` and a plain `notes`.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, mode) in [("app", 0o755), ("notes", 0o644)] {
            let file = directory.path().join(name);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        directory
    }

    fn look_up(program: impl AsRef<OsStr>, directory: &Path) -> Result<PathBuf, String> {
        resolve(program.as_ref(), Some(directory.into()))
    }

    #[test]
    fn a_name_without_a_slash_is_looked_for_in_the_path() {
        let directory = directory();
        let found = look_up("app", directory.path()).unwrap();
        assert_eq!(found, directory.path().join("app"));
    }

    #[test]
    fn a_name_with_a_slash_is_a_path_and_becomes_absolute() {
        let directory = directory();
        let path = directory.path().join("app");
        assert_eq!(look_up(&path, Path::new("/nowhere")), Ok(path));
        assert!(look_up("/bin/../bin/sh", directory.path()).is_ok());
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_reason() {
        let directory = directory();
        let notes = directory.path().join("notes");
        for (program, reason) in [
            (notes.as_os_str(), "chmod +x"),
            (directory.path().as_os_str(), "directory"),
            (OsStr::new("./no-such-program"), "No such file"),
            (OsStr::new("notes"), "in PATH"),
            (OsStr::new("no-such-program"), "in PATH"),
            (OsStr::new(""), "in PATH"),
        ] {
            let refusal = look_up(program, directory.path()).unwrap_err();
            assert!(refusal.contains(reason), "{program:?}: {refusal}");
            assert_eq!(refusal.lines().count(), 1);
        }
    }
}
