//! Tests of the server as a whole, over in-memory streams.
//!
//! Time is paused: tokio moves it on only when everything waits. So a client that reads to
//! the end of the stream also sees what a timeout does, without anyone sleeping.

mod bodies;
mod counting;
mod draining;
mod exchanges;
mod fairness;
mod laws;
mod patience;
mod refusals;
mod sockets;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::{mpsc, watch},
};

use super::{Accept, Request, Response, Server};

/// Bytes that each direction of a test's connection holds, as a kernel would.
const PIPE: usize = 256 * 1024;

/// The clients' side of a listener in memory.
#[derive(Clone)]
pub(super) struct Connector {
    queue: mpsc::Sender<io::Result<DuplexStream>>,
    grace: watch::Sender<Option<Duration>>,
    polls: Arc<AtomicUsize>,
}

/// The server's side of it.
pub(super) struct Listener {
    queue: mpsc::Receiver<io::Result<DuplexStream>>,
    grace: watch::Receiver<Option<Duration>>,
    polls: Arc<AtomicUsize>,
}

/// A listener in memory, both sides.
pub(super) fn listener() -> (Connector, Listener) {
    let (queue, queued) = mpsc::channel(1024);
    let (grace, asked) = watch::channel(None);
    let polls = Arc::<AtomicUsize>::default();
    (
        Connector {
            queue,
            grace,
            polls: Arc::clone(&polls),
        },
        Listener {
            queue: queued,
            grace: asked,
            polls,
        },
    )
}

impl Connector {
    /// A new connection, which the server has yet to accept.
    pub(super) fn connect(&self) -> DuplexStream {
        let (client, server) = duplex(PIPE);
        self.queue.try_send(Ok(server)).unwrap();
        client
    }

    /// Makes an accept fail.
    pub(super) fn fail(&self, error: io::Error) {
        self.queue.try_send(Err(error)).unwrap();
    }

    /// Asks the server to drain.
    pub(super) fn drain(&self, grace: Duration) {
        self.grace.send_replace(Some(grace));
    }

    /// How often the server has polled the accept.
    pub(super) fn polls(&self) -> usize {
        self.polls.load(Relaxed)
    }
}

impl Accept for Listener {
    type Stream = DuplexStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(DuplexStream, Option<SocketAddr>)>> {
        self.polls.fetch_add(1, Relaxed);
        match ready!(self.queue.poll_recv(cx)) {
            Some(next) => Poll::Ready(next.map(|stream| (stream, None))),
            None => Poll::Pending,
        }
    }

    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        let mut grace = self.grace.clone();
        async move {
            let asked = grace.wait_for(Option::is_some).await.map(|asked| *asked);
            match asked {
                Ok(Some(grace)) => grace,
                _ => std::future::pending().await,
            }
        }
    }
}

/// Answers with method, target and body of the request.
pub(super) async fn describe(mut request: Request, response: Response) -> io::Result<()> {
    let body = request.bytes().await?;
    let mut answer = format!("{} {} ", request.method(), request.target()).into_bytes();
    answer.extend_from_slice(&body);
    response.end(answer).await
}

/// Runs a client against a server until the client is done.
pub(super) async fn with_server<H, F, C>(
    server: Server<H>,
    client: impl FnOnce(Connector) -> C,
) -> C::Output
where
    H: Fn(Request, Response) -> F,
    F: Future<Output = io::Result<()>>,
    C: Future,
{
    let (connector, listener) = listener();
    tokio::select! {
        biased;
        output = client(connector.clone()) => output,
        ended = server.serve(listener) => panic!("the server ended: {ended:?}"),
    }
}

/// Everything a server says to a client who sends this and then waits for the end.
pub(super) async fn talk_to<H, F>(server: Server<H>, sent: impl AsRef<[u8]>) -> String
where
    H: Fn(Request, Response) -> F,
    F: Future<Output = io::Result<()>>,
{
    with_server(server, |connector| async move {
        let mut client = connector.connect();
        client.write_all(sent.as_ref()).await.unwrap();
        read_all(&mut client).await
    })
    .await
}

/// As [`talk_to`], with the server that describes requests.
pub(super) async fn talk(sent: impl AsRef<[u8]>) -> String {
    talk_to(Server::new(describe), sent).await
}

/// Reads to the end of the stream, and leaves out the date lines.
pub(super) async fn read_all(client: &mut DuplexStream) -> String {
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    without_dates(&heard)
}

/// Reads until what was heard ends in `end`.
pub(super) async fn read_until(client: &mut DuplexStream, end: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        let byte = client.read_u8().await;
        heard.push(byte.unwrap_or_else(|_| panic!("ended: {}", heard.escape_ascii())));
    }
    without_dates(&heard)
}

fn without_dates(heard: &[u8]) -> String {
    String::from_utf8_lossy(heard)
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("date: "))
        .collect()
}

/// The status codes of all answers in what was heard.
pub(super) fn statuses(heard: &str) -> Vec<&str> {
    heard
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect()
}
