//! Descriptors across process borders: with `master/src/kernel/bpf.rs`, the one file in which
//! `unsafe` may stand.
//!
//! Three facts of Linux shape it (unix(7), recvmsg(2); measured on Linux 6.18):
//!
//! - A descriptor that arrives is *not* close-on-exec unless `MSG_CMSG_CLOEXEC` was asked
//!   for; without it every child of the receiver would hold the client's connection open.
//! - When the control buffer is too small, or the receiver is at its descriptor limit, the
//!   kernel closes what does not fit and sets `MSG_CTRUNC`; the bytes still arrive.
//! - A receiver that offers no control buffer never gets a descriptor at all: the kernel
//!   closes them. That is how the master reads, which wants none.

#![expect(
    unsafe_code,
    reason = "descriptor numbers from outside have no owner until we make one"
)]

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::libc;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use sendfd::SendWithFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::native::MESSAGES_PER_FRAME;

/// Most descriptors that one message can carry (`SCM_MAX_FD` in the kernel; 254 is `EINVAL`).
///
/// We expect few, but leave room for all: then only the receiver's own descriptor limit can
/// truncate, and that case has its own answer (reject, so that another worker gets it). The
/// kernel installs them in order, so what is missing then is missing at the end.
const DESCRIPTORS_MAX: usize = 253;

/// One datagram as it arrived.
#[derive(Debug, Default)]
pub(crate) struct Datagram {
    /// Its length in bytes; more than the buffer holds if it was cut.
    pub(crate) len: usize,
    /// The descriptors that came with it and could be installed, in order. An empty list does
    /// not allocate.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Descriptors came that could not be installed.
    pub(crate) truncated: bool,
}

/// Sends one datagram, with at most [`MESSAGES_PER_FRAME`] descriptors.
///
/// # Errors
///
/// Those of sendmsg(2); `WouldBlock` when the socket's buffer is full.
pub(crate) fn send(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut numbers = [-1; MESSAGES_PER_FRAME];
    for (number, descriptor) in numbers.iter_mut().zip(descriptors) {
        *number = descriptor.as_raw_fd();
    }
    // On SOCK_SEQPACKET a datagram goes whole or not at all, so the returned length tells
    // nothing new.
    let numbers = &numbers[..descriptors.len()];
    socket.send_with_fd(bytes, numbers).map(drop)
}

/// Sends what the socket takes of `bytes`, with at most one descriptor, and returns how much
/// that was. On a stream that can be less than all; the descriptor went with the first byte.
///
/// # Errors
///
/// Those of sendmsg(2); nothing was sent then. `WouldBlock` when the socket's buffer is full.
pub(crate) fn send_part(
    socket: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    match descriptor {
        Some(descriptor) => socket.send_with_fd(bytes, &[descriptor.as_raw_fd()]),
        None => socket.send_with_fd(bytes, &[]),
    }
}

/// Receives one datagram with its descriptors, each close-on-exec from birth.
///
/// # Errors
///
/// Those of recvmsg(2); `WouldBlock` when nothing is there.
pub(crate) fn receive(socket: &UnixStream, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    receive_into(socket, buffer, &mut RecvAncillaryBuffer::new(&mut space))
}

/// Receives one datagram and lets the kernel close whatever descriptors came with it.
///
/// # Errors
///
/// Those of recvmsg(2); `WouldBlock` when nothing is there.
pub(crate) fn receive_without_descriptors(
    socket: &UnixStream,
    buffer: &mut [u8],
) -> io::Result<Datagram> {
    receive_into(socket, buffer, &mut RecvAncillaryBuffer::default())
}

fn receive_into(
    socket: &UnixStream,
    buffer: &mut [u8],
    control: &mut RecvAncillaryBuffer<'_>,
) -> io::Result<Datagram> {
    // MSG_TRUNC makes the kernel report the datagram's real length, so that one byte too
    // many is noticed rather than silently dropped.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], control, flags)?;
    let mut datagram = Datagram {
        len: received.bytes,
        descriptors: Vec::new(),
        truncated: received.flags.contains(ReturnFlags::CTRUNC),
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            datagram.descriptors.extend(descriptors);
        }
    }
    Ok(datagram)
}

/// Forbids the peer of `socket` to send descriptors (`SO_PASSRIGHTS`, Linux 6.16 and later).
///
/// On an older kernel this does nothing, and descriptors are closed on receipt instead.
///
/// # Errors
///
/// Those of setsockopt(2), but not `ENOPROTOOPT`.
pub fn forbid_descriptors(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// From `asm-generic/socket.h`; the libc crate does not name it yet.
    const SO_PASSRIGHTS: libc::c_int = 83;
    let off: libc::c_int = 0;
    // SAFETY: the pointer and the length describe `off`, which outlives the call, and the
    // kernel only reads through it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    let error = io::Error::last_os_error();
    if result == 0 || error.raw_os_error() == Some(libc::ENOPROTOOPT) {
        Ok(())
    } else {
        Err(error)
    }
}

/// Returns whether `number` is a `SOCK_SEQPACKET` socket of this process.
pub(crate) fn is_seqpacket(number: RawFd) -> bool {
    borrow(number).is_some_and(crate::environment::is_seqpacket)
}

/// Returns the inode behind descriptor `number` of this process, or `None` if it is closed.
///
/// A descriptor's number is reused as soon as it is closed, its inode is not: the pair tells
/// whether a socket that was given away is still open.
#[must_use]
pub fn inode(number: RawFd) -> Option<u64> {
    rustix::fs::fstat(borrow(number)?)
        .ok()
        .map(|status| status.st_ino)
}

fn borrow(number: RawFd) -> Option<BorrowedFd<'static>> {
    if number < 0 {
        return None;
    }
    // SAFETY: `number` is not -1. If nothing is open there, or something else by now, the
    // calls we make (fstat, getsockopt) answer EBADF or about that other file, and change
    // nothing; both answers are expected by the callers.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Makes this process the owner of a descriptor that it was started with.
///
/// To be called once per number, before anything else can open files under it: the worker
/// library does so for its channel, the master for sockets it inherited. The descriptor
/// becomes close-on-exec.
///
/// # Errors
///
/// `EBADF` when nothing is open at that number.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    let borrowed = borrow(number).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: the fcntl above has shown that the number is open, and by this function's
    // contract nothing else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Copies a descriptor of this process that is known by its number only.
///
/// # Errors
///
/// `EBADF` when nothing is open at that number; else those of fcntl(2).
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    borrow(number)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?
        .try_clone_to_owned()
}

/// Types that own one open descriptor from birth to drop, and cannot exchange it.
pub trait Owner: AsRawFd + sealed::Sealed {}

impl Owner for OwnedFd {}
impl Owner for UnixStream {}

mod sealed {
    /// Keeps [`Owner`](super::Owner) to the types whose promise was checked here.
    pub trait Sealed {}
    impl Sealed for std::os::fd::OwnedFd {}
    impl Sealed for std::os::unix::net::UnixStream {}
}

/// Registers a descriptor with the current tokio runtime.
///
/// # Errors
///
/// Those of epoll_ctl(2); the descriptor is closed then.
///
/// # Panics
///
/// Outside a tokio runtime that has its I/O driver enabled.
pub fn watch<T: Owner>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: an `Owner` keeps one open descriptor for its whole life (the trait is sealed to
    // std's owning types), and nobody takes it out again: we hand out only `AsyncFd`.
    unsafe { AsyncFd::register_with_interest(owner, interest) }
        .map_err(|refused| refused.into_parts().1)
}

/// How long to wait where the kernel cannot be asked to tell: it takes that long or so until a
/// peer that reads has emptied a channel.
const ROOM_PAUSE: Duration = Duration::from_millis(10);

/// Waits until a Unix socket may take more; it may turn out that it does not. Needs a tokio
/// runtime with I/O and time.
///
/// Only now is the kernel asked to tell. Asked from the beginning it would tell after each frame
/// that the peer reads, since that makes room, and wake this process for nothing.
///
/// # Errors
///
/// The runtime is ending.
///
/// # Cancel safety
///
/// Cancel safe: nothing is consumed.
pub(crate) async fn writable(socket: &UnixStream) -> io::Result<()> {
    // A registration of its own, so a descriptor of its own. Either may be refused, and whoever
    // waits here has more to send all the same.
    let copied = socket.try_clone();
    let registered = copied.and_then(|copy| watch(copy, Interest::WRITABLE));
    let Ok(copy) = registered else {
        tokio::time::sleep(ROOM_PAUSE).await;
        return Ok(());
    };
    copy.writable().await?.retain_ready();
    Ok(())
}

/// Marks every descriptor above the standard three close-on-exec, and returns their numbers.
///
/// A master does this first thing: what it inherited (a shell's pipe, an activation socket)
/// must not leak into workers, where it would stay open unseen.
///
/// # Errors
///
/// Those of reading `/proc/self/fd`.
pub fn seal_inherited() -> io::Result<Vec<RawFd>> {
    let sealed = |number: &RawFd| {
        borrow(*number).is_some_and(|descriptor| {
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC).is_ok()
        })
    };
    Ok(above_standard()?.into_iter().filter(sealed).collect())
}

/// Returns the numbers of the sockets that listen, above the standard three. Asked before this
/// process listens itself, these are what it was started with.
///
/// # Errors
///
/// As [`seal_inherited`].
pub fn listening() -> io::Result<Vec<RawFd>> {
    let listens = |number: &RawFd| {
        // No socket, or none that can listen, is an error here.
        borrow(*number)
            .is_some_and(|socket| rustix::net::sockopt::socket_acceptconn(socket) == Ok(true))
    };
    Ok(above_standard()?.into_iter().filter(listens).collect())
}

/// The directory is open while it is read and closed after: its own number is among these, and
/// is `EBADF` to whoever asks.
fn above_standard() -> io::Result<Vec<RawFd>> {
    let listed = std::fs::read_dir("/proc/self/fd")?;
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|number| *number > 2).collect())
}
