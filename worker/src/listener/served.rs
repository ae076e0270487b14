//! A listener in the hands of a server: ours, hyper's or axum's.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use maitred_protocol::native::MESSAGES_PER_FRAME;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Hold, Listener};
use crate::http::Accept;
use crate::link::over;
use crate::open_connections::Counted;
use crate::stream::Stream;

impl<S: Stream> Listener<S> {
    /// Fills places with connections for one of our servers: as many as there are handoffs, which
    /// are acked together, so the server takes all of them; else one of a socket's own. In a drain
    /// the server is told the end by [`draining`](Self::draining), and so it is no error here.
    fn poll_some(
        &self,
        context: &mut Context<'_>,
        accepted: &mut [Option<(Counted<S>, Option<SocketAddr>)>],
    ) -> Poll<io::Result<usize>> {
        let (table, tag) = self.hold.count();
        let counted = |stream, address| (Counted::new(stream, table, tag), S::client(address));
        let mut polled = Poll::Pending;
        if let Hold::Leased(lease) = &self.hold {
            let places = accepted.len().min(MESSAGES_PER_FRAME);
            let places = &mut accepted[..places];
            polled = lease
                .link
                .poll_take_some(context, lease.server, places, counted);
        }
        if polled.is_pending()
            && let Some(own) = &self.own
        {
            polled = self.poll_one_of(context, own).map_ok(|(stream, address)| {
                accepted[0] = Some(counted(stream, address));
                1
            });
        }
        if matches!(polled, Poll::Ready(Err(_))) && self.is_draining() {
            return Poll::Pending;
        }
        polled
    }
}

impl<S> Accept for Listener<S>
where
    S: Stream + AsyncRead + AsyncWrite,
{
    type Stream = Counted<S>;

    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>> {
        let mut one = [const { None }];
        ready!(self.poll_some(context, &mut one))?;
        let [one] = one;
        Poll::Ready(one.ok_or_else(over))
    }

    fn poll_accept_some(
        &mut self,
        context: &mut Context<'_>,
        accepted: &mut [Option<(Self::Stream, Option<SocketAddr>)>],
    ) -> Poll<io::Result<usize>> {
        self.poll_some(context, accepted)
    }

    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        Self::draining(self)
    }
}

#[cfg(feature = "axum")]
impl<S> axum::serve::Listener for Listener<S>
where
    S: Stream + AsyncRead + AsyncWrite,
{
    type Io = S;
    type Addr = S::Address;

    async fn accept(&mut self) -> (S, S::Address) {
        loop {
            match Self::accept(self).await {
                Ok(accepted) => return accepted,
                // axum has no word for the end of a listener: it stops by its own shutdown.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    std::future::pending::<()>().await;
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<S::Address> {
        Self::local_addr(self)
    }
}

/// How long axum leaves an accept alone that failed, since it cannot hear of errors: long
/// enough not to spin while descriptors are short.
#[cfg(feature = "axum")]
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
