//! How connections go from a listener's queue to the program, and back if their ack does not go.

use std::net::SocketAddr;

use maitred_protocol::message::RejectReason;
use maitred_protocol::{HandoffId, ServerId};

use crate::link::Link;
use crate::state::{Queued, State};
use crate::stream::Stream;

/// A connection that the runtime watches, and that is not acked yet.
#[derive(Debug)]
pub(crate) struct Registered<S> {
    pub(crate) handoff: HandoffId,
    pub(crate) stream: S,
    pub(crate) client: Option<SocketAddr>,
}

impl State {
    /// Takes the connections that the program is to get next, as many as there are places, and
    /// has the runtime watch them; returns how many.
    pub(crate) fn register_next<'a, S: Stream>(
        &mut self,
        server: ServerId,
        places: impl Iterator<Item = &'a mut Option<Registered<S>>>,
    ) -> usize {
        let mut count = 0;
        for place in places {
            *place = self.register_one(server);
            if place.is_none() {
                break;
            }
            count += 1;
        }
        count
    }

    fn register_one<S: Stream>(&mut self, server: ServerId) -> Option<Registered<S>> {
        while let Some(queued) = self.take_next(server) {
            let (handoff, client) = (queued.handoff, queued.client);
            match S::register(queued.socket) {
                Ok(stream) => {
                    return Some(Registered {
                        handoff,
                        stream,
                        client,
                    });
                }
                Err(_) => self.reject_unregistered(handoff, server),
            }
        }
        None
    }

    fn take_next(&mut self, server: ServerId) -> Option<Queued> {
        if !self.session.hands_out() {
            return None;
        }
        self.queues.get_mut(&server)?.waiting.pop_front()
    }

    /// The runtime did not take a connection (no memory for it, most likely).
    pub(crate) fn reject_unregistered(&mut self, handoff: HandoffId, server: ServerId) {
        self.session.gave_back(server);
        self.reject(handoff, RejectReason::NoDescriptor);
    }

    /// The ack did not go out, so the connection is not the program's yet.
    pub(crate) fn put_back<S: Stream>(&mut self, server: ServerId, registered: Registered<S>) {
        let Registered {
            handoff,
            stream,
            client,
        } = registered;
        match (stream.unregister(), self.queues.get_mut(&server)) {
            (Ok(socket), Some(queue)) => queue.waiting.push_front(Queued {
                handoff,
                socket,
                client,
            }),
            _ => self.reject_unregistered(handoff, server),
        }
    }

    /// The program has so many connections more, and they are acked.
    pub(crate) fn took(&mut self, link: &Link, server: ServerId, count: usize) {
        self.session.took(server, count);
        if self.look_at.is_none() {
            // Something is to be counted: the task sets itself an hour.
            link.bell.notify_one();
        }
    }
}
