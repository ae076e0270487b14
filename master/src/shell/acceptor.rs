//! Takes connections from the backlog, and knows which failures matter.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

/// A connection fresh from accept4, and where its client is.
pub(crate) type Guest = (OwnedFd, Option<SocketAddr>);

/// Connections accepted in one turn of the event loop, over all servers.
///
/// Enough to fill the windows of several workers at once, few enough that acks and exits
/// are looked at every hundred microseconds or so.
pub(crate) const ACCEPTS_PER_TURN: usize = 32;

/// How long a server rests after the system ran out of something.
///
/// The socket stays readable meanwhile and the kernel sends no second event, so the retry
/// must be timed; without a pause the loop would spin (measured: 630,000 times a second).
pub(crate) const REST: Duration = Duration::from_millis(100);

/// What a failed accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFailure {
    /// The backlog is empty.
    Empty,
    /// That one connection failed; the next may be fine.
    NextAtOnce,
    /// The system is out of descriptors or memory: try again after [`REST`].
    Rest,
    /// This listener will never work again.
    Fatal,
}

/// One turn of accept4: a connection, or what its failure means.
///
/// # Errors
///
/// Those of accept4(2); [`classify`] says what follows.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<Guest> {
    // Non-blocking from birth: a worker's runtime relies on it, and a blocking descriptor
    // would freeze a whole event loop in one write to a stalled client.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, client) = acceptfrom_with(listener, flags)?;
    Ok((
        socket,
        client.and_then(|address| SocketAddr::try_from(address).ok()),
    ))
}

/// Sorts an error of accept4 by what to do next.
///
/// accept(2) passes on errors that are already pending on the new socket; those concern one
/// client. Postfix, nginx and HAProxy treat the same lists alike. What is in no list rests:
/// an error we do not know must neither spin nor close the door.
pub(crate) fn classify(error: &io::Error) -> AcceptFailure {
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => AcceptFailure::Empty,
        Some(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::CONNRESET
            | Errno::NOTCONN
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::CONNREFUSED
            | Errno::PERM
            | Errno::NOPROTOOPT
            | Errno::NONET
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT,
        ) => AcceptFailure::NextAtOnce,
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => AcceptFailure::Fatal,
        _ if error.kind() == io::ErrorKind::WouldBlock => AcceptFailure::Empty,
        _ => AcceptFailure::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_accept_error_has_its_answer() {
        let table = [
            (Errno::AGAIN, AcceptFailure::Empty),
            (Errno::CONNABORTED, AcceptFailure::NextAtOnce),
            (Errno::PROTO, AcceptFailure::NextAtOnce),
            (Errno::NETDOWN, AcceptFailure::NextAtOnce),
            (Errno::HOSTUNREACH, AcceptFailure::NextAtOnce),
            (Errno::PERM, AcceptFailure::NextAtOnce),
            (Errno::MFILE, AcceptFailure::Rest),
            (Errno::NFILE, AcceptFailure::Rest),
            (Errno::NOBUFS, AcceptFailure::Rest),
            (Errno::NOMEM, AcceptFailure::Rest),
            (Errno::IO, AcceptFailure::Rest),
            (Errno::BADF, AcceptFailure::Fatal),
            (Errno::INVAL, AcceptFailure::Fatal),
            (Errno::NOTSOCK, AcceptFailure::Fatal),
        ];
        for (errno, expected) in table {
            assert_eq!(classify(&errno.into()), expected, "{errno}");
        }
    }
}
