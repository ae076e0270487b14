//! A worker on hyper, for connections that do not end by themselves.
//!
//! `GET /socket` is upgraded, and answers each frame of a WebSocket with the same until the
//! client leaves. `GET /download` takes a minute. Everything else is answered at once.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use maitred_worker::hyper::serve;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Interval, interval};

/// A download comes in as many pieces as a minute has tenths of a second.
const PIECES: u32 = 600;
const EVERY: Duration = Duration::from_millis(100);

/// So many pieces, the first at once.
struct Pieces {
    left: u32,
    beat: Interval,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        ready!(self.beat.poll_tick(context));
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"here\n")))))
    }
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = maitred_worker::listen("127.0.0.1:0").await?;
        serve(listener, service_fn(answer)).await
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Pieces>, Infallible> {
    let is_socket = request.uri().path() == "/socket";
    let mut response = Response::new(Pieces {
        left: match request.uri().path() {
            "/socket" => 0,
            "/download" => PIECES,
            _ => 1,
        },
        beat: interval(EVERY),
    });
    if is_socket {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        tokio::spawn(chat(request));
    }
    Ok(response)
}

/// Answers frames until the client leaves.
async fn chat(request: Request<Incoming>) {
    if let Ok(upgraded) = hyper::upgrade::on(request).await {
        let mut stream = TokioIo::new(upgraded);
        while echo(&mut stream).await.is_ok() {}
    }
}

/// Reads one frame as clients send them, short and masked, and sends it back.
async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    const LENGTH: u8 = 0x7f;
    let (kind, length) = (stream.read_u8().await?, stream.read_u8().await? & LENGTH);
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; length.into()];
    stream.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    let frame = [&[kind, length][..], &payload].concat();
    stream.write_all(&frame).await
}
