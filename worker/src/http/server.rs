//! The server: a handler, its limits, and how to set them to work.

use std::{future::poll_fn, io, sync::Arc};

use super::{
    Accept, Limits, connection::run, drain::Common, exchange::Shared, request::Request,
    response::Response, turn::Circle, wire::Wire,
};
use crate::gauges::{self, Gauges};

/// An HTTP/1.1 server around one handler, like Node's `http.createServer`.
///
/// See the [module](super) for an example.
pub struct Server<H> {
    handler: H,
    limits: Limits,
    gauges: &'static Gauges,
}

impl<H, F> Server<H>
where
    H: Fn(Request, Response) -> F,
    F: Future<Output = io::Result<()>>,
{
    /// Creates a server that has `handler` answer every request.
    ///
    /// A handler that returns an error without having answered leaves the answer to the
    /// server: 413, 408 or 400 where reading the body failed, otherwise 500. Errors are not
    /// logged: most mean no more than that a client left.
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            limits: Limits::default(),
            gauges: &gauges::PROCESS,
        }
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Counts elsewhere than with all other servers of the process.
    #[cfg(test)]
    pub(crate) fn counted_by(mut self, gauges: &'static Gauges) -> Self {
        self.gauges = gauges;
        self
    }

    /// Serves what `listener` brings until it asks to drain, and then what is held.
    ///
    /// All connections live inside this one future, and take turns in it; `turn` says how.
    /// It may be spawned if the handler's futures are `Send`. Needs a tokio runtime with
    /// I/O and time.
    ///
    /// While draining, answers carry `Connection: close`; a connection that is idle when
    /// the grace is over is closed without a word.
    ///
    /// # Errors
    ///
    /// The error with which the listener finished, once its connections are served. See
    /// [`Accept::poll_accept`].
    ///
    /// # Panics
    ///
    /// A panic in a handler is not caught. It ends this future and with it, as in Node,
    /// usually the process: whatever state it left behind, no other request will see it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops all connections, wherever they are.
    pub async fn serve<A: Accept>(&self, listener: A) -> io::Result<()> {
        let common = Arc::new(Common {
            limits: self.limits.clone(),
            gauges: self.gauges,
            ..Common::default()
        });
        let open = |stream: A::Stream, remote| {
            let wire = Wire::new(Box::new(stream), self.limits.write_timeout);
            let shared = Shared::new(wire, Arc::clone(&common));
            run(shared, remote, &self.handler, Arc::clone(&common))
        };
        let mut circle = Circle::new(listener, open, &common.drain);
        poll_fn(|cx| circle.poll(cx)).await
    }
}

impl<H> std::fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
