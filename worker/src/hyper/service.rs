//! The program's service, wrapped: requests are counted, and answers end their connection
//! when the server drains.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::service::TowerToHyperService;
use pin_project_lite::pin_project;

use super::drain::{Drain, Moment};
use super::life::{Exchange, Life};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// What can be served: a tower service or a hyper one. The compiler finds out which.
///
/// It is cloned for each connection. What its answers consist of must be `Send`, since
/// connections run on whatever threads the runtime has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can be served neither as a tower service nor as a hyper service",
    note = "it needs to be `Clone + Send`, and a `Service<http::Request<hyper::body::Incoming>>` \
            whose response is a `http::Response` and whose futures are `Send`"
)]
pub trait AnyService<Kind>: Clone + Send + 'static {
    /// The same, as hyper wants it.
    type Hyper: Service<
            Request<Incoming>,
            Response = Response<Self::Body>,
            Error = Self::Failure,
            Future: Send + 'static,
        > + Send
        + 'static;

    /// The body of its answers.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// Why it may end a connection instead of answering.
    type Failure: Into<BoxError>;

    /// Returns it as hyper wants it.
    fn into_hyper(self) -> Self::Hyper;
}

/// Marks a tower service, such as axum's `Router`.
#[derive(Clone, Copy, Debug)]
pub enum TowerService {}

/// Marks a hyper service, such as a `hyper::service::service_fn`.
#[derive(Clone, Copy, Debug)]
pub enum HyperService {}

impl<S, B> AnyService<TowerService> for S
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Hyper = TowerToHyperService<S>;
    type Body = B;
    type Failure = S::Error;

    fn into_hyper(self) -> Self::Hyper {
        TowerToHyperService::new(self)
    }
}

impl<S, B> AnyService<HyperService> for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Hyper = S;
    type Body = B;
    type Failure = S::Error;

    fn into_hyper(self) -> Self {
        self
    }
}

/// A service on one connection.
#[derive(Debug)]
pub(super) struct OnConnection<S> {
    pub(super) service: S,
    pub(super) life: Arc<Life>,
    pub(super) drain: Drain,
    pub(super) client: Option<SocketAddr>,
}

impl<S, B> Service<Request<Incoming>> for OnConnection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<Counted<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let exchange = self.life.ask();
        let extensions = request.extensions_mut();
        extensions.insert(self.drain.for_handlers());
        if let Some(client) = self.client {
            extensions.insert(client);
            #[cfg(feature = "axum")]
            extensions.insert(axum::extract::ConnectInfo(client));
        }
        Answering {
            is_http1: request.version() < Version::HTTP_2,
            is_connect: request.method() == Method::CONNECT,
            drain: self.drain.clone(),
            exchange: Some(exchange),
            answer: self.service.call(request),
        }
    }
}

pin_project! {
    /// A request whose answer has not begun.
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        // Goes on to the body.
        exchange: Option<Exchange>,
        drain: Drain,
        is_http1: bool,
        is_connect: bool,
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Counted<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(context))?;
        let status = response.status();
        let upgrades =
            status == StatusCode::SWITCHING_PROTOCOLS || *this.is_connect && status.is_success();
        // What is upgraded is no longer ours to close; HTTP/2 has no such field.
        if *this.is_http1 && !upgrades && this.drain.has_reached(Moment::Draining) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        let mut exchange = this.exchange.take();
        if let Some(exchange) = &mut exchange {
            exchange.begin_answer(upgrades);
        }
        Poll::Ready(Ok(response.map(|body| Counted {
            body,
            _exchange: exchange,
        })))
    }
}

pin_project! {
    /// An answer's body. While it is there, so is the exchange.
    pub(super) struct Counted<B> {
        #[pin]
        body: B,
        _exchange: Option<Exchange>,
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
