//! Finds for each connection of the client the same one in the master.
//!
//! Both know its port, and ports are used again. So a connection is joined by port and time:
//! what the master accepts from a port belongs to the client's last connection from it that
//! had been begun by then. Counting uses of a port would not do, for a connection may not
//! reach the master, and another client may get the port in between.

use std::iter::Peekable;

use maitred::{ConnectionId, Moment};

use super::load::Load;
use super::master::Master;

/// Which connection of the master each one of the client is.
#[derive(Debug)]
pub(super) struct Joined {
    /// In the order of [`Load::connections`].
    pub(super) lives: Vec<Option<ConnectionId>>,
    pub(super) count: u64,
    /// Connections of the master that are other clients'.
    pub(super) strangers: u64,
}

/// Something on a port at a moment.
type Place<T> = (u16, Moment, T);

/// Joins two records.
pub(super) fn join(load: &Load, master: &Master) -> Joined {
    let mut uses: Vec<Place<usize>> = load
        .connections
        .iter()
        .enumerate()
        .filter(|(_, connection)| connection.is_connected)
        .filter_map(|(index, connection)| Some((connection.port?, connection.begun, index)))
        .collect();
    let mut accepts: Vec<Place<ConnectionId>> = master
        .lives
        .iter()
        .filter_map(|(id, life)| Some((life.port?, life.accepted, *id)))
        .collect();
    uses.sort_unstable();
    accepts.sort_unstable();

    let mut lives = vec![None; load.connections.len()];
    let mut uses = uses.into_iter().peekable();
    let (mut waiting, mut count) = (Waiting::default(), 0);
    for (port, at, id) in accepts {
        waiting.advance(&mut uses, port, at);
        if let Some(index) = waiting.last.pop() {
            lives[index] = Some(id);
            count += 1;
        }
    }
    let strangers = master.lives.len() as u64 - count;
    Joined {
        lives,
        count,
        strangers,
    }
}

/// Connections of the client from one port that were begun and not accepted yet.
#[derive(Default)]
struct Waiting {
    port: u16,
    /// The last begun is last. One before it has ended, or the port would not be free, and
    /// can only be what waited in the backlog when its client left.
    last: Vec<usize>,
}

impl Waiting {
    /// Goes on to a port and a moment.
    fn advance(
        &mut self,
        uses: &mut Peekable<impl Iterator<Item = Place<usize>>>,
        port: u16,
        at: Moment,
    ) {
        if self.port != port {
            self.port = port;
            self.last.clear();
        }
        while let Some((from, _, index)) =
            uses.next_if(|(from, begun, _)| (*from, *begun) <= (port, at))
        {
            if from == port {
                self.last.push(index);
            }
        }
    }
}
