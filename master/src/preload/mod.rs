//! What a Node worker loads before its program, and how it comes to load it.
//!
//! `preload.cjs` says what it does there. Here it is written where the worker finds it, and the
//! worker's environment is made: Node takes options from `NODE_OPTIONS`, so no argument of the
//! program's changes, and the preload takes itself out of the environment again.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// What Node is to run before the program.
const PRELOAD: &str = include_str!("preload.cjs");

/// Node reads more options from here.
pub(crate) const NODE_OPTIONS: &str = "NODE_OPTIONS";

/// Where the preload finds what `NODE_OPTIONS` was: empty if it was not set, else `=` and the
/// value. It is always set, since its presence is how the preload knows that it is to act.
const CARRIER: &str = "MAITRED_NODE_OPTIONS";

/// Only the owner may change what the workers run.
const MODE: u32 = 0o600;

/// Writes the preload into `directory`, unless it is there already, and returns its path.
///
/// The name says what is in it, so that two versions of the program can share a directory. It
/// appears whole or not at all: a worker may start while another master writes. Threads of a
/// worker load it whenever they begin, so it must not be removed while workers live.
///
/// # Errors
///
/// Whatever the file system says.
pub(crate) fn write(directory: &Path) -> io::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    let name = format!("preload-{:016x}.cjs", fingerprint(PRELOAD.as_bytes()));
    let path = directory.join(&name);
    if is_written(&path)? {
        return Ok(path);
    }
    // Nobody else has this name, so that two who write at once do not mix.
    let draft = directory.join(format!(".{name}.{:016x}", fastrand::u64(..)));
    let written = write_draft(&draft).and_then(|()| std::fs::rename(&draft, &path));
    if written.is_err() {
        // What went wrong is told below; that the draft stays behind, too, helps nobody.
        std::fs::remove_file(&draft).unwrap_or_default();
    }
    written.map(|()| path)
}

fn is_written(path: &Path) -> io::Result<bool> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    // The length first: whatever lies there is not read into memory unless it can be ours.
    let may_be_ours = found.is_file()
        && found.len() == PRELOAD.len() as u64
        && found.mode() & 0o777 == MODE
        && found.uid() == rustix::process::geteuid().as_raw();
    Ok(may_be_ours && std::fs::read(path)? == PRELOAD.as_bytes())
}

fn write_draft(draft: &Path) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(draft)?;
    file.write_all(PRELOAD.as_bytes())?;
    // Or the name could survive a power cut and the content not.
    file.sync_all()
}

/// Returns FNV-1a's 64 bits. They tell versions apart; nobody relies on them for more, since
/// the content is compared.
const fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut place = 0;
    while place < bytes.len() {
        hash ^= bytes[place] as u64;
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        place += 1;
    }
    hash
}

/// Returns the variables that make a worker load the preload at `file`, an absolute path, given
/// what the user has in `NODE_OPTIONS`.
///
/// `None` says that it has to do without: the value could not be given back to the letter, or
/// is one with which Node refuses to start, as it then shall.
#[must_use]
pub(crate) fn variables(
    user: Option<&OsStr>,
    file: &Path,
) -> Option<[(&'static str, OsString); 2]> {
    let options = options(user, file)?;
    let carried = user.map_or_else(OsString::new, |user| {
        let mut carried = OsString::from("=");
        carried.push(user);
        carried
    });
    Some([(NODE_OPTIONS, options), (CARRIER, carried)])
}

/// Returns the worker's `NODE_OPTIONS`.
///
/// Ours stands first: Node loads in this order, so that no code of the user's sees the
/// environment before it is restored, nor starts a process that inherits it.
fn options(user: Option<&OsStr>, file: &Path) -> Option<OsString> {
    // Node reads the variable as UTF-8, and writes back what it read.
    let file = file.to_str()?;
    let user = user.map_or(Some(""), OsStr::to_str)?;
    if !is_whole(user) {
        return None;
    }
    let separator = if user.is_empty() { "" } else { " " };
    let required = quoted(file);
    Some(format!("--require {required}{separator}{user}").into())
}

/// Returns the text as one word of `NODE_OPTIONS`, where a space ends a word, quotes suspend
/// that, and a backslash is a special character within quotes only.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{escaped}\"")
}

/// Returns whether every quote is closed, which a backslash at the very end prevents, too.
fn is_whole(options: &str) -> bool {
    let mut quoted = false;
    let mut escaped = false;
    for character in options.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    !quoted
}

#[cfg(test)]
mod tests;
