//! Serves a listener until the worker drains, and then what is held.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use super::connection;
use super::drain::{Drain, Moment};
use super::life::Life;
use super::service::{AnyService, OnConnection};
use super::watched::Watched;
use crate::gauges::{self, Gauges};
use crate::http::{ACCEPT_PAUSE, Accept, Fate, fate_of};

/// Serves what `listener` brings until the worker drains, and then what is held; see the
/// [module](super) for what becomes of whom. Returns when the last connection is closed,
/// those included that were upgraded.
///
/// Each connection is a task of its own. Without a master it serves for ever, or until you
/// say so: see [`Accept::until`].
///
/// # Errors
///
/// The error with which the listener finished, once its connections are served.
///
/// # Panics
///
/// Outside a tokio runtime with I/O and time. A panic in a handler is its connection's end
/// and no more.
///
/// # Cancel safety
///
/// Dropping the future drops all connections, wherever they are, except those that were
/// upgraded: these are the program's.
pub async fn serve<K, S: AnyService<K>>(listener: impl Accept, service: S) -> io::Result<()> {
    serve_with(builder(), listener, service).await
}

/// Serves as [`serve`] does, with hyper's settings as you want them.
///
/// # Errors
///
/// As [`serve`].
///
/// # Panics
///
/// As [`serve`].
///
/// # Cancel safety
///
/// As [`serve`].
pub async fn serve_with<K, S: AnyService<K>>(
    builder: Builder<TokioExecutor>,
    listener: impl Accept,
    service: S,
) -> io::Result<()> {
    let gauges = &gauges::PROCESS;
    Server::new(builder, service, gauges).serve(listener).await
}

/// Returns the settings that [`serve`] has: hyper's own, with clocks, so that its timeouts
/// are in force.
#[must_use]
pub fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    builder
}

/// A server at work.
pub(super) struct Server<S> {
    builder: Arc<Builder<TokioExecutor>>,
    service: S,
    gauges: &'static Gauges,
    moments: watch::Sender<Moment>,
    drain: Drain,
    tasks: JoinSet<()>,
}

impl<S> Server<S> {
    pub(super) fn new(
        builder: Builder<TokioExecutor>,
        service: S,
        gauges: &'static Gauges,
    ) -> Self {
        let (moments, drain) = Drain::new();
        Self {
            builder: Arc::new(builder),
            service,
            gauges,
            moments,
            drain,
            tasks: JoinSet::new(),
        }
    }

    pub(super) async fn serve<K>(mut self, mut listener: impl Accept) -> io::Result<()>
    where
        S: AnyService<K>,
    {
        let (open, mut all_closed) = mpsc::channel(1);
        let mut draining = pin!(listener.draining());
        let outcome = loop {
            tokio::select! {
                biased;
                grace = &mut draining => break Ok(grace),
                accepted = accept(&mut listener) => match accepted {
                    Ok((stream, client)) => self.take(stream, client, open.clone()),
                    Err(error) => break Err(error),
                }
            }
        };
        drop(open);
        // What waits in it is not ours, and its clients should not wait for us.
        drop(listener);
        self.moments.send_replace(Moment::Draining);
        // Without a listener there is nobody who grants a grace.
        let grace = *outcome.as_ref().unwrap_or(&Duration::ZERO);
        tokio::select! {
            biased;
            _ = all_closed.recv() => {}
            () = sleep(grace) => {
                self.moments.send_replace(Moment::GraceOver);
                all_closed.recv().await;
            }
        }
        outcome.map(drop)
    }

    /// Has a connection served by a task of its own.
    fn take<K, I>(&mut self, stream: I, client: Option<SocketAddr>, open: mpsc::Sender<Infallible>)
    where
        S: AnyService<K>,
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Those that have ended leave, so that there are never more than were open at once.
        while self.tasks.try_join_next().is_some() {}
        let life = Life::new(self.gauges);
        let stream = TokioIo::new(Watched::new(stream, Arc::clone(&life), open));
        let drain = self.drain.clone();
        let service = OnConnection {
            service: self.service.clone().into_hyper(),
            life: Arc::clone(&life),
            drain: drain.clone(),
            client,
        };
        let builder = Arc::clone(&self.builder);
        self.tasks.spawn(async move {
            let connection = builder.serve_connection_with_upgrades(stream, service);
            connection::run(connection, &life, &drain).await;
        });
    }
}

/// Waits for the next connection; an error is the listener's end. Cancel safe.
async fn accept<A: Accept>(listener: &mut A) -> io::Result<(A::Stream, Option<SocketAddr>)> {
    loop {
        // However many wait, the runtime's other tasks get their turn.
        consume_budget().await;
        match poll_fn(|context| listener.poll_accept(context)).await {
            Ok(accepted) => return Ok(accepted),
            Err(error) => match fate_of(&error) {
                Fate::NextAtOnce => {}
                Fate::Pause => sleep(ACCEPT_PAUSE).await,
                Fate::Finished => return Err(error),
            },
        }
    }
}
