//! The whole of a worker's side against a master that is played here.

mod ending;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use maitred_protocol::message::{
    BoundAddress, QueryId, ServerOutcome, ServerQuery, UserMessage, Welcome,
};
use maitred_protocol::native::{Encoded, MasterEnd, MasterInbox, pair};
use maitred_protocol::{
    Generation, HandoffId, MasterToWorker, ServerId, SlotId, WorkerId, WorkerToMaster,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::address::Listen;
use crate::http::Accept;
use crate::listener::Listener;
use crate::session::Wish;

const SERVER: ServerId = ServerId(7);
const WINDOW: u32 = 2;

/// Long for anything that happens on one machine; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what)
        .await
        .expect("it happens within the deadline")
}

/// The master's side, and the door that clients come in by.
pub(crate) struct Master {
    end: MasterEnd,
    inbox: MasterInbox,
    door: TcpListener,
    handoffs: u64,
}

/// Makes a link, and a master that has greeted it.
pub(crate) async fn meet() -> (&'static Link, Master) {
    let (master, worker) = pair().unwrap();
    let (end, inbox) = MasterEnd::new(master).unwrap();
    let (worker_end, worker_inbox) = WorkerEnd::new(worker).unwrap();
    worker_end.hello().unwrap();
    // As in a program, where it lives as long as the process.
    let link: &'static Link = Box::leak(Box::new(Link::new(
        worker_end,
        worker_inbox,
        Gauges::leaked(),
    )));
    tokio::spawn(service::serve(link));
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut master = Master {
        end,
        inbox,
        door,
        handoffs: 0,
    };
    assert!(matches!(master.hear().await, WorkerToMaster::Hello { .. }));
    master.tell(&MasterToWorker::Welcome(Welcome {
        version: maitred_protocol::version::PROTOCOL_VERSION,
        worker: WorkerId(3),
        slot: SlotId(1),
        generation: Generation(0),
        window: WINDOW,
    }));
    assert_eq!(master.hear().await, WorkerToMaster::Online);
    (link, master)
}

impl Master {
    pub(crate) fn tell(&self, message: &MasterToWorker) {
        self.end.send(&Encoded::new(message).unwrap(), &[]).unwrap();
    }

    /// Returns the next word; statistics are told whenever it is time, and not here.
    async fn hear(&mut self) -> WorkerToMaster {
        loop {
            let word = self.hear_any().await;
            if !matches!(word, WorkerToMaster::Statistics(_)) {
                return word;
            }
        }
    }

    pub(crate) async fn hear_any(&mut self) -> WorkerToMaster {
        soon(self.inbox.receive()).await.unwrap()
    }

    async fn hear_query(&mut self) -> ServerQuery {
        let word = self.hear().await;
        let WorkerToMaster::QueryServer(query) = word else {
            panic!("a query was expected, not {word:?}")
        };
        query
    }

    fn grant(&self, query: &ServerQuery, server: ServerId) {
        let outcome = ServerOutcome::HandedOver {
            server,
            bound: BoundAddress::Ip(self.door.local_addr().unwrap()),
            data: None,
        };
        let query = query.query;
        self.tell(&MasterToWorker::ServerReply { query, outcome });
    }

    /// Lets a client in and hands it over; returns the client, and the master's copy.
    pub(crate) async fn hand_off(&mut self) -> (TcpStream, std::net::TcpStream, HandoffId) {
        let client = TcpStream::connect(self.door.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, self.door.accept());
        let (copy, address) = accepted.unwrap();
        let copy = copy.into_std().unwrap();
        let handoff = self.send(&copy, address);
        (client.unwrap(), copy, handoff)
    }

    fn send(&mut self, copy: &std::net::TcpStream, address: SocketAddr) -> HandoffId {
        self.handoffs += 1;
        let handoff = HandoffId(self.handoffs);
        let origin = (SERVER, Some(address));
        self.end.hand_off(handoff, origin, copy.as_fd()).unwrap();
        handoff
    }
}

/// Opens a listener the way `listen` does, on a link of the test's own.
async fn open(link: &'static Link, master: &mut Master, wish: Listen) -> Listener {
    let asking = tokio::spawn(wish.open_on(link));
    let query = master.hear_query().await;
    master.grant(&query, SERVER);
    let listener = soon(asking).await.unwrap().unwrap();
    assert_eq!(
        master.hear().await,
        WorkerToMaster::Listening { server: SERVER }
    );
    listener
}

pub(crate) async fn open_any(link: &'static Link, master: &mut Master) -> Listener {
    open(link, master, Listen::any(0)).await
}

fn ack(handoff: HandoffId) -> WorkerToMaster {
    WorkerToMaster::Ack { handoff }
}

#[tokio::test]
async fn a_connection_is_acked_when_the_program_takes_it_and_not_before() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let (mut client, copy, handoff) = master.hand_off().await;
    // An answer proves that the handoff before it was heard.
    master.tell(&MasterToWorker::Ping { nonce: 1 });
    assert_eq!(master.hear().await, WorkerToMaster::Pong { nonce: 1 });
    let (mut stream, address) = soon(listener.accept()).await.unwrap();
    assert_eq!(address, client.local_addr().unwrap());
    assert_eq!(master.hear().await, ack(handoff));
    drop(copy);
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    soon(stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"ping");
}

#[tokio::test]
async fn more_than_the_window_is_rejected_and_ready_is_said_when_there_is_room() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let mut held = Vec::new();
    for _ in 0..=WINDOW {
        held.push(master.hand_off().await);
    }
    let rejected = held.last().unwrap().2;
    assert!(matches!(
        master.hear().await,
        WorkerToMaster::Reject { handoff, .. } if handoff == rejected
    ));
    for (_, _, handoff) in &held[..WINDOW as usize] {
        let _taken = soon(listener.accept()).await.unwrap();
        assert_eq!(master.hear().await, ack(*handoff));
    }
    assert_eq!(master.hear().await, WorkerToMaster::Ready);
}

#[tokio::test]
async fn a_cancelled_accept_takes_nothing() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    {
        let mut accept = std::pin::pin!(listener.accept());
        assert!(futures_util::poll!(accept.as_mut()).is_pending());
    }
    let (_client, _copy, handoff) = master.hand_off().await;
    let _stream = soon(listener.accept()).await.unwrap();
    assert_eq!(master.hear().await, ack(handoff));
}

#[tokio::test]
async fn two_tasks_may_accept_from_one_listener() {
    let (link, mut master) = meet().await;
    let listener = std::sync::Arc::new(open_any(link, &mut master).await);
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let listener = listener.clone();
            tokio::spawn(async move { listener.accept().await.map(|(stream, _)| stream) })
        })
        .collect();
    let guests = [master.hand_off().await, master.hand_off().await];
    for task in tasks {
        soon(task).await.unwrap().unwrap();
    }
    let acks = [master.hear().await, master.hear().await];
    assert_eq!(acks, [ack(guests[0].2), ack(guests[1].2)]);
}

#[tokio::test]
async fn a_drain_gives_back_what_waits_and_tells_the_program() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let (_first, _copy, taken) = master.hand_off().await;
    let (stream, _) = soon(listener.accept()).await.unwrap();
    assert_eq!(master.hear().await, ack(taken));
    let (_second, _copy, waiting) = master.hand_off().await;
    let grace = Duration::from_millis(1234);
    master.tell(&MasterToWorker::Drain { grace });
    assert!(matches!(
        master.hear().await,
        WorkerToMaster::Reject { handoff, .. } if handoff == waiting
    ));
    assert_eq!(soon(listener.draining()).await, grace);
    assert!(listener.is_draining());

    // The channel stays open for the connection that is held, and closes after it.
    master.tell(&MasterToWorker::Disconnect);
    master.tell(&MasterToWorker::Ping { nonce: 2 });
    assert_eq!(master.hear().await, WorkerToMaster::Pong { nonce: 2 });
    let mut accept = std::pin::pin!(listener.accept());
    assert!(futures_util::poll!(accept.as_mut()).is_pending());
    drop(stream);
    let error = soon(accept).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert!(matches!(
        soon(master.inbox.receive()).await,
        Err(maitred_protocol::ChannelError::PeerGone)
    ));
    assert!(!link.outlives());
}

#[tokio::test]
async fn a_full_listener_gives_back_and_asks_again_when_a_connection_closes() {
    let (link, mut master) = meet().await;
    let listener = open(link, &mut master, Listen::any(0).connections_max(1)).await;
    let (_client, _copy, taken) = master.hand_off().await;
    let (stream, _) = soon(listener.accept()).await.unwrap();
    assert_eq!(master.hear().await, ack(taken));
    let (_other, _copy, refused) = master.hand_off().await;
    assert!(matches!(
        master.hear().await,
        WorkerToMaster::Reject { handoff, .. } if handoff == refused
    ));
    drop(stream);
    assert_eq!(master.hear().await, WorkerToMaster::Ready);
}

/// Takes what waits, as our servers do: all at once. Returns whose they are, in order.
async fn take_some(listener: &mut Listener) -> Vec<SocketAddr> {
    let mut places = [const { None }; 8];
    let take = std::future::poll_fn(|cx| listener.poll_accept_some(cx, &mut places));
    soon(take).await.unwrap();
    let taken = places.into_iter().flatten();
    taken.map(|(_, client)| client.unwrap()).collect()
}

#[tokio::test]
async fn a_server_takes_all_that_waits_at_once_and_in_order_also_after_a_full_channel() {
    let (link, mut master) = meet().await;
    let mut listener = open_any(link, &mut master).await;
    let mut places = [const { None }; 8];
    let held = [master.hand_off().await, master.hand_off().await];
    let clients = held
        .each_ref()
        .map(|(client, ..)| client.local_addr().unwrap());
    // The acks do not go into a full channel, so nothing is taken, and nothing is mixed up.
    while link.end.send(&WorkerToMaster::Ready).is_ok() {}
    let taking = std::future::poll_fn(|cx| listener.poll_accept_some(cx, &mut places));
    assert!(futures_util::poll!(std::pin::pin!(taking)).is_pending());
    assert!(places.iter().all(Option::is_none));
    while let Ok(Some(word)) = master.inbox.try_receive() {
        assert!(!matches!(word, WorkerToMaster::Ack { .. }));
    }
    assert_eq!(take_some(&mut listener).await, clients);
    for (_, _, handoff) in held {
        assert_eq!(master.hear().await, ack(handoff));
    }
}
