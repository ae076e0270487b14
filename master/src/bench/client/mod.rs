//! A client: it opens a connection, asks on it, and opens the next one when it has ended.
//!
//! There are as many clients as connections were asked for, each a task on one thread. A
//! request is begun once and ends once: when its connection breaks, it has failed, and the
//! next connection goes on with the next request.

mod connection;
mod dial;
mod in_flight;
mod thinking;

#[cfg(test)]
mod tests;

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use maitred::Moment;
use tokio::time::{Instant, Sleep, sleep};

use super::load::Load;
use super::record::{ConnectionLine, Line, RequestLine};
use connection::Connection;
use dial::{Failure, Place};
use thinking::Thinking;

pub(super) use dial::{Dialled, dial};

/// How long a client waits after a connection that did not come about.
///
/// A refusal costs next to nothing, so without a pause a server that is down would be asked,
/// and the record filled, tens of thousands of times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// Rings when something has taken too long. Kept for a client's whole life, and set forward
/// only when it rings: setting it for every request would cost more than the request.
type Alarm<'a> = Pin<&'a mut Sleep>;

/// Makes requests until there are no more to make. The first connection may be open already.
pub(super) async fn run(load: Rc<Load>, mut opened: Option<Dialled>) {
    let mut alarm = pin!(sleep(load.timeout));
    let mut thinking = Thinking::new(&load);
    while load.begin_request() {
        let dialled = match opened.take() {
            Some(dialled) => Ok(dialled),
            None => dial(load.address(), load.timeout, alarm.as_mut()).await,
        };
        let place = dialled
            .as_ref()
            .map_or_else(|failure| failure.place, |dialled| dialled.place);
        let (number, port_use) = load.count_connection(place.port);
        match dialled {
            Ok(dialled) => {
                load.tally.borrow_mut().connections += 1;
                let connection = Connection::new(&load, dialled, number, port_use);
                connection.run(alarm.as_mut(), &mut thinking).await;
            }
            Err(failure) => {
                give_up(&load, &failure, number, port_use);
                alarm.as_mut().reset(Instant::now() + PAUSE);
                alarm.as_mut().await;
            }
        }
        thinking.rest(alarm.as_mut()).await;
    }
}

/// Counts and records a connection that did not come about, and the request it was for.
fn give_up(load: &Load, failure: &Failure, connection: u64, port_use: u32) {
    let Place { port, began } = failure.place;
    let end_ns = Moment::now();
    load.fail(failure.outcome, false, Some(&failure.reason));
    load.record(|| {
        Line::Request(RequestLine {
            connection,
            port,
            port_use,
            number: 1,
            reused: false,
            sent_ns: None,
            first_byte_ns: None,
            end_ns,
            worker: None,
            status: None,
            outcome: failure.outcome,
            announced: false,
            reason: Some(failure.reason.clone()),
        })
    });
    load.record(|| {
        Line::Connection(ConnectionLine {
            connection,
            port,
            port_use,
            connect_ns: began,
            connected_ns: None,
            end_ns,
            worker: None,
            requests: 1,
            outcome: failure.outcome,
        })
    });
}

/// Sets the alarm to the moment `due`.
fn set(alarm: Alarm<'_>, now: Moment, due: Moment) {
    alarm.reset(Instant::now() + due.since(now));
}
