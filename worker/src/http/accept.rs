//! Where a server's connections come from, and what to do when none comes.

use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    sync::Mutex,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use crate::leaving::OWN_GRACE;

/// Where a server's connections come from.
///
/// tokio's own listeners implement it, for servers that stand alone.
pub trait Accept {
    /// A connection's stream. Options such as `TCP_NODELAY` are the listener's to set.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Polls for the next connection, and for the client's address where there is one.
    ///
    /// The server asks again and again, also between two handlers, so an implementation
    /// should be cheap when there is nothing.
    ///
    /// # Errors
    ///
    /// Errors of a single connection make the server ask again at once; a shortage of
    /// descriptors or memory makes it pause for 100 ms, and so does any error it does not
    /// know. Only an error that says that this listener is finished
    /// ([`NotConnected`](io::ErrorKind::NotConnected),
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe),
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof),
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), or `EBADF`, `ENOTSOCK`) ends it: the
    /// server then serves what it has as in a drain, and returns that error.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>>;

    /// Polls for connections, and puts those that are there into the places of `accepted`, from
    /// the first on; returns how many. There is at least one place.
    ///
    /// A listener that can take several at less than the cost of each should; by itself this
    /// takes one.
    ///
    /// # Errors
    ///
    /// As [`poll_accept`](Self::poll_accept); no place is filled then.
    fn poll_accept_some(
        &mut self,
        cx: &mut Context<'_>,
        accepted: &mut [Option<(Self::Stream, Option<SocketAddr>)>],
    ) -> Poll<io::Result<usize>> {
        let one = ready!(self.poll_accept(cx))?;
        let Some(place) = accepted.first_mut() else {
            return Poll::Ready(Ok(0));
        };
        *place = Some(one);
        Poll::Ready(Ok(1))
    }

    /// Resolves when this process has been asked to drain, with the grace: how long an idle
    /// keep-alive connection may stay. Asked for once, when serving begins.
    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static;

    /// Drains when `stop` resolves, too: at a signal, for one. What idles then may stay a
    /// second. The way for a program without a master to end, and lose nothing.
    fn until<F>(self, stop: F) -> Until<Self, F>
    where
        Self: Sized,
        F: Future<Output = ()> + Send + 'static,
    {
        Until {
            listener: self,
            stop: Mutex::new(Some(stop)),
        }
    }
}

/// A listener that also drains when it is asked to here; see [`Accept::until`].
#[derive(Debug)]
pub struct Until<A, F> {
    listener: A,
    /// Taken when serving begins.
    stop: Mutex<Option<F>>,
}

impl<A, F> Accept for Until<A, F>
where
    A: Accept,
    F: Future<Output = ()> + Send + 'static,
{
    type Stream = A::Stream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(A::Stream, Option<SocketAddr>)>> {
        self.listener.poll_accept(cx)
    }

    fn poll_accept_some(
        &mut self,
        cx: &mut Context<'_>,
        accepted: &mut [Option<(A::Stream, Option<SocketAddr>)>],
    ) -> Poll<io::Result<usize>> {
        self.listener.poll_accept_some(cx, accepted)
    }

    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        let draining = self.listener.draining();
        let stop = self.stop.lock().ok().and_then(|mut stop| stop.take());
        async move {
            let stopped = async {
                match stop {
                    Some(stop) => stop.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                grace = draining => grace,
                () = stopped => OWN_GRACE,
            }
        }
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, Option<SocketAddr>)>> {
        TcpListener::poll_accept(self, cx).map_ok(|(stream, remote)| (stream, Some(remote)))
    }

    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        pending()
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        UnixListener::poll_accept(self, cx).map_ok(|(stream, _)| (stream, None))
    }

    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        pending()
    }
}

/// How long to leave an accept alone that failed for want of descriptors or memory.
///
/// Long enough not to burn CPU, short enough that clients take it for a slow network.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What to do after an accept that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// One client gave up while it waited: ask for the next.
    NextAtOnce,
    /// Something is short: ask again a little later.
    Pause,
    /// There will be no more connections.
    Finished,
}

/// Classifies an accept error. The only place where that is decided.
pub(crate) fn fate_of(error: &io::Error) -> Fate {
    match (error.kind(), Errno::from_io_error(error)) {
        // accept(2) reports what happened to a connection in the queue as its own error.
        (_, Some(Errno::PROTO)) => Fate::NextAtOnce,
        (_, Some(Errno::BADF | Errno::NOTSOCK)) => Fate::Finished,
        (
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown,
            _,
        ) => Fate::NextAtOnce,
        (
            io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidInput,
            _,
        ) => Fate::Finished,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else: never in a busy loop.
        _ => Fate::Pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accept_error_has_its_fate() {
        for (number, name, fate) in [
            (103, "ECONNABORTED", Fate::NextAtOnce),
            (4, "EINTR", Fate::NextAtOnce),
            (71, "EPROTO", Fate::NextAtOnce),
            (113, "EHOSTUNREACH", Fate::NextAtOnce),
            (24, "EMFILE", Fate::Pause),
            (23, "ENFILE", Fate::Pause),
            (105, "ENOBUFS", Fate::Pause),
            (12, "ENOMEM", Fate::Pause),
            (1, "EPERM", Fate::Pause),
            (9, "EBADF", Fate::Finished),
            (22, "EINVAL", Fate::Finished),
            (88, "ENOTSOCK", Fate::Finished),
        ] {
            assert_eq!(
                fate_of(&io::Error::from_raw_os_error(number)),
                fate,
                "{name}"
            );
        }
    }
}
