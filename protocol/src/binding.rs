//! Makes listening sockets: from an address to a descriptor.
//!
//! Both sides do: the master for its workers, and a worker for itself where it has no master
//! or wants an address of its own. One file, so that an address means the same in both.
//!
//! Never with SO_REUSEPORT, but for policy `kernel`: a second process of the same user could
//! then bind the same port without an error and take a share of the connections. Under that
//! policy it can bind it too, but the policy's program gives it none.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::fd;
use crate::message::{BoundAddress, ListenAddress, ListenOptions};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    getsockname, listen, socket_with, sockopt,
};

/// Asks the kernel for its longest backlog: it cuts this down to `net.core.somaxconn`.
///
/// The backlog is where connections wait while all workers are busy; it costs no descriptor
/// there and keeps its order. Node asks for 511.
const BACKLOG_LONGEST: i32 = i32::MAX;

/// Longest path that a Unix socket's address holds, without the final NUL (unix(7)).
const UNIX_PATH_MAX: usize = 107;

/// A socket that was bound.
#[derive(Debug)]
pub struct Bound {
    /// The socket: non-blocking, close-on-exec.
    pub socket: OwnedFd,
    /// Where it really is, with the port that the kernel chose.
    pub address: BoundAddress,
}

/// Binds what a worker asked for, and listens on it unless it is UDP.
///
/// # Errors
///
/// Those of socket(2), bind(2) and listen(2), for the worker to be told.
pub fn open(
    address: &ListenAddress,
    options: ListenOptions,
    inherited: &[RawFd],
) -> io::Result<Bound> {
    match address {
        ListenAddress::Tcp(address) => tcp(*address, options, &alone),
        ListenAddress::TcpAny { port } => tcp_any(*port, options, &alone),
        ListenAddress::Udp(address) => udp(*address, options),
        ListenAddress::Unix(path) => unix(path, options),
        ListenAddress::Inherited { descriptor } => inherit(*descriptor, inherited),
    }
}

/// Has TCP connections that are accepted from this socket send small pieces at once
/// (`TCP_NODELAY`): they inherit it, which spares each of them a system call.
///
/// On a socket that is not TCP it does nothing.
pub fn send_at_once(listener: impl AsFd) {
    // Without it answers are slower and still right.
    sockopt::set_tcp_nodelay(listener, true).unwrap_or_default();
}

/// Binds the first listener of a TCP address that is to have several.
///
/// It is bound as any other, so that a port that somebody has is refused, even if that one
/// would share it; only then may others be bound [beside](open_beside) it. Before it listens,
/// `govern` is called, so that no client is there before its rules are.
///
/// # Errors
///
/// As [`open`], and those of `govern`.
pub fn open_first(
    address: &ListenAddress,
    options: ListenOptions,
    govern: &dyn Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<Bound> {
    let invite = |socket: &OwnedFd| {
        sockopt::set_socket_reuseport(socket, true)?;
        govern(socket)
    };
    match address {
        ListenAddress::Tcp(address) => tcp(*address, options, &invite),
        ListenAddress::TcpAny { port } => tcp_any(*port, options, &invite),
        ListenAddress::Udp(_) | ListenAddress::Unix(_) | ListenAddress::Inherited { .. } => {
            Err(Errno::OPNOTSUPP.into())
        }
    }
}

/// Binds one more listener to an address that has a [first](open_first).
///
/// # Errors
///
/// As [`open`].
pub fn open_beside(address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd> {
    let socket = inet(address, SocketType::STREAM, options)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, backlog(options))?;
    Ok(socket)
}

/// Removes what a bound server leaves behind in the file system.
pub fn clean_up(address: &BoundAddress) {
    if let BoundAddress::Unix(path) = address {
        // Someone else may have removed or replaced it already; that is theirs to sort out.
        std::fs::remove_file(path).unwrap_or_default();
    }
}

/// What is done to a socket between bind and listen: nothing.
fn alone(_socket: &OwnedFd) -> io::Result<()> {
    Ok(())
}

fn tcp(
    address: SocketAddr,
    options: ListenOptions,
    prepare: &dyn Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<Bound> {
    let socket = inet(address, SocketType::STREAM, options)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    prepare(&socket)?;
    listen(&socket, backlog(options))?;
    let address = local_address(&socket)?;
    Ok(Bound {
        socket,
        address: BoundAddress::Ip(address),
    })
}

fn tcp_any(
    port: u16,
    options: ListenOptions,
    prepare: &dyn Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<Bound> {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match tcp(dual, options, prepare) {
        Err(error) if lacks_ipv6(&error) => {
            let single = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            tcp(single, options, prepare)
        }
        other => other,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| missing.contains(&errno))
}

fn udp(address: SocketAddr, options: ListenOptions) -> io::Result<Bound> {
    let socket = inet(address, SocketType::DGRAM, options)?;
    bind(&socket, &address)?;
    let address = local_address(&socket)?;
    Ok(Bound {
        socket,
        address: BoundAddress::Ip(address),
    })
}

fn inet(address: SocketAddr, kind: SocketType, options: ListenOptions) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, flags(), None)?;
    if address.is_ipv6() {
        // Said either way: the system's default is an administrator's choice.
        sockopt::set_ipv6_v6only(&socket, options.ipv6_only)?;
    }
    Ok(socket)
}

fn flags() -> SocketFlags {
    SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
}

fn backlog(options: ListenOptions) -> i32 {
    options.backlog.map_or(BACKLOG_LONGEST, |length| {
        i32::try_from(length).unwrap_or(BACKLOG_LONGEST)
    })
}

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(getsockname(socket)?)?)
}

fn unix(path: &Path, options: ListenOptions) -> io::Result<Bound> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags(), None)?;
    let place = Place::of(path)?;
    let outcome = bind(&socket, &place.address);
    if outcome == Err(Errno::ADDRINUSE) && is_stale(path, &place.address) {
        std::fs::remove_file(path)?;
        bind(&socket, &place.address)?;
    } else {
        outcome?;
    }
    listen_at(socket, path, options)
}

/// Opens a socket to clients that was bound to this path. If that fails, the path goes too:
/// nobody would ever listen there, and who knows of no server cleans up after none.
fn listen_at(socket: OwnedFd, path: &Path, options: ListenOptions) -> io::Result<Bound> {
    let address = BoundAddress::Unix(path.to_owned());
    let opened = widen(path, options).and_then(|()| Ok(listen(&socket, backlog(options))?));
    match opened {
        Ok(()) => Ok(Bound { socket, address }),
        Err(error) => {
            clean_up(&address);
            Err(error)
        }
    }
}

/// How to name a path to the kernel: directly, or if it is too long, by way of its directory.
struct Place {
    address: SocketAddrUnix,
    /// Keeps `/proc/self/fd/N` valid until bind and connect are done.
    _directory: Option<OwnedFd>,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= UNIX_PATH_MAX {
            return Ok(Self {
                address: SocketAddrUnix::new(path)?,
                _directory: None,
            });
        }
        // A socket's address holds no more, but the file system does: name the directory by
        // a descriptor and only the file by its name.
        let too_long = || io::Error::from(Errno::NAMETOOLONG);
        let name = path.file_name().ok_or_else(too_long)?;
        let parent = path.parent().ok_or_else(too_long)?;
        let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, open, Mode::empty())?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self {
            address: SocketAddrUnix::new(short)?,
            _directory: Some(directory),
        })
    }
}

/// Returns whether a path is a socket that nobody listens on: a crashed program's.
fn is_stale(path: &Path, address: &SocketAddrUnix) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags(), None);
    is_socket && probe.is_ok_and(|probe| connect(&probe, address) == Err(Errno::CONNREFUSED))
}

fn widen(path: &Path, options: ListenOptions) -> io::Result<()> {
    let readable = if options.readable_all { 0o444 } else { 0 };
    let writable = if options.writable_all { 0o222 } else { 0 };
    if readable | writable == 0 {
        return Ok(());
    }
    let mut permissions = std::fs::metadata(path)?.permissions();
    permissions.set_mode(permissions.mode() | readable | writable);
    std::fs::set_permissions(path, permissions)
}

fn inherit(number: RawFd, inherited: &[RawFd]) -> io::Result<Bound> {
    // A worker may name only sockets that were meant for workers: the master's own (its
    // control socket, other workers' channels) are none of them.
    if !inherited.contains(&number) {
        return Err(Errno::INVAL.into());
    }
    let socket = fd::duplicate(number)?;
    if !sockopt::socket_acceptconn(&socket)? {
        return Err(Errno::INVAL.into());
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    let address = bound_address(&getsockname(&socket)?)?;
    Ok(Bound { socket, address })
}

fn bound_address(address: &SocketAddrAny) -> io::Result<BoundAddress> {
    if let Ok(unix) = SocketAddrUnix::try_from(address.clone()) {
        let path = unix
            .path()
            .map(|path| PathBuf::from(os_string(path.to_bytes())));
        return Ok(BoundAddress::Unix(path.unwrap_or_default()));
    }
    Ok(BoundAddress::Ip(SocketAddr::try_from(address.clone())?))
}

fn os_string(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_path_that_nobody_will_listen_on_is_not_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        std::fs::write(&path, "").unwrap();
        // A socket that has no address cannot listen: it stands for one that fails later.
        let unbound = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags(), None);
        let error = listen_at(unbound.unwrap(), &path, ListenOptions::default()).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::INVAL));
        assert!(!path.exists());
        // So the next one can have it.
        let address = ListenAddress::Unix(path.clone());
        let _bound = open(&address, ListenOptions::default(), &[]).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn others_may_be_bound_beside_the_first_that_was_alone() {
        let here = ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let options = ListenOptions::default();
        let governed = std::cell::Cell::new(0);
        let govern = |socket: &OwnedFd| {
            governed.set(governed.get() + 1);
            assert!(
                !sockopt::socket_acceptconn(socket)?,
                "nobody can have come yet"
            );
            Ok(())
        };
        let first = open_first(&here, options, &govern).unwrap();
        let BoundAddress::Ip(address) = first.address else {
            unreachable!("an IP address was asked for");
        };
        let _beside = open_beside(address, options).unwrap();
        // A second group there is refused, although this one would let anybody share.
        let there = ListenAddress::Tcp(address);
        let error = open_first(&there, options, &govern).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::ADDRINUSE));
        assert_eq!(governed.get(), 1);
    }
}
