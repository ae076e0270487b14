//! The command line's side of the control socket.
//!
//! A command is a fresh process that asks one or two things and ends, so that what counts is
//! how soon it is ready: one thread, no pool, a connection for each request.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

use super::api::{Pong, route};
use super::home::{Home, HomeError};
use super::refusal::{Kind, Refusal, RefusalAnswer};

/// How long a question may take. The master answers in a millisecond, and gives itself up to
/// five seconds when the machine stands still.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a connect is tried again whose socket's queue was full.
const CONNECT_REST: Duration = Duration::from_millis(10);

/// Longest answer, in bytes. The longest there is lists the most workers a master can have,
/// 1,024 of 250 bytes each; a few apps more of them fit, too.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Longest event, in bytes: one with a worker's message of 16 MiB, the longest that there
/// may be, with every character escaped once.
const EVENT_MAX: usize = 40 * 1024 * 1024;

/// The way to a master.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    socket: PathBuf,
    directory: PathBuf,
}

impl Client {
    /// Makes ready to ask the master of the state directory that the environment names.
    ///
    /// # Errors
    ///
    /// Why there can be none.
    pub(crate) fn new() -> Result<Self, Refusal> {
        Self::of(&Home::locate().map_err(misplaced)?)
    }

    /// Makes ready to ask the master of this state directory.
    ///
    /// # Errors
    ///
    /// Why there can be none.
    pub(crate) fn of(home: &Home) -> Result<Self, Refusal> {
        let (socket, directory) = (
            home.socket().map_err(misplaced)?,
            home.directory().to_owned(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| unreachable(&format!("no runtime: {error}")))?;
        Ok(Self {
            runtime,
            socket,
            directory,
        })
    }

    /// Asks something that is answered at once.
    ///
    /// # Errors
    ///
    /// The master's refusal, or why it could not be asked.
    pub(crate) fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T, Refusal> {
        self.runtime.block_on(async {
            let asking = self.ask(Method::GET, route, Vec::new());
            let answer = timeout(QUESTION_TIMEOUT, asking)
                .await
                .map_err(|_| silent())??;
            read(&answer)
        })
    }

    /// Asks for an act, and waits until it is done, however long its drains take.
    ///
    /// # Errors
    ///
    /// The master's refusal, or why it could not be asked.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        route: &str,
        request: &impl Serialize,
    ) -> Result<T, Refusal> {
        // A master that answers this is alive, and will end what it begins; one that is
        // stopped would keep us waiting for ever.
        self.get::<Pong>(route::PING)?;
        let body = serde_json::to_vec(request).map_err(|error| broken(&error))?;
        let answer = self.runtime.block_on(self.ask(Method::POST, route, body))?;
        read(&answer)
    }

    /// Hands over the data of each event from now on, until the master ends or `each` says
    /// that it is enough.
    ///
    /// # Errors
    ///
    /// The master's refusal, or why it could not be asked.
    pub(crate) fn follow(
        &self,
        mut each: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<(), Refusal> {
        self.runtime.block_on(async {
            let asking = self.send(Method::GET, route::EVENTS, Vec::new());
            let response = timeout(QUESTION_TIMEOUT, asking)
                .await
                .map_err(|_| silent())??;
            if !response.status().is_success() {
                return Err(refusal(&collect(response.into_body()).await?));
            }
            let (mut body, mut buffer) = (response.into_body(), Vec::new());
            // An error is the master's end without a farewell, as when it was killed.
            while let Some(Ok(frame)) = body.frame().await {
                buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(event) = take_event(&mut buffer) {
                    if each(&event).is_err() {
                        return Ok(());
                    }
                }
                if buffer.len() > EVENT_MAX {
                    return Err(broken(&"an event has no end"));
                }
            }
            Ok(())
        })
    }

    async fn ask(&self, method: Method, route: &str, body: Vec<u8>) -> Result<Bytes, Refusal> {
        let response = self.send(method, route, body).await?;
        let is_success = response.status().is_success();
        let answer = collect(response.into_body()).await?;
        if is_success {
            Ok(answer)
        } else {
            Err(refusal(&answer))
        }
    }

    async fn send(
        &self,
        method: Method,
        route: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Refusal> {
        let request = Request::builder()
            .method(method)
            .uri(route)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(lost)?;
        // Ends by itself with the answer, and with the runtime at the latest.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(lost)
    }

    async fn connect(&self) -> Result<UnixStream, Refusal> {
        let deadline = Instant::now() + QUESTION_TIMEOUT;
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return Ok(stream),
                // Its queue is full: many come at once, or it is stopped.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= deadline {
                        return Err(silent());
                    }
                    sleep(CONNECT_REST).await;
                }
                Err(error) => return Err(self.no_connection(&error)),
            }
        }
    }

    fn no_connection(&self, error: &io::Error) -> Refusal {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let (directory, kind) = (self.directory.display(), error.kind());
        if matches!(kind, NotFound | ConnectionRefused) {
            let message = format!(
                "no master is running in {directory}; maitred run starts one, MAITRED_HOME names \
                 another directory"
            );
            return Refusal::new(Kind::NoMaster, message);
        }
        if kind == PermissionDenied {
            let message = format!("the master in {directory} belongs to another user");
            return Refusal::new(Kind::NotAllowed, message);
        }
        unreachable(&format!(
            "cannot connect to {}: {error}",
            self.socket.display()
        ))
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Refusal> {
    let collected = Limited::new(body, ANSWER_MAX).collect().await;
    Ok(collected.map_err(|error| broken(&error))?.to_bytes())
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(answer).map_err(|error| broken(&error))
}

fn refusal(answer: &[u8]) -> Refusal {
    let read: Result<RefusalAnswer, _> = serde_json::from_slice(answer);
    read.map_or_else(|error| broken(&error), |answer| answer.error)
}

fn misplaced(error: HomeError) -> Refusal {
    Refusal::new(Kind::BadRequest, error.to_string())
}

fn unreachable(message: &str) -> Refusal {
    Refusal::new(Kind::Unreachable, message)
}

fn silent() -> Refusal {
    unreachable("the master does not answer; is it stopped?")
}

fn lost(error: hyper::Error) -> Refusal {
    unreachable(&format!("the master left without an answer: {error}"))
}

fn broken(error: &impl ToString) -> Refusal {
    unreachable(&format!(
        "the master's answer is not understood: {}",
        error.to_string()
    ))
}

/// Takes the first whole event out of the buffer, and returns its data.
fn take_event(buffer: &mut Vec<u8>) -> Option<String> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let event: Vec<u8> = buffer.drain(..end + 2).collect();
    let event = String::from_utf8_lossy(&event);
    let data: Vec<&str> = event
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    Some(data.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_their_ends_however_they_arrive() {
        let mut buffer = Vec::new();
        let mut events = Vec::new();
        for byte in b"event: fork\ndata: {\"a\":1}\n\nevent: exit\ndata: {}\n\ndata" {
            buffer.push(*byte);
            events.extend(take_event(&mut buffer));
        }
        assert_eq!(events, [r#"{"a":1}"#, "{}"]);
        assert_eq!(buffer, b"data");
    }
}
