//! The state directory: one master to each, and the socket that speaks for it.
//!
//! `$MAITRED_HOME`, by default `~/.maitred`, holds `master.lock` and `master.sock`. The lock is
//! what counts: the kernel lets go of it when its holder dies, however it dies, while a socket
//! file stays behind. So whoever has the lock may remove the socket, and nobody else may.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

/// The variable that names the state directory.
pub(crate) const VARIABLE: &str = "MAITRED_HOME";

/// Longest path of a Unix socket in bytes: `sun_path` has 108, of which the last is a zero.
const SOCKET_PATH_MAX: usize = 107;

/// Connections that may wait to be accepted. Accepting takes microseconds, so that this is
/// room for a burst, twice as large as the clients that are served at once.
const BACKLOG: i32 = 128;

/// Why there can be no master, or none can be found, in a state directory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum HomeError {
    /// Neither variable is set.
    #[error("find the state directory: neither {VARIABLE} nor HOME is set; set {VARIABLE}")]
    Unknown,
    /// Another master has it.
    #[error(
        "another master{} runs in {}; give this one a state directory of its own: \
         {VARIABLE}=… maitred run", holder(.pid), directory.display()
    )]
    Taken {
        /// Which directory.
        directory: PathBuf,
        /// The other master's process, unless it has only just begun.
        pid: Option<u32>,
    },
    /// Unix sockets have short names only.
    #[error(
        "the path of the control socket, {}, has {} bytes, but a socket's path has at most \
         {SOCKET_PATH_MAX}; set {VARIABLE} to a shorter directory",
        .0.display(), .0.as_os_str().len()
    )]
    PathTooLong(PathBuf),
    /// Others could replace the socket, or listen at it.
    #[error("the state directory {} must be yours and no one else's: {advice}", directory.display())]
    NotPrivate {
        /// Which directory.
        directory: PathBuf,
        /// What would be right.
        advice: String,
    },
    /// Something is where the socket belongs, and it is none.
    #[error("{} is in the way: it is not a socket; move it elsewhere", .0.display())]
    InTheWay(PathBuf),
    /// The system refused.
    #[error("use the state directory {}: {source}; {VARIABLE} can name another", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// A state directory, which may not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    directory: PathBuf,
}

impl Home {
    /// Returns the directory that the environment names.
    ///
    /// # Errors
    ///
    /// [`HomeError::Unknown`] and [`HomeError::Io`].
    pub(crate) fn locate() -> Result<Self, HomeError> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        let directory = match named {
            Some(directory) => PathBuf::from(directory),
            None => {
                let home = std::env::var_os("HOME").filter(|path| !path.is_empty());
                PathBuf::from(home.ok_or(HomeError::Unknown)?).join(".maitred")
            }
        };
        Self::at(directory)
    }

    /// Returns this directory as a state directory.
    ///
    /// # Errors
    ///
    /// [`HomeError::Io`], when the working directory is gone and the path is relative to it.
    pub(crate) fn at(directory: impl AsRef<Path>) -> Result<Self, HomeError> {
        let path = directory.as_ref();
        let directory = std::path::absolute(path).map_err(|source| io_error(path, source))?;
        Ok(Self { directory })
    }

    /// Returns the directory's absolute path.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns where the control socket is, or would be.
    ///
    /// # Errors
    ///
    /// [`HomeError::PathTooLong`].
    pub(crate) fn socket(&self) -> Result<PathBuf, HomeError> {
        let path = self.directory.join("master.sock");
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_MAX {
            return Err(HomeError::PathTooLong(path));
        }
        Ok(path)
    }

    /// Makes this process the directory's one master, until the lock is dropped.
    ///
    /// # Errors
    ///
    /// [`HomeError`], each with what would be right.
    pub(crate) fn lock(&self) -> Result<Lock, HomeError> {
        // Before anything is made: a directory whose socket cannot be is of no use.
        self.socket()?;
        self.make_private()?;
        let path = self.directory.join("master.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // std adds close-on-exec: a worker that had the lock would keep it after us.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|source| io_error(&path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HomeError::Taken {
                    directory: self.directory.clone(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(&path, source)),
        }
        write_pid(&mut file).map_err(|source| io_error(&path, source))?;
        Ok(Lock {
            home: self.clone(),
            _file: file,
        })
    }

    /// Makes the directory, or checks the one that is there.
    ///
    /// One that others may use is refused, not mended: it may be `/tmp`, or hold things that
    /// are meant to be read by others.
    fn make_private(&self) -> Result<(), HomeError> {
        let directory = &self.directory;
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| io_error(directory, source))?;
        let found = std::fs::metadata(directory).map_err(|source| io_error(directory, source))?;
        let advice = if found.uid() != rustix::process::geteuid().as_raw() {
            format!(
                "it belongs to user {}; name another in {VARIABLE}",
                found.uid()
            )
        } else if found.mode() & 0o077 != 0 {
            format!("chmod 700 {}", directory.display())
        } else {
            return Ok(());
        };
        let directory = directory.clone();
        Err(HomeError::NotPrivate { directory, advice })
    }
}

fn io_error(path: &Path, source: io::Error) -> HomeError {
    let path = path.to_owned();
    HomeError::Io { path, source }
}

/// Longest number of a process, in bytes; `/proc/sys/kernel/pid_max` ends at 4,194,304.
const PID_LEN_MAX: u64 = 10;

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_LEN_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The right to be the master of a state directory.
///
/// The file stays when the lock is dropped. Were it removed, one process could lock the old
/// file and another a new one of the same name, and both be master.
#[derive(Debug)]
pub(crate) struct Lock {
    home: Home,
    _file: File,
}

impl Lock {
    /// Returns the state directory's absolute path.
    pub(crate) fn directory(&self) -> &Path {
        self.home.directory()
    }

    /// Opens the control socket. A stale one, left by a master that was killed, is replaced.
    ///
    /// # Errors
    ///
    /// [`HomeError`], each with what would be right.
    pub(crate) fn open_socket(&self) -> Result<ControlSocket, HomeError> {
        let path = self.home.socket()?;
        self.remove_stale(&path)?;
        let listener = bind(&path).map_err(|source| io_error(&path, source))?;
        Ok(ControlSocket { listener, path })
    }

    fn remove_stale(&self, path: &Path) -> Result<(), HomeError> {
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(io_error(path, source)),
            Ok(found) if !found.file_type().is_socket() => {
                Err(HomeError::InTheWay(path.to_owned()))
            }
            // We have the lock, so nobody should answer. If somebody does, the lock file was
            // removed under a living master, whose socket is not ours to take.
            Ok(_) if is_answered(path) => Err(HomeError::Taken {
                directory: self.home.directory.clone(),
                pid: None,
            }),
            Ok(_) => std::fs::remove_file(path).map_err(|source| io_error(path, source)),
        }
    }
}

/// Returns whether somebody listens at the socket.
fn is_answered(path: &Path) -> bool {
    let connect = || {
        let socket = socket()?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
    };
    // Without waiting: one whose queue is full (`EAGAIN`) is busy or stopped, but alive.
    matches!(connect(), Ok(()) | Err(Errno::AGAIN))
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Binds a socket that from its birth only its owner may connect to.
///
/// bind(2) gives the file the mode of the socket's own inode, less the umask (unix_bind in the
/// kernel's `net/unix/af_unix.c`). So the mode is set on the descriptor first. The usual way,
/// to bind under another umask, would for a moment change it for every thread; and to change
/// the file's mode after bind would leave a moment in which others may connect.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = socket()?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// The listening control socket. Its file is removed with it.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Returns the listener, for a runtime to take.
    ///
    /// # Errors
    ///
    /// Those of dup(2).
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // If it is gone, so much the better; if it cannot be removed, the next master will.
        std::fs::remove_file(&self.path).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use tempfile::TempDir;

    use super::*;

    fn home() -> (TempDir, Home) {
        let place = TempDir::new().unwrap();
        let home = Home::at(place.path().join("state")).unwrap();
        (place, home)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn everything_is_for_its_owner_only() {
        let (_place, home) = home();
        let lock = home.lock().unwrap();
        let _socket = lock.open_socket().unwrap();
        assert_eq!(mode(home.directory()), 0o700);
        assert_eq!(mode(&home.directory().join("master.lock")), 0o600);
        assert_eq!(mode(&home.socket().unwrap()), 0o600);
    }

    #[test]
    fn a_second_master_is_refused_by_name_and_the_first_is_not_touched() {
        let (_place, home) = home();
        let lock = home.lock().unwrap();
        let _socket = lock.open_socket().unwrap();
        let refusal = home.lock().unwrap_err().to_string();
        let pid = format!("(pid {})", std::process::id());
        assert!(refusal.contains(&pid), "{refusal}");
        assert!(refusal.contains("MAITRED_HOME=… maitred run"), "{refusal}");
        assert!(UnixStream::connect(home.socket().unwrap()).is_ok());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let (_place, home) = home();
        let lock = home.lock().unwrap();
        let path = home.socket().unwrap();
        // Left as a killed master leaves it: the file without a listener.
        drop(bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let socket = lock.open_socket().unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
        drop(lock);
        assert!(home.lock().is_ok());
    }

    #[test]
    fn a_socket_that_answers_is_not_stale_whatever_became_of_the_lock() {
        let (_place, home) = home();
        let lock = home.lock().unwrap();
        let _socket = lock.open_socket().unwrap();
        std::fs::remove_file(home.directory().join("master.lock")).unwrap();
        let second = home.lock().unwrap();
        let refusal = second.open_socket().unwrap_err();
        assert!(matches!(refusal, HomeError::Taken { pid: None, .. }));
        assert!(UnixStream::connect(home.socket().unwrap()).is_ok());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let (_place, home) = home();
        let lock = home.lock().unwrap();
        let path = home.socket().unwrap();
        std::fs::write(&path, "precious").unwrap();
        let refusal = lock.open_socket().unwrap_err();
        assert!(matches!(refusal, HomeError::InTheWay(_)));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_path_that_is_too_long_is_refused_before_anything_is_made() {
        let place = TempDir::new().unwrap();
        let used = place.path().as_os_str().len() + "/".len() + "/master.sock".len();
        let fits = place.path().join("x".repeat(SOCKET_PATH_MAX - used));
        assert!(Home::at(&fits).unwrap().socket().is_ok());
        let long = place.path().join("x".repeat(SOCKET_PATH_MAX - used + 1));
        let refusal = Home::at(&long).unwrap().lock().unwrap_err().to_string();
        assert!(refusal.contains("has 108 bytes"), "{refusal}");
        assert!(refusal.contains("at most 107"), "{refusal}");
        assert!(!long.exists());
    }

    #[test]
    fn a_directory_for_others_is_refused_with_the_command_that_mends_it() {
        let place = TempDir::new().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.path(), open).unwrap();
        let home = Home::at(place.path()).unwrap();
        let refusal = home.lock().unwrap_err().to_string();
        assert!(refusal.contains("chmod 700"), "{refusal}");
        assert!(!home.directory().join("master.lock").exists());
    }
}
