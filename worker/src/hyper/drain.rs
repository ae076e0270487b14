//! The moments of a drain, and how a handler hears of it.

use tokio::sync::watch;

/// How far a server is. Each comes once, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    Serving,
    /// Answers end their connection.
    Draining,
    /// Idle connections are closed.
    GraceOver,
}

/// Where all connections of one server look.
#[derive(Clone, Debug)]
pub(super) struct Drain(watch::Receiver<Moment>);

impl Drain {
    /// Makes the server's side, and its connections'.
    pub(super) fn new() -> (watch::Sender<Moment>, Self) {
        let (sender, receiver) = watch::channel(Moment::Serving);
        (sender, Self(receiver))
    }

    /// Whether this moment has come.
    pub(super) fn has_reached(&self, moment: Moment) -> bool {
        *self.0.borrow() >= moment
    }

    /// Waits for it, or for the end of the server. Cancel safe.
    pub(super) async fn reaches(&self, moment: Moment) {
        let mut moments = self.0.clone();
        // An error means that the server is gone, and nothing is left to wait for.
        let _gone = moments.wait_for(|now| *now >= moment).await;
    }

    pub(super) fn for_handlers(&self) -> Draining {
        Draining(self.clone())
    }
}

/// Tells a handler whether its worker drains. An extension of every request.
///
/// A handler whose connection does not end by itself should listen to it: a WebSocket says
/// goodbye, an event stream ends. Until the master's deadline nobody makes them.
///
/// With axum it is asked for as `Extension(draining): Extension<Draining>`.
#[derive(Clone, Debug)]
pub struct Draining(Drain);

impl Draining {
    /// Returns whether the drain has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.has_reached(Moment::Draining)
    }

    /// Waits until it begins.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn begun(&self) {
        self.0.reaches(Moment::Draining).await;
    }
}
