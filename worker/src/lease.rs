//! A server that this worker has been granted, until it gives it back.

use std::io;
use std::os::fd::OwnedFd;

use maitred_protocol::ServerId;
use maitred_protocol::message::{BoundAddress, ListenAddress, ListenOptions, ServerOutcome};

use crate::link::{Link, over};
use crate::open_connections::ListenerTag;
use crate::state::granted;

/// The right to a server. Dropping it gives it back, so that it cannot be forgotten on any
/// path: the master would wait for this worker to take its turn.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) link: &'static Link,
    pub(crate) server: ServerId,
    pub(crate) tag: ListenerTag,
    pub(crate) bound: BoundAddress,
    pub(crate) data: Option<Vec<u8>>,
    _index: Index,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.link.with(|state| state.close_server(self.server));
    }
}

/// A wish for a server, as its number among the listens on its address counts it.
#[derive(Debug)]
struct Index {
    link: &'static Link,
    address: ListenAddress,
    number: u32,
    granted: bool,
}

impl Drop for Index {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        if self.granted {
            state.indexes.closed(&self.address);
        } else {
            state.indexes.failed(&self.address, self.number);
        }
    }
}

/// What to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) address: ListenAddress,
    pub(crate) options: ListenOptions,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) connections_max: Option<usize>,
}

/// Asks the master for a server, and listens. Under the policies `shared` and `kernel`, and
/// for UDP, the socket itself comes along.
///
/// # Errors
///
/// The errno that the master met, or `NotConnected` when it is gone.
///
/// # Cancel safety
///
/// Cancel safe: what was granted and not taken is given back.
pub(crate) async fn ask(link: &'static Link, wish: Wish) -> io::Result<(Lease, Option<OwnedFd>)> {
    link.identity().await?;
    let address = wish.address.clone();
    let (number, answer) = link.with(|state| state.query(wish.address, wish.options, wish.data));
    let mut index = Index {
        link,
        address,
        number,
        granted: false,
    };
    let (outcome, socket) = granted(answer.await.ok())?;
    index.granted = true;
    let (ServerOutcome::HandedOver {
        server,
        bound,
        data,
    }
    | ServerOutcome::Shared {
        server,
        bound,
        data,
    }) = outcome
    else {
        return Err(over());
    };
    let tag = link.with(|state| state.open_server(server, wish.connections_max));
    let lease = Lease {
        link,
        server,
        tag,
        bound,
        data,
        _index: index,
    };
    Ok((lease, socket))
}
