//! Runs this program under valgrind's callgrind and reads what it counted.
//!
//! Nothing but valgrind is needed: no runner that has to be built first, and no call from the
//! program into valgrind, which would need `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The function in which is counted, whatever stands around its name.
const COUNTED: &str = "*counted_turns*";

/// The function after which is written down what was counted. It is another one, since of two
/// options that fit one function callgrind may obey the first alone.
const PLAYED: &str = "*play_case*";

/// Returns what was counted for each case, in that order.
///
/// # Errors
///
/// Valgrind is missing or failed, or counted nothing, or not `expected` cases; in words.
pub(crate) fn totals(argument: &str, expected: usize) -> Result<Vec<u64>, String> {
    let folder = TempDir::new().map_err(|error| format!("no folder for counts: {error}"))?;
    run(argument, folder.path())?;
    let totals = (1..=expected)
        .map(|part| total(folder.path(), part))
        .collect::<Result<Vec<u64>, String>>()?;
    if part(folder.path(), expected + 1).exists() {
        return Err(format!("{PLAYED} ended more than {expected} times"));
    }
    Ok(totals)
}

/// Returns the file that callgrind writes after the n-th case, from 1.
fn part(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("counts.{number}"))
}

fn total(folder: &Path, number: usize) -> Result<u64, String> {
    let path = part(folder, number);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("{PLAYED} ended fewer than {number} times: {error}"))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|number| number.trim().parse().ok());
    // Nothing counted would be within every bound.
    total
        .filter(|total| *total > 0)
        .ok_or_else(|| format!("nothing was counted in {COUNTED} for case {number}"))
}

#[expect(clippy::disallowed_methods, reason = "valgrind is no worker")]
fn run(argument: &str, folder: &Path) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={PLAYED}"))
        .arg(format!(
            "--callgrind-out-file={}",
            folder.join("counts").display()
        ))
        .arg(program)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind cannot be started, is it installed? {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("valgrind: {}: {said}", output.status));
    }
    Ok(())
}
