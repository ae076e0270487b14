//! A server of hyper's in a drain, over TCP: who is answered, who is told, what is counted.

use std::convert::Infallible;
use std::hint::spin_loop;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use maitred_protocol::message::Statistics;
use maitred_protocol::{MasterToWorker, WorkerToMaster};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::serve::Server;
use super::*;
use crate::gauges::Gauges;
use crate::http::Accept;
use crate::link::tests::{PATIENCE, meet, open_any, soon};

/// Over at once, for tests of what comes after it.
const NO_GRACE: Duration = Duration::from_millis(1);

/// A kernel's listener that can be asked to drain.
struct Source(TcpListener, watch::Receiver<Option<Duration>>);

impl Accept for Source {
    type Stream = TcpStream;

    fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, Option<SocketAddr>)>> {
        Accept::poll_accept(&mut self.0, context)
    }

    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        let mut asked = self.1.clone();
        async move { asked.wait_for(Option::is_some).await.unwrap().unwrap() }
    }
}

/// A server at work, as its clients and its master see it.
struct Running {
    address: SocketAddr,
    drain: watch::Sender<Option<Duration>>,
    gauges: &'static Gauges,
    /// Has as many permits as handlers may go on.
    gate: Arc<Semaphore>,
    serving: JoinHandle<io::Result<()>>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (drain, asked) = watch::channel(None);
    let gauges = Gauges::leaked();
    let gate = Arc::new(Semaphore::new(0));
    let service = service_fn({
        let gate = Arc::clone(&gate);
        move |request| answer(request, Arc::clone(&gate))
    });
    let server = Server::new(builder(), service, gauges);
    let serving = tokio::spawn(server.serve(Source(listener, asked)));
    Running {
        address,
        drain,
        gauges,
        gate,
        serving,
    }
}

impl Running {
    async fn connect(&self) -> Client {
        Client(soon(TcpStream::connect(self.address)).await.unwrap())
    }

    fn drain(&self, grace: Duration) {
        self.drain.send_replace(Some(grace));
    }

    /// Has it drain, and returns when it does.
    async fn drained(&self, grace: Duration) {
        let mut witness = self.connect().await;
        // One that is accepted; others would come too late.
        witness.ask("/").await;
        self.drain(grace);
        if grace == NO_GRACE {
            assert_eq!(witness.rest().await, "");
            return;
        }
        while !is_last(&witness.ask("/").await) {}
    }

    async fn counts(&self, expected: [u32; 4]) {
        let mut now = interval(Duration::from_millis(1));
        let counted = async {
            while self.gauges.all() != expected {
                now.tick().await;
            }
        };
        let counted = tokio::time::timeout(PATIENCE, counted).await;
        counted.unwrap_or_else(|_| panic!("{:?}, not {expected:?}", self.gauges.all()));
    }

    async fn ends(self) {
        soon(self.serving).await.unwrap().unwrap();
        assert_eq!(self.gauges.all(), [0; 4]);
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).boxed_unsync())
}

async fn answer(request: Request<Incoming>, gate: Arc<Semaphore>) -> Result<Answer, Infallible> {
    Ok(match request.uri().path() {
        "/wait" => {
            gate.acquire().await.unwrap().forget();
            text("waited")
        }
        "/stream" => {
            let pieces = stream::unfold(0, move |sent| next_piece(sent, Arc::clone(&gate)));
            Response::new(StreamBody::new(pieces).boxed_unsync())
        }
        "/upgrade" => upgrade(request),
        "/client" => text(
            request
                .extensions()
                .get::<SocketAddr>()
                .unwrap()
                .to_string(),
        ),
        _ => text("hello"),
    })
}

/// A piece at once, and the last one when it may go on.
async fn next_piece(
    sent: usize,
    gate: Arc<Semaphore>,
) -> Option<(Result<Frame<Bytes>, Infallible>, usize)> {
    let piece = *["first", "last"].get(sent)?;
    if sent > 0 {
        gate.acquire().await.unwrap().forget();
    }
    Some((
        Ok(Frame::data(Bytes::from_static(piece.as_bytes()))),
        sent + 1,
    ))
}

/// Echoes from then on, and says when it hears of the drain.
fn upgrade(mut request: Request<Incoming>) -> Answer {
    let draining = request.extensions().get::<Draining>().unwrap().clone();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let mut stream = TokioIo::new(upgraded);
        draining.begun().await;
        assert!(draining.has_begun());
        stream.write_all(b"draining").await.unwrap();
        let (mut from, mut to) = tokio::io::split(stream);
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    });
    let mut response = text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("echo"));
    response
}

/// A client that speaks HTTP/1, byte by byte.
struct Client(TcpStream);

impl Client {
    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    async fn request(&mut self, path: &str) {
        self.say(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
    }

    /// Returns what comes up to and including `end`.
    async fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            let byte = soon(self.0.read_u8()).await;
            let so_far = || String::from_utf8_lossy(&heard).into_owned();
            let byte = byte.unwrap_or_else(|error| panic!("{error} after {:?}", so_far()));
            heard.push(byte);
        }
        String::from_utf8(heard).unwrap()
    }

    /// Sends a request and returns the answer's head; its body is one that [`answer`] gives.
    async fn ask(&mut self, path: &str) -> String {
        self.request(path).await;
        self.hear("hello").await
    }

    /// Returns all that comes until the server closes.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        soon(self.0.read_to_string(&mut rest)).await.unwrap();
        rest
    }
}

fn is_last(answer: &str) -> bool {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer.contains("\r\nconnection: close\r\n")
}

/// Turns for as long as `random` says, up to the time that a request takes.
fn turn(random: u64) {
    for _ in 0..random % 20_000 {
        spin_loop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_the_very_moment_of_the_drain_is_answered() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        // Xorshift: any mixture of early and late will do.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut after_the_drain = 0;
    for _ in 0..200 {
        let running = start().await;
        let mut client = running.connect().await;
        assert!(!is_last(&client.ask("/").await));
        let (drain, before, until) = (running.drain.clone(), next(), next());
        let asking = tokio::spawn(async move {
            turn(before);
            drain.send_replace(Some(PATIENCE));
        });
        turn(until);
        let mut last = is_last(&client.ask("/").await);
        after_the_drain += u32::from(last);
        while !last {
            last = is_last(&client.ask("/").await);
        }
        assert_eq!(client.rest().await, "");
        asking.await.unwrap();
        running.ends().await;
    }
    // Otherwise the two never met, and nothing was tested.
    assert!((1..200).contains(&after_the_drain), "{after_the_drain}");
}

#[tokio::test]
async fn a_connection_not_heard_from_is_served_within_the_grace() {
    let running = start().await;
    let mut silent = running.connect().await;
    running.counts([1, 0, 0, 0]).await;
    running.drained(PATIENCE).await;
    assert!(is_last(&silent.ask("/").await));
    assert_eq!(silent.rest().await, "");
    running.ends().await;
}

#[tokio::test]
async fn what_is_idle_is_closed_when_the_grace_is_over() {
    let running = start().await;
    let mut silent = running.connect().await;
    let mut used = running.connect().await;
    assert!(!is_last(&used.ask("/").await));
    running.counts([2, 0, 0, 0]).await;
    running.drain(NO_GRACE);
    assert_eq!(silent.rest().await, "");
    assert_eq!(used.rest().await, "");
    running.ends().await;
}

#[tokio::test]
async fn a_request_that_has_begun_is_served_after_the_grace() {
    let running = start().await;
    let mut first = running.connect().await;
    let mut later = running.connect().await;
    first.say("G").await;
    assert!(!is_last(&later.ask("/").await));
    later.say("GET / HTTP/1.1\r\nhost:").await;
    // The witness is heard after the two.
    running.drained(NO_GRACE).await;
    first.say("ET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    later.say(" a\r\n\r\n").await;
    for client in [&mut first, &mut later] {
        assert!(is_last(&client.hear("hello").await));
        assert_eq!(client.rest().await, "");
    }
    running.ends().await;
}

#[tokio::test]
async fn a_handler_that_is_at_work_is_waited_for() {
    let running = start().await;
    let mut waiting = running.connect().await;
    let mut streaming = running.connect().await;
    waiting.request("/wait").await;
    streaming.request("/stream").await;
    assert!(!is_last(&streaming.hear("first\r\n").await));
    running.counts([0, 1, 1, 0]).await;
    running.drained(NO_GRACE).await;
    running.gate.add_permits(2);
    assert!(is_last(&waiting.hear("waited").await));
    assert_eq!(waiting.rest().await, "");
    assert_eq!(streaming.rest().await, "4\r\nlast\r\n0\r\n\r\n");
    running.ends().await;
}

#[tokio::test]
async fn an_upgraded_connection_hears_of_the_drain_and_lives_on() {
    let running = start().await;
    let mut client = running.connect().await;
    client
        .say("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    let head = client.hear("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    running.counts([0, 0, 0, 1]).await;
    running.drained(NO_GRACE).await;
    client.hear("draining").await;
    client.say("still here").await;
    assert_eq!(client.hear("still here").await, "still here");
    assert!(!running.serving.is_finished());
    drop(client);
    running.ends().await;
}

#[tokio::test]
async fn http2_is_told_at_once_and_what_it_asked_is_answered() {
    let running = start().await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (requests, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut requests = soon(requests.ready()).await.unwrap();
    let url = format!("http://{}/wait", running.address);
    let request = Request::get(url).version(Version::HTTP_2).body(());
    let (response, _) = requests.send_request(request.unwrap(), true).unwrap();
    running.counts([0, 1, 0, 0]).await;
    running.drain(PATIENCE);
    let mut next = Ok(requests);
    let refusal = loop {
        match soon(next.unwrap().ready()).await {
            Ok(ready) => next = Ok::<_, Infallible>(ready),
            Err(refusal) => break refusal,
        }
        tokio::task::yield_now().await;
    };
    assert!(refusal.is_go_away() && refusal.is_remote(), "{refusal:?}");
    assert_eq!(refusal.reason(), Some(h2::Reason::NO_ERROR));
    running.gate.add_permits(1);
    let mut body = soon(response).await.unwrap().into_body();
    let data = soon(body.data()).await.unwrap().unwrap();
    assert_eq!(data, "waited");
    drop(body);
    soon(connection).await.unwrap().unwrap();
    running.ends().await;
}

/// The preface, and empty settings.
const HTTP2_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Returns the types of the frames that come until the server closes.
async fn frames(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon(client.0.read_to_end(&mut bytes)).await.unwrap();
    let mut types = Vec::new();
    let mut rest = bytes.as_slice();
    while let [high, middle, low, kind, _, _, _, _, _, tail @ ..] = rest {
        types.push(*kind);
        let len = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        rest = &tail[len..];
    }
    types
}

const GOAWAY: u8 = 7;

#[tokio::test]
async fn http2_that_says_nothing_more_is_told_and_given_up_after_the_grace() {
    let running = start().await;
    let mut client = running.connect().await;
    client.say(HTTP2_HELLO).await;
    running.drained(NO_GRACE).await;
    assert!(frames(&mut client).await.contains(&GOAWAY));
    running.ends().await;
}

#[tokio::test]
async fn who_begins_with_http2_in_the_drain_is_told_at_once() {
    let running = start().await;
    let mut client = running.connect().await;
    running.counts([1, 0, 0, 0]).await;
    running.drained(PATIENCE).await;
    client.say(HTTP2_HELLO).await;
    let mut frame = [0; 9];
    let mut types = Vec::new();
    while types.last() != Some(&GOAWAY) {
        soon(client.0.read_exact(&mut frame)).await.unwrap();
        types.push(frame[3]);
        let len = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        soon(client.0.read_exact(&mut vec![0; len])).await.unwrap();
    }
    drop(client);
    running.ends().await;
}

#[tokio::test]
async fn a_request_knows_its_client() {
    let running = start().await;
    let mut client = running.connect().await;
    let address = client.0.local_addr().unwrap().to_string();
    client.request("/client").await;
    client.hear(&address).await;
}

#[tokio::test]
async fn a_program_without_a_master_can_drain_of_its_own_wish() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let listener = listener.until(async { stopped.await.unwrap() });
    let service = service_fn(|request| answer(request, Arc::new(Semaphore::new(0))));
    let serving = tokio::spawn(serve(listener, service));
    let mut client = Client(TcpStream::connect(address).await.unwrap());
    client.ask("/").await;
    stop.send(()).unwrap();
    assert_eq!(client.rest().await, "");
    soon(serving).await.unwrap().unwrap();
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_router_of_axum_s_is_served_as_it_is() {
    use axum::extract::{ConnectInfo, Extension};
    let here = async |ConnectInfo(client): ConnectInfo<SocketAddr>,
                      Extension(draining): Extension<Draining>| {
        format!("{client}, {}", draining.has_begun())
    };
    let app = axum::Router::new().fallback(here);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, app));
    let mut client = Client(TcpStream::connect(address).await.unwrap());
    let expected = format!("{}, false", client.0.local_addr().unwrap());
    client.request("/").await;
    client.hear(&expected).await;
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn the_master_knows_in_a_drain_what_there_is_to_cut() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let gate = Arc::new(Semaphore::new(0));
    let service = service_fn({
        let gate = Arc::clone(&gate);
        move |request| answer(request, Arc::clone(&gate))
    });
    let server = Server::new(builder(), service, link.gauges);
    let serving = tokio::spawn(server.serve(listener));
    let mut idle = Client(master.hand_off().await.0);
    idle.ask("/").await;
    let mut busy = Client(master.hand_off().await.0);
    busy.request("/wait").await;
    let grace = PATIENCE;
    soon(async {
        while link.gauges.all() != [1, 1, 0, 0] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    master.tell(&MasterToWorker::Drain { grace });
    let mut told = Statistics::default();
    loop {
        let word = master.hear_any().await;
        if let WorkerToMaster::Statistics(news) = word {
            told = news;
        } else if matches!(word, WorkerToMaster::Close { .. }) {
            // The server has closed its listener, so it drains.
            break;
        }
    }
    assert_eq!((told.open, told.idle, told.busy), (2, 1, 1));
    gate.add_permits(1);
    busy.hear("waited").await;
    assert_eq!(busy.rest().await, "");
    drop(busy);
    while told.open != 1 {
        if let WorkerToMaster::Statistics(news) = master.hear_any().await {
            told = news;
        }
    }
    assert_eq!((told.idle, told.busy, told.requests), (1, 0, 2));
    assert!(is_last(&idle.ask("/").await));
    soon(serving).await.unwrap().unwrap();
}
