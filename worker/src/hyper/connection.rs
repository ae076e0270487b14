//! One connection, from its first byte to its last or to its upgrade.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::{HttpServerConnExec, UpgradeableConnection};

use super::drain::{Drain, Moment};
use super::life::Life;
use super::service::BoxError;

/// Serves it until it is closed or handed to an upgrade.
///
/// Why it ended is not told: most often a client has left, and the service has seen what
/// concerns it.
pub(super) async fn run<I, S, B>(
    connection: UpgradeableConnection<'_, I, S, TokioExecutor>,
    life: &Life,
    drain: &Drain,
) where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S::Future: 'static,
    B: Body<Error: Into<BoxError>> + 'static,
    TokioExecutor: HttpServerConnExec<S::Future, B>,
{
    let mut connection = pin!(connection);
    // The connection comes first: what has arrived is read before anybody decides.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = until_goodbye(life, drain) => {}
    }
    // GOAWAY over HTTP/2. Over HTTP/1 it closes what is idle, and makes the answer that is
    // under way the last.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        () = until_given_up(life, drain) => {}
    }
}

/// Waits for the time to say goodbye.
///
/// To be polled after the connection in the same task: it looks at what the connection has
/// read, and has itself woken only for the drain.
async fn until_goodbye(life: &Life, drain: &Drain) {
    drain.reaches(Moment::Draining).await;
    // GOAWAY loses nothing: a stream that is on its way to us when we say it is served. And
    // what turns out to be HTTP/2 only now is told now.
    tokio::select! {
        () = until(|| life.speaks_http2()) => return,
        () = drain.reaches(Moment::GraceOver) => {}
    }
    // Its answer will say `Connection: close`, as all do by now.
    until(|| !life.is_in_a_head()).await;
}

/// Waits until a client that was told is to be given up: it has said nothing in the whole
/// grace, not even the answer that HTTP/2 owes us, and has nothing to get. Most likely it is
/// gone, and we would wait for it until the master ends us.
async fn until_given_up(life: &Life, drain: &Drain) {
    if !life.speaks_http2() || drain.has_reached(Moment::GraceOver) {
        return pending().await;
    }
    let heard = life.heard();
    drain.reaches(Moment::GraceOver).await;
    if life.heard() != heard || !life.is_idle() {
        pending::<()>().await;
    }
}

/// Resolves when `holds` does; asked whenever the task is polled.
async fn until(holds: impl Fn() -> bool) {
    poll_fn(|_| match holds() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
