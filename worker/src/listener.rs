//! What a program accepts connections from: the master's handoffs, or a socket of its own.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use maitred_protocol::binding;
use maitred_protocol::message::{BoundAddress, ListenAddress};
use tokio::net::{TcpStream, UnixStream};

use crate::address::Listen;
use crate::lease::{self, Lease};
use crate::link::{Link, link, over};
use crate::open_connections::{ListenerTag, SharedTable};
use crate::stream::Stream;

mod served;

/// Listens on a TCP address: through the master, or alone where there is none.
///
/// # Errors
///
/// The errno that binding met, here or in the master: `EADDRINUSE`, `EACCES` and so on;
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for what is no address;
/// [`NotConnected`](io::ErrorKind::NotConnected) if the master is gone.
///
/// # Panics
///
/// Outside a tokio runtime with I/O and time.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn listen(address: impl Into<Listen>) -> io::Result<Listener> {
    address.into().open().await
}

/// Listens on a Unix path; as [`listen`].
///
/// # Errors
///
/// As [`listen`].
///
/// # Panics
///
/// As [`listen`].
pub async fn listen_unix(path: impl AsRef<Path>) -> io::Result<Listener<UnixStream>> {
    Listen::unix(path).open_unix().await
}

/// A listener, like tokio's own. It yields plain streams, which any library can use.
///
/// Under a master, connections come as handoffs. One that waits here is not acked, so the
/// master can still give it to another worker; [`accept`](Self::accept) acks it, before a
/// byte of it is read. Dropping the listener closes it.
///
/// When the worker drains, no more connections come. A loop of accepts then waits until the
/// last connection it has got is closed, and only then is told that all is over: so tasks it
/// has spawned can finish. Programs that can close idle connections politely (HTTP) should
/// wait for [`draining`](Self::draining) as well.
#[derive(Debug)]
pub struct Listener<S: Stream = TcpStream> {
    // Before the socket: the master hears `Close` while the socket is still open.
    hold: Hold,
    own: Option<S::Kernel>,
    connections_max: Option<usize>,
}

/// How the address is held.
#[derive(Debug)]
enum Hold {
    /// Granted by the master.
    Leased(Lease),
    /// Bound by this process: it has no master, or wants the address for itself.
    Own(Bound),
}

/// An address that this process has bound by itself.
#[derive(Debug)]
struct Bound {
    address: BoundAddress,
    /// Whether we made a file that goes with the listener.
    has_file: bool,
    open: SharedTable,
    tag: ListenerTag,
    data: Option<Vec<u8>>,
    link: Option<&'static Link>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.has_file {
            binding::clean_up(&self.address);
        }
        if let Some(link) = self.link {
            link.lock().unwatch(self.tag);
        }
    }
}

impl Listen {
    /// Listens on TCP.
    ///
    /// # Errors
    ///
    /// As [`listen`].
    ///
    /// # Panics
    ///
    /// As [`listen`].
    pub async fn open(self) -> io::Result<Listener<TcpStream>> {
        self.open_as().await
    }

    /// Listens on a Unix path (or an inherited Unix socket).
    ///
    /// # Errors
    ///
    /// As [`listen`].
    ///
    /// # Panics
    ///
    /// As [`listen`].
    pub async fn open_unix(self) -> io::Result<Listener<UnixStream>> {
        self.open_as().await
    }

    async fn open_as<S: Stream>(self) -> io::Result<Listener<S>> {
        match link()? {
            Some(link) if !self.exclusive => self.open_on(link).await,
            master => {
                let address = self.resolve().await?;
                let connections_max = self.connections_max;
                let (bound, socket) = self.bind(&address, master)?;
                Listener::new(Hold::Own(bound), Some(socket), connections_max)
            }
        }
    }

    /// Listens through the master.
    pub(crate) async fn open_on<S: Stream>(self, link: &'static Link) -> io::Result<Listener<S>> {
        let wish = lease::Wish {
            address: self.resolve().await?,
            options: self.options,
            data: self.data,
            connections_max: self.connections_max,
        };
        let (lease, socket) = lease::ask(link, wish).await?;
        Listener::new(Hold::Leased(lease), socket, self.connections_max)
    }

    fn bind(
        self,
        address: &ListenAddress,
        master: Option<&'static Link>,
    ) -> io::Result<(Bound, OwnedFd)> {
        let allowed = match address {
            ListenAddress::Inherited { descriptor } => vec![*descriptor],
            ListenAddress::Tcp(_)
            | ListenAddress::TcpAny { .. }
            | ListenAddress::Unix(_)
            | ListenAddress::Udp(_) => Vec::new(),
        };
        let bound = binding::open(address, self.options, &allowed)?;
        binding::send_at_once(&bound.socket);
        let (open, tag) = match master {
            Some(link) => (link.open.clone(), link.lock().new_tag()),
            None => (SharedTable::default(), ListenerTag(0)),
        };
        let hold = Bound {
            address: bound.address,
            has_file: matches!(address, ListenAddress::Unix(_)),
            open,
            tag,
            data: self.data,
            link: master,
        };
        Ok((hold, bound.socket))
    }
}

impl Hold {
    fn link(&self) -> Option<&'static Link> {
        match self {
            Self::Leased(lease) => Some(lease.link),
            Self::Own(bound) => bound.link,
        }
    }

    fn bound(&self) -> &BoundAddress {
        match self {
            Self::Leased(lease) => &lease.bound,
            Self::Own(bound) => &bound.address,
        }
    }

    fn count(&self) -> (&SharedTable, ListenerTag) {
        match self {
            Self::Leased(lease) => (&lease.link.open, lease.tag),
            Self::Own(bound) => (&bound.open, bound.tag),
        }
    }
}

impl<S: Stream> Listener<S> {
    fn new(
        hold: Hold,
        socket: Option<OwnedFd>,
        connections_max: Option<usize>,
    ) -> io::Result<Self> {
        // What was asked for and what came may differ in kind: an inherited socket.
        S::local(hold.bound())?;
        let own = socket.map(S::listener).transpose()?;
        Ok(Self {
            hold,
            own,
            connections_max,
        })
    }

    /// Accepts the next connection, acked and ready to be read.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) once this worker has left its master, or
    /// lost it, and all connections are closed. Where this process accepts by itself, also
    /// those of accept(2), after which it may be tried again. One task at a time should wait
    /// there, since only the latest is woken.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is acked and taken in the last step.
    pub async fn accept(&self) -> io::Result<(S, S::Address)> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    /// Polls for the next connection, as [`accept`](Self::accept) does.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(S, S::Address)>> {
        match (&self.own, &self.hold) {
            // It may be handed some, too: what the kernel could give to nobody.
            (Some(own), Hold::Leased(lease)) => {
                match lease.link.poll_take(context, (lease.server, lease.tag)) {
                    Poll::Pending => self.poll_own(context, own),
                    taken @ Poll::Ready(_) => taken,
                }
            }
            (Some(own), Hold::Own(_)) => self.poll_own(context, own),
            (None, Hold::Leased(lease)) => lease.link.poll_take(context, (lease.server, lease.tag)),
            // What is bound here has its socket, so this is never reached.
            (None, Hold::Own(_)) => Poll::Ready(Err(over())),
        }
    }

    fn poll_own(
        &self,
        context: &mut Context<'_>,
        own: &S::Kernel,
    ) -> Poll<io::Result<(S, S::Address)>> {
        let (stream, address) = ready!(self.poll_one_of(context, own))?;
        let (open, tag) = self.hold.count();
        open.lock().note(&stream, tag);
        Poll::Ready(Ok((stream, address)))
    }

    /// Accepts from a socket in this process, and counts nothing.
    fn poll_one_of(
        &self,
        context: &mut Context<'_>,
        own: &S::Kernel,
    ) -> Poll<io::Result<(S, S::Address)>> {
        let (open, tag) = self.hold.count();
        if let Some(link) = self.hold.link()
            && !link.poll_accepting(context, tag)?
        {
            return Poll::Pending;
        }
        loop {
            let accepted = ready!(S::poll_accept(own, context))?;
            let is_full = |max| open.lock().count_of(tag) >= max;
            if !self.connections_max.is_some_and(is_full) {
                return Poll::Ready(Ok(accepted));
            }
        }
    }

    /// Returns where it really listens, with the port that the kernel chose.
    ///
    /// # Errors
    ///
    /// None in practice: the kind of the address was checked when it was opened.
    pub fn local_addr(&self) -> io::Result<S::Address> {
        S::local(self.hold.bound())
    }

    /// Returns the bytes that the first worker gave for all; see [`Listen::data`].
    #[must_use]
    pub fn data(&self) -> Option<&[u8]> {
        match &self.hold {
            Hold::Leased(lease) => lease.data.as_deref(),
            Hold::Own(bound) => bound.data.as_deref(),
        }
    }

    /// Resolves when this worker drains: with how long idle keep-alive connections may stay,
    /// which is the time for one more answer that says `Connection: close`.
    ///
    /// Without a master it never does. It does not borrow the listener.
    pub fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        let link = self.hold.link();
        async move {
            let Some(link) = link else {
                return std::future::pending().await;
            };
            link.drained().await
        }
    }

    /// Returns whether this worker drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        let link = self.hold.link();
        link.is_some_and(|link| link.draining.borrow().is_some())
    }

    /// Closes the listener, as dropping it does. What waits in it goes to other workers.
    pub fn close(self) {}
}
