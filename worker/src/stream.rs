//! The two kinds of stream that a listener can give.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::task::{Context, Poll};

use maitred_protocol::message::BoundAddress;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A stream that a [`Listener`](crate::Listener) can give: [`TcpStream`] or [`UnixStream`].
///
/// Sealed: it is a list of two, not a trait to implement.
pub trait Stream: sealed::Sealed + AsRawFd + Debug + Send + Unpin + 'static {
    /// The address of a client, as tokio's own listener gives it.
    type Address: Debug + Clone + Send + Sync + 'static;
}

impl Stream for TcpStream {
    type Address = SocketAddr;
}

impl Stream for UnixStream {
    type Address = tokio::net::unix::SocketAddr;
}

pub(crate) mod sealed {
    use super::{BoundAddress, Context, Debug, OwnedFd, Poll, SocketAddr, io};

    /// What the library does with a stream; `crate::stream` has the two implementations.
    pub trait Sealed: Sized {
        /// Tokio's own listener, for when there is a listening socket in this process.
        type Kernel: Debug + Send + Sync + Unpin + 'static;

        /// Registers a socket with the runtime. It must be non-blocking.
        fn register(socket: OwnedFd) -> io::Result<Self>;

        /// Takes a socket back from the runtime, untouched.
        fn unregister(self) -> io::Result<OwnedFd>;

        /// Returns the client's address; the master's word for it spares a system call.
        fn peer(&self, client: Option<SocketAddr>) -> <Self as super::Stream>::Address
        where
            Self: super::Stream;

        /// Returns what of a client's address tells one from another; Unix clients have none.
        fn client(address: <Self as super::Stream>::Address) -> Option<SocketAddr>
        where
            Self: super::Stream;

        /// Returns a server's address as this kind of stream has it.
        fn local(bound: &BoundAddress) -> io::Result<<Self as super::Stream>::Address>
        where
            Self: super::Stream;

        /// Watches a listening socket.
        fn listener(socket: OwnedFd) -> io::Result<Self::Kernel>;

        /// Accepts from a listening socket.
        fn poll_accept(
            listener: &Self::Kernel,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<(Self, <Self as super::Stream>::Address)>>
        where
            Self: super::Stream;
    }
}

impl sealed::Sealed for TcpStream {
    type Kernel = TcpListener;

    fn register(socket: OwnedFd) -> io::Result<Self> {
        Self::from_std(socket.into())
    }

    fn unregister(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }

    fn peer(&self, client: Option<SocketAddr>) -> SocketAddr {
        let unknown = || SocketAddr::from(([0, 0, 0, 0], 0));
        client.unwrap_or_else(|| self.peer_addr().unwrap_or_else(|_| unknown()))
    }

    fn client(address: SocketAddr) -> Option<SocketAddr> {
        Some(address)
    }

    fn local(bound: &BoundAddress) -> io::Result<SocketAddr> {
        match bound {
            BoundAddress::Ip(address) => Ok(*address),
            BoundAddress::Unix(path) => Err(wrong_kind(&path.display().to_string(), "TCP")),
        }
    }

    fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    fn poll_accept(
        listener: &TcpListener,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Self, SocketAddr)>> {
        listener.poll_accept(context)
    }
}

impl sealed::Sealed for UnixStream {
    type Kernel = UnixListener;

    fn register(socket: OwnedFd) -> io::Result<Self> {
        Self::from_std(socket.into())
    }

    fn unregister(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }

    fn peer(&self, _client: Option<SocketAddr>) -> tokio::net::unix::SocketAddr {
        self.peer_addr()
            .or_else(|_| unix_address(Path::new("")))
            .expect("the empty path is the unnamed address")
    }

    fn client(_address: tokio::net::unix::SocketAddr) -> Option<SocketAddr> {
        None
    }

    fn local(bound: &BoundAddress) -> io::Result<tokio::net::unix::SocketAddr> {
        match bound {
            // A path longer than an address holds was bound by another way; it has no such form.
            BoundAddress::Unix(path) => unix_address(path).or_else(|_| unix_address(Path::new(""))),
            BoundAddress::Ip(address) => Err(wrong_kind(&address.to_string(), "Unix")),
        }
    }

    fn listener(socket: OwnedFd) -> io::Result<UnixListener> {
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }

    fn poll_accept(
        listener: &UnixListener,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Self, tokio::net::unix::SocketAddr)>> {
        listener.poll_accept(context)
    }
}

fn unix_address(path: &Path) -> io::Result<tokio::net::unix::SocketAddr> {
    std::os::unix::net::SocketAddr::from_pathname(path).map(Into::into)
}

fn wrong_kind(bound: &str, wanted: &str) -> io::Error {
    let text = format!("the socket at {bound} is no {wanted} socket");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
