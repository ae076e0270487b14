//! A worker on hyper, for connections that do not end by themselves.
//!
//! `GET /socket` is upgraded, as a WebSocket is, and then held until the client leaves. `GET
//! /download` begins an answer that never ends. Everything else is answered at once.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use maitred_worker::hyper::serve;
use tokio::io::AsyncReadExt;

/// One piece, and then the end, or none.
struct Piece {
    piece: Option<Bytes>,
    ends: bool,
}

impl Body for Piece {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.ends => Poll::Ready(None),
            // Nobody will wake it: only the end of the connection ends this.
            None => Poll::Pending,
        }
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

async fn answer(request: Request<Incoming>) -> Result<Response<Piece>, Infallible> {
    let is_socket = request.uri().path() == "/socket";
    let mut response = Response::new(Piece {
        piece: (!is_socket).then(|| Bytes::from_static(b"here\n")),
        ends: request.uri().path() != "/download",
    });
    if is_socket {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        tokio::spawn(hold(request));
    }
    Ok(response)
}

/// Reads until the client leaves.
async fn hold(request: Request<Incoming>) {
    if let Ok(upgraded) = hyper::upgrade::on(request).await {
        let mut stream = TokioIo::new(upgraded);
        while stream.read_u8().await.is_ok() {}
    }
}
