//! Messages between the program in the worker and the program that runs the master.
//!
//! Both ways are bounded, and both bounds are seen by somebody. Outwards a full queue is an
//! error of [`send`](crate::Worker::send). Inwards, messages that nobody takes are dropped
//! when the queue is full, the newest first, and counted ([`Messages::missed`]): to stop
//! reading instead would stop connections and heartbeats too, which use the same channel.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use maitred_protocol::message::UserMessage;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::mpsc;

/// Most received messages that wait for the program.
///
/// Room for a burst while a handler computes; at the frame limit it is 8 MiB.
const RECEIVED_MAX: usize = 128;

/// Why a message to the master's program could not be sent.
///
/// Messages read after "failed to".
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The master reads more slowly than this program writes.
    #[error("send a message: {max} of them wait already")]
    QueueFull {
        /// The limit.
        max: usize,
    },
    /// The message exceeds the limit of the channel.
    #[error("send a message: length {len} exceeds the limit {max}")]
    TooLong {
        /// Its length with what frames it, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The channel to the master is closed.
    #[error("send a message: the channel to the master is closed")]
    Disconnected,
    /// The value has no JSON form.
    #[error("send a message: {0}")]
    NotJson(#[from] serde_json::Error),
}

/// The messages that come from the master's program.
///
/// A stream that ends when the channel is closed. Those that came before anybody asked wait
/// in it.
#[derive(Debug)]
pub struct Messages {
    receiver: mpsc::Receiver<UserMessage>,
    missed: Arc<AtomicU64>,
}

impl Messages {
    /// Receives the next message; `None` when the channel is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message is taken in the last step.
    pub async fn recv(&mut self) -> Option<Value> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// Receives the next message, as [`recv`](Self::recv) does.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Value>> {
        loop {
            let received = std::task::ready!(self.receiver.poll_recv(context));
            match received.map(|message| serde_json::from_str(&message.json)) {
                Some(Ok(value)) => return Poll::Ready(Some(value)),
                None => return Poll::Ready(None),
                Some(Err(_not_json)) => self.missed.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    /// Returns how many messages were dropped: for want of room, or because they were no JSON.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Stream for Messages {
    type Item = Value;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Value>> {
        self.get_mut().poll_recv(context)
    }
}

/// The end where the link puts in what it receives.
#[derive(Debug)]
pub(crate) struct Received {
    sender: Option<mpsc::Sender<UserMessage>>,
    unclaimed: Option<Messages>,
    missed: Arc<AtomicU64>,
}

impl Received {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(RECEIVED_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let unclaimed = Messages {
            receiver,
            missed: missed.clone(),
        };
        Self {
            sender: Some(sender),
            unclaimed: Some(unclaimed),
            missed,
        }
    }

    /// Puts a message in, or counts it as missed.
    pub(crate) fn put(&self, message: UserMessage) {
        let sent = self.sender.as_ref().map(|sender| sender.try_send(message));
        if !matches!(sent, Some(Ok(()))) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the receiving end to the first who asks.
    pub(crate) fn claim(&mut self) -> Option<Messages> {
        self.unclaimed.take()
    }

    /// No more will come.
    pub(crate) fn close(&mut self) {
        self.sender = None;
    }
}
