//! What every request has to pass before its route sees it: the right user, and being whole.

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::peer::Peer;
use super::places::{Place, Stage};
use super::refusal::{Kind, Refusal};
use super::stream::Endless;

/// Longest body of a request, in bytes. The longest that means anything has some twenty.
pub(crate) const BODY_MAX: usize = 4 * 1024;

/// A request's client: who it is, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) place: std::sync::Arc<Place>,
}

/// Lets a request through to its route, and notes how far its client is.
pub(crate) async fn admit(
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let response = match receive(&client, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let is_endless = response.extensions().get::<Endless>().is_some();
    client.place.reach(if is_endless {
        Stage::Following
    } else {
        Stage::Answered
    });
    response
}

/// Returns the request with its body read, if its client may ask at all.
async fn receive(client: &Client, request: Request) -> Result<Request, Refusal> {
    if !client.peer.is_allowed() {
        return Err(not_allowed());
    }
    let (head, body) = request.into_parts();
    let read = to_bytes(body, BODY_MAX).await;
    let body = read.map_err(|_| {
        let wrong = format!("the body is broken, or longer than {BODY_MAX} bytes");
        Refusal::new(Kind::TooLarge, wrong)
    })?;
    // From here on its place is its own.
    if !client.place.reach(Stage::Waiting) {
        return Err(Refusal::new(Kind::Busy, "too many clients"));
    }
    Ok(Request::from_parts(head, Body::from(body)))
}

/// Refuses a user.
pub(crate) fn not_allowed() -> Refusal {
    Refusal::new(Kind::NotAllowed, "this master belongs to another user")
}
