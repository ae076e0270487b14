//! Opens a connection, and remembers the local port even if it does not come about.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use maitred::Moment;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::TcpStream;

use super::{Alarm, set};
use crate::bench::outcome::Outcome;

/// Where and when a connection was begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The local port, if the kernel has given one.
    pub(super) port: Option<u16>,
    pub(super) began: Moment,
}

/// An open connection.
#[derive(Debug)]
pub(in crate::bench) struct Dialled {
    pub(super) place: Place,
    pub(super) stream: TcpStream,
    pub(super) connected: Moment,
}

/// Why there is none.
#[derive(Debug)]
pub(in crate::bench) struct Failure {
    pub(super) place: Place,
    pub(super) outcome: Outcome,
    pub(super) reason: String,
}

/// Opens a connection to `address` within `timeout`.
///
/// # Errors
///
/// That it took too long, or why it was refused.
pub(in crate::bench) async fn dial(
    address: SocketAddr,
    timeout: Duration,
    alarm: Alarm<'_>,
) -> Result<Dialled, Failure> {
    let began = Moment::now();
    let mut place = Place { port: None, began };
    let connected = match begin(address, &mut place) {
        Ok(stream) => complete(stream, began + timeout, alarm).await,
        Err(error) => Err(error),
    };
    match connected {
        Ok(stream) if is_itself(&stream, address) => {
            Err(failure(place, &Errno::CONNREFUSED.into()))
        }
        Ok(stream) => Ok(Dialled {
            place,
            stream,
            connected: Moment::now(),
        }),
        Err(error) => Err(failure(place, &error)),
    }
}

fn failure(place: Place, error: &io::Error) -> Failure {
    let outcome = if error.kind() == io::ErrorKind::TimedOut {
        Outcome::Timeout
    } else {
        Outcome::Refused
    };
    Failure {
        place,
        outcome,
        reason: format!("connect: {error}"),
    }
}

/// Begins to connect. The kernel chooses the local port here, and forgets it if it fails later.
fn begin(address: SocketAddr, place: &mut Place) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A request is written in one go, and waits for nothing to be joined with.
    sockopt::set_tcp_nodelay(&socket, true)?;
    let begun = rustix::net::connect(&socket, &address);
    place.port = port(&socket);
    match begun {
        Ok(()) | Err(Errno::INPROGRESS) => TcpStream::from_std(StdStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

fn port(socket: &OwnedFd) -> Option<u16> {
    let name = rustix::net::getsockname(socket).ok()?;
    let address = SocketAddr::try_from(name).ok()?;
    Some(address.port()).filter(|port| *port != 0)
}

/// Waits until the connection is there, or is not to be.
async fn complete(stream: TcpStream, due: Moment, mut alarm: Alarm<'_>) -> io::Result<TcpStream> {
    set(alarm.as_mut(), Moment::now(), due);
    let is_late = poll_fn(|cx| match stream.poll_write_ready(cx) {
        Poll::Ready(ready) => Poll::Ready(ready.map(|()| false)),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| Ok(true)),
    })
    .await?;
    if is_late {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Whether the connection leads back to itself.
///
/// If nobody listens at an address whose port is among those that the kernel gives to clients,
/// it may give that very port; TCP then connects the socket with itself, and it would read its
/// own requests as answers.
fn is_itself(stream: &TcpStream, address: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|local| local == address)
}
