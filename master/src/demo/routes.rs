//! What the demo answers.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the lesson's line, after the busy loop that `--work` asks for |
//! | `GET /whoami` | who serves, as JSON: `worker`, `pid`, and how many `requests` it has had |
//! | `GET /crash` | a farewell; then the process exits with code 1 |
//! | `GET /throw` | none: the handler panics, and the process dies of it |
//! | `GET /spin` | none: the handler never returns, and holds up all of its worker |
//! | `GET /sleep?ms=100` | after that time, without holding anybody up |
//! | `GET /bytes?n=1000000` | so many bytes |
//! | `POST /echo` | the request's body, at most 1 MiB |
//!
//! Every answer says in `x-worker-id` and `x-worker-pid` who gave it.

use std::cell::Cell;
use std::hint;
use std::io;
use std::time::Duration;

use maitred_worker::http::{Request, Response};

/// The line that the lesson's server answers: "after something that takes long, this is a
/// text that is returned".
const LESSON: &str = "经过一个耗时操作，这是返回的一段文本\n";

/// Longest sleep that may be asked for, in milliseconds: an hour, more than any drain waits.
const SLEEP_MAX: u64 = 60 * 60 * 1000;

/// Most bytes that may be asked for: 1 GiB takes a second or so on the loopback device.
const BYTES_MAX: u64 = 1 << 30;

/// Bytes are sent in pieces of this size: as much as a socket's buffer takes at once or so,
/// and no memory worth mentioning, however many clients ask.
static PIECE: [u8; 64 * 1024] = [b'm'; 64 * 1024];

/// One worker of the demo.
#[derive(Debug)]
pub(super) struct Demo {
    /// Its number; 0 if it serves alone.
    worker: u32,
    pid: u32,
    /// Turns of the busy loop.
    work: u64,
    /// Requests so far.
    requests: Cell<u64>,
}

/// What is to be done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Lesson,
    WhoAmI,
    Crash,
    Throw,
    Spin,
    Sleep,
    Bytes,
    Echo,
    /// There is something here, for these methods.
    OtherMethod(&'static str),
    Nothing,
}

impl Route {
    fn of(method: &str, path: &str) -> Self {
        let (route, methods) = match path {
            "/" => (Self::Lesson, "GET, HEAD"),
            "/whoami" => (Self::WhoAmI, "GET, HEAD"),
            "/crash" => (Self::Crash, "GET, HEAD"),
            "/throw" => (Self::Throw, "GET, HEAD"),
            "/spin" => (Self::Spin, "GET, HEAD"),
            "/sleep" => (Self::Sleep, "GET, HEAD"),
            "/bytes" => (Self::Bytes, "GET, HEAD"),
            "/echo" => (Self::Echo, "POST"),
            _ => return Self::Nothing,
        };
        if methods.split(", ").any(|allowed| allowed == method) {
            route
        } else {
            Self::OtherMethod(methods)
        }
    }
}

impl Demo {
    pub(super) fn new(worker: u32, work: u64) -> Self {
        Self {
            worker,
            pid: std::process::id(),
            work,
            requests: Cell::new(0),
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    ///
    /// Those of reading the request's body and of sending the answer.
    ///
    /// # Panics
    ///
    /// When asked to, by `GET /throw`.
    pub(super) async fn answer(&self, request: Request, response: Response) -> io::Result<()> {
        self.requests.set(self.requests.get() + 1);
        let response = response
            .header("x-worker-id", self.worker.to_string())
            .header("x-worker-pid", self.pid.to_string());
        match Route::of(request.method(), request.path()) {
            Route::Lesson => {
                work(self.work);
                text(response).end(LESSON).await
            }
            Route::WhoAmI => self.tell_who(response).await,
            Route::Crash => crash(response).await,
            Route::Throw => panic!("GET /throw asked for a panic"),
            Route::Spin => spin(),
            Route::Sleep => sleep(request.query(), response).await,
            Route::Bytes => bytes(request.query(), response).await,
            Route::Echo => echo(request, response).await,
            Route::OtherMethod(allowed) => {
                let response = text(response).status(405).header("allow", allowed);
                response.end(format!("here is only {allowed}\n")).await
            }
            Route::Nothing => {
                let routes = "there are /, /whoami, /crash, /throw, /spin, /sleep?ms=, /bytes?n= \
                              and /echo\n";
                text(response).status(404).end(routes).await
            }
        }
    }

    async fn tell_who(&self, response: Response) -> io::Result<()> {
        let (worker, pid, requests) = (self.worker, self.pid, self.requests.get());
        let json = format!(r#"{{"worker":{worker},"pid":{pid},"requests":{requests}}}"#);
        let response = response.header("content-type", "application/json");
        response.end(json + "\n").await
    }
}

fn text(response: Response) -> Response {
    response.header("content-type", "text/plain; charset=utf-8")
}

/// The lesson's `for (let i = 0; i < N; i++) {}`, kept from being optimised away.
#[inline(never)]
fn work(iterations: u64) {
    // The box is empty: a turn that had to store its number would cost a half more than the
    // lesson's own.
    for _ in 0..iterations {
        hint::black_box(());
    }
}

fn spin() -> ! {
    loop {
        hint::black_box(());
    }
}

async fn crash(response: Response) -> io::Result<()> {
    let response = text(response).header("connection", "close");
    // It resolves when the kernel has all of it, which delivers it without us.
    response.end("this worker exits now\n").await?;
    std::process::exit(1)
}

async fn sleep(query: Option<&str>, response: Response) -> io::Result<()> {
    match number(query, "ms", SLEEP_MAX) {
        Ok(millis) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            text(response).end(format!("slept {millis} ms\n")).await
        }
        Err(reason) => text(response).status(400).end(reason).await,
    }
}

async fn bytes(query: Option<&str>, response: Response) -> io::Result<()> {
    let mut left = match number(query, "n", BYTES_MAX) {
        Ok(count) => count,
        Err(reason) => return text(response).status(400).end(reason).await,
    };
    let mut response = response
        .header("content-type", "application/octet-stream")
        .header("content-length", left.to_string());
    let piece = PIECE.len() as u64;
    while left > piece {
        response.write(&PIECE).await?;
        left -= piece;
    }
    let last = usize::try_from(left).map_or(&PIECE[..], |left| &PIECE[..left]);
    response.end(last).await
}

async fn echo(mut request: Request, response: Response) -> io::Result<()> {
    // Beyond the server's limit this is an error, which the server answers with 413.
    let body = request.bytes().await?;
    let response = response.header("content-type", "application/octet-stream");
    response.end(body).await
}

/// Returns the number that a query gives under this name.
///
/// # Errors
///
/// The line that says what would be right.
fn number(query: Option<&str>, name: &str, max: u64) -> Result<u64, String> {
    let pairs = query.unwrap_or_default().split('&');
    let mut given = pairs.filter_map(|pair| pair.split_once('='));
    given
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
        .filter(|number| *number <= max)
        .ok_or_else(|| format!("give ?{name}=NUMBER, from 0 to {max}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_route_for_its_methods_only() {
        for (method, path, route) in [
            ("GET", "/", Route::Lesson),
            ("HEAD", "/", Route::Lesson),
            ("GET", "/whoami", Route::WhoAmI),
            ("POST", "/echo", Route::Echo),
            ("GET", "/echo", Route::OtherMethod("POST")),
            ("POST", "/crash", Route::OtherMethod("GET, HEAD")),
            ("GET", "/favicon.ico", Route::Nothing),
            ("GET", "//", Route::Nothing),
        ] {
            assert_eq!(Route::of(method, path), route, "{method} {path}");
        }
    }

    #[test]
    fn a_number_is_read_from_the_query_or_refused_with_the_reason() {
        for query in ["ms=100", "a=1&ms=100", "ms=100&ms=5"] {
            assert_eq!(number(Some(query), "ms", 100), Ok(100), "{query}");
        }
        for query in [
            None,
            Some(""),
            Some("ms"),
            Some("ms="),
            Some("ms=-1"),
            Some("ms=101"),
            Some("n=1"),
        ] {
            let reason = number(query, "ms", 100).unwrap_err();
            assert_eq!(reason, "give ?ms=NUMBER, from 0 to 100\n", "{query:?}");
        }
    }

    #[test]
    fn the_lesson_answers_its_line() {
        assert_eq!(LESSON, "经过一个耗时操作，这是返回的一段文本\n");
        work(1000);
    }
}
