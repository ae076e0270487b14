//! The thread that serves the control socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::guard::{Client, not_allowed};
use super::home::ControlSocket;
use super::peer::Peer;
use super::places::{Place, Places, Stage};
use super::refusal::{Kind, Refusal, RefusalAnswer};
use super::routes::{Office, router};
use super::steward::Steward;

/// Most clients at once. Far more than people and tools need; it bounds what a client that
/// runs wild can cost: a descriptor, a task and a buffer each.
pub(crate) const CLIENTS_MAX: usize = 64;

/// How long a client may take to send its request: it is a few hundred bytes to a socket of
/// the same machine, which are there at once unless somebody types them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may take to read its answer, which fits into the socket's buffer but for
/// the longest lists.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Memory for what a client has sent and nobody has taken yet, in bytes: the least that hyper
/// allows. A longer head is refused.
const BUFFER_MAX: usize = 8 * 1024;

/// How long a client may take to hear that it gets no place, and how much it may say meanwhile,
/// in bytes: one usual request.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);
const FAREWELL_MAX: u64 = 4 * 1024;

/// Most clients that are told so at the same time; as many again as have a place.
const FAREWELLS_MAX: usize = CLIENTS_MAX;

/// How often the workers' CPU use is looked at though nobody asks, so that the figure for
/// whoever does is about the last moments; as top does.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// The pause after an accept that failed, most likely for want of descriptors: time for some
/// to be closed, and short enough for a person who waits.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long the end waits for answers to be written, after the master's own end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The thread that serves. Dropping it ends the thread, without waiting for it.
#[derive(Debug)]
pub(crate) struct ControlServer {
    ending: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl ControlServer {
    /// Starts to serve the socket.
    ///
    /// # Errors
    ///
    /// Those of starting a thread and its runtime.
    pub(crate) fn start<S: Steward>(socket: ControlSocket, steward: Arc<S>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = socket.listener()?;
        let (ending, end_asked) = watch::channel(false);
        let (on_end, ended) = oneshot::channel();
        thread::Builder::new()
            .name("maitred-control".into())
            .spawn(move || {
                runtime.block_on(serve(listener, Office::new(steward), end_asked));
                drop(runtime);
                // Only now, so that no client finds the file and nobody behind it.
                drop(socket);
                // Whoever had waited for the end may have given up.
                on_end.send(()).unwrap_or_default();
            })?;
        Ok(Self { ending, ended })
    }

    /// Takes no more clients, gives those that wait for an answer a moment to get it, and
    /// removes the socket.
    pub(crate) async fn end(self) {
        self.ending.send_replace(true);
        // The thread does not take longer by itself; if it must, the process ends without it.
        timeout(2 * LAST_ANSWERS, self.ended)
            .await
            .map(drop)
            .unwrap_or_default();
    }
}

async fn serve<S: Steward>(
    listener: StdListener,
    office: Arc<Office<S>>,
    mut end_asked: watch::Receiver<bool>,
) {
    let Ok(listener) = UnixListener::from_std(listener) else {
        return;
    };
    let (router, places) = (router(office.clone()), Places::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    let mut sampling = interval(SAMPLE_EVERY);
    sampling.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            // Also when the other end was dropped.
            _ = end_asked.wait_for(|is_asked| *is_asked) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Only who is still here counts, however many come one after another.
                    while clients.try_join_next().is_some() {}
                    admit(stream, &router, &places, &mut clients);
                    // Whoever came before has sent its request, most likely, and is only to
                    // have it read: else a burst would evict clients that did ask.
                    yield_now().await;
                }
                Err(_) => sleep(ACCEPT_REST).await,
            },
            Some(_) = clients.join_next() => {}
            _ = sampling.tick() => {
                let office = office.clone();
                clients.spawn(async move { office.sample().await });
            }
        }
    }
    places.dismiss_silent();
    let last_answers = async { while clients.join_next().await.is_some() {} };
    timeout(LAST_ANSWERS, last_answers)
        .await
        .unwrap_or_default();
}

/// Gives a client a place and serves it, or tells it why not.
fn admit(stream: UnixStream, router: &Router, places: &Arc<Places>, clients: &mut JoinSet<()>) {
    let peer = Peer::of(&stream);
    if clients.len() >= CLIENTS_MAX + FAREWELLS_MAX {
        // Too many at once even to be told so.
        drop(stream);
    } else if !peer.is_allowed() {
        clients.spawn(turn_away(stream, not_allowed()));
    } else if let Some(place) = places.take() {
        let place = Arc::new(place);
        let client = Client {
            peer,
            place: place.clone(),
        };
        let router = router.clone().layer(Extension(client));
        clients.spawn(async move { attend(stream, router, &place).await });
    } else {
        clients.spawn(turn_away(stream, busy()));
    }
}

fn busy() -> Refusal {
    let message = format!("{CLIENTS_MAX} clients are being served; try again later");
    Refusal::new(Kind::Busy, message)
}

/// Answers a client that gets no place, whatever it asks.
async fn turn_away(mut stream: UnixStream, refusal: Refusal) {
    let farewell = async {
        stream.write_all(answer(&refusal).as_bytes()).await?;
        stream.shutdown().await?;
        // A socket that is closed with something unread resets its peer, which then never
        // reads its answer. So what it says is read first, and thrown away.
        tokio::io::copy(&mut stream.take(FAREWELL_MAX), &mut tokio::io::sink()).await
    };
    // If the client is gone or does not listen, so be it.
    timeout(FAREWELL_TIMEOUT, farewell)
        .await
        .map(drop)
        .unwrap_or_default();
}

/// Tells a client that somebody else got its place, and waits for nothing: clients that come
/// and say nothing must not keep those out that do.
fn send_off(stream: UnixStream) {
    // Outside of the runtime it takes and gives what there is at once, or an error.
    let Ok(stream) = stream.into_std() else {
        return;
    };
    let said = (&stream).write_all(answer(&busy()).as_bytes());
    // Its request may be there by now; unread, it would cost the client its answer.
    let heard = io::copy(&mut (&stream).take(FAREWELL_MAX), &mut io::sink());
    // If the client is gone or does not listen, so be it.
    said.and(heard.map(drop)).unwrap_or_default();
}

fn answer(refusal: &Refusal) -> String {
    let (status, error) = (refusal.kind.status(), refusal.clone());
    let body = serde_json::to_string(&RefusalAnswer { error }).unwrap_or_default();
    let length = body.len() + "\n".len();
    format!(
        "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}\n"
    )
}

/// Serves one request of a client, as long as it keeps its deadlines and its place.
async fn attend(stream: UnixStream, router: Router, place: &Place) {
    let mut connection = http1::Builder::new()
        // A connection is one request, so that its deadlines are the request's. A new one
        // costs less than a millisecond here.
        .keep_alive(false)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        // What went wrong went wrong for the client alone, and it knows.
        served = &mut connection => served.unwrap_or_default(),
        () = too_slow_to_ask(place) => {}
        () = too_slow_to_read(place) => {}
        () = place.reached(Stage::Evicted) => {
            if place.is_anothers() {
                send_off(connection.into_parts().io.into_inner());
            }
        }
    }
}

async fn too_slow_to_ask(place: &Place) {
    if timeout(REQUEST_TIMEOUT, place.reached(Stage::Waiting))
        .await
        .is_ok()
    {
        std::future::pending::<()>().await;
    }
}

async fn too_slow_to_read(place: &Place) {
    place.reached(Stage::Answered).await;
    // Whoever follows the events reads as slowly as it likes.
    if timeout(ANSWER_TIMEOUT, place.reached(Stage::Following))
        .await
        .is_ok()
    {
        std::future::pending::<()>().await;
    }
}
