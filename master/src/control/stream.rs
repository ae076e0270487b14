//! `GET /v1/events`: what happens, as server-sent events, until the client leaves.
//!
//! Nothing is queued here for a client that does not read. Its socket fills, so nothing more
//! is taken out of the ring of events for it, and the ring goes on without it: what it loses
//! is counted, and it is told as soon as it reads again.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::refusal::{Kind, Refusal};
use super::routes::{Office, STREAMS_MAX};
use super::steward::{Bulletin, News, Steward};

/// Marks a response whose body ends only when the client leaves, or the master does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endless;

/// Answers with all that happens from now on.
pub(crate) async fn events<S: Steward>(
    State(office): State<Arc<Office<S>>>,
) -> Result<Response, Refusal> {
    let permit = office.streams.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{STREAMS_MAX} clients follow the events already");
        Refusal::new(Kind::Busy, message)
    })?;
    let follower = Follower {
        // Subscribed before the head of the answer goes out: who has seen it misses nothing.
        news: office.steward.events(),
        told_missed: 0,
        held: None,
        _permit: permit,
    };
    let events = unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let mut response = Sse::new(events).into_response();
    response.extensions_mut().insert(Endless);
    Ok(response)
}

/// One client's way through the events.
struct Follower<N> {
    news: N,
    /// How many lost events it has been told of.
    told_missed: u64,
    /// An event that came after some were lost, and is told after that.
    held: Option<Bulletin>,
    _permit: OwnedSemaphorePermit,
}

impl<N: News> Follower<N> {
    async fn next(&mut self) -> Option<Event> {
        let bulletin = match self.held.take() {
            Some(bulletin) => bulletin,
            None => self.news.next().await?,
        };
        let missed = self.news.missed() - self.told_missed;
        if missed == 0 {
            return Some(write(bulletin));
        }
        self.told_missed += missed;
        self.held = Some(bulletin);
        Some(write(Bulletin {
            event: "lost",
            fields: json!({"event": "lost", "count": missed}),
            text: format!("{missed} events were lost: they were not read in time"),
        }))
    }
}

fn write(bulletin: Bulletin) -> Event {
    let Bulletin {
        event,
        fields,
        text,
    } = bulletin;
    let mut line = json!({"time": format!("{:.6}", Timestamp::now())});
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
        line.insert("text".into(), text.into());
    }
    // JSON text has no line breaks, which would end the event's data.
    Event::default().event(event).data(line.to_string())
}
