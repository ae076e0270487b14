//! Clients that follow the events, some of them too slowly.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::stage::{EVENTS_KEPT, Stage, answer, request, until};
use crate::control::routes::STREAMS_MAX;
use crate::control::steward::Bulletin;

fn bulletin(number: u64, padding: usize) -> Bulletin {
    Bulletin {
        event: "fork",
        fields: json!({"event": "fork", "number": number, "padding": "x".repeat(padding)}),
        text: format!("number {number}\nof many"),
    }
}

/// Begins to follow, and returns once the server has begun as well.
fn follow(stage: &Stage) -> BufReader<UnixStream> {
    let mut stream = BufReader::new(stage.connect(&request("GET", "/v1/events", "")));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            stream.read_line(&mut head).unwrap(),
            0,
            "no more after {head}"
        );
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("text/event-stream"), "{head}");
    stream
}

/// Reads the data of the next event.
fn next(stream: &mut BufReader<UnixStream>) -> Value {
    loop {
        let mut line = String::new();
        assert_ne!(
            stream.read_line(&mut line).unwrap(),
            0,
            "the stream has ended"
        );
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[test]
fn events_come_in_order_with_time_and_text() {
    let stage = Stage::new();
    let mut stream = follow(&stage);
    for number in 0..3 {
        stage.fake.events.send(bulletin(number, 1)).unwrap();
        let event = next(&mut stream);
        assert_eq!(
            (&event["event"], &event["number"]),
            (&json!("fork"), &json!(number))
        );
        assert_eq!(event["text"], format!("number {number}\nof many"));
        assert!(event["time"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn a_slow_reader_loses_events_and_is_told_how_many() {
    let stage = Stage::new();
    let mut slow = follow(&stage);
    let mut quick = follow(&stage);
    // Many times what the socket and the ring hold.
    let sent = 2000;
    for number in 0..sent {
        stage.fake.events.send(bulletin(number, 1000)).unwrap();
        // The other one keeps up, although this one does not read at all.
        assert_eq!(next(&mut quick)["number"], number);
    }
    let (mut seen, mut lost, mut last) = (0, 0, None);
    while last != Some(sent - 1) {
        let event = next(&mut slow);
        if event["event"] == "lost" {
            lost += event["count"].as_u64().unwrap();
        } else {
            seen += 1;
            last = event["number"].as_u64();
        }
    }
    assert!(
        lost > 0 && seen > EVENTS_KEPT as u64,
        "{seen} seen, {lost} lost"
    );
    assert_eq!(seen + lost, sent);
}

#[test]
fn streams_are_limited_and_end_with_their_readers() {
    let stage = Stage::new();
    let mut streams: Vec<_> = (0..STREAMS_MAX).map(|_| follow(&stage)).collect();
    let events = || stage.connect(&request("GET", "/v1/events", ""));
    let (status, refusal) = answer(events());
    assert_eq!((status, &refusal["error"]["kind"]), (409, &json!("busy")));
    // Silent clients do not push out those who follow.
    let _silent: Vec<_> = (0..64).map(|_| stage.connect(b"")).collect();
    stage.assert_serves();
    stage.fake.events.send(bulletin(1, 1)).unwrap();
    assert!(streams.iter_mut().all(|stream| next(stream)["number"] == 1));
    streams.pop();
    until("a place is free", || {
        stage.fake.events.receiver_count() < STREAMS_MAX
    });
    streams.push(follow(&stage));
}

#[test]
fn the_client_follows_until_it_has_enough() {
    let stage = Stage::new();
    let seen = Cell::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("somebody follows", || {
                stage.fake.events.receiver_count() == 1
            });
            for number in 0..5 {
                stage.fake.events.send(bulletin(number, 1)).unwrap();
            }
        });
        let followed = stage.client().follow(|event| {
            assert!(
                event.contains(&format!(r#""number":{}"#, seen.get())),
                "{event}"
            );
            seen.set(seen.get() + 1);
            if seen.get() < 5 {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        });
        followed.unwrap();
    });
    assert_eq!(seen.get(), 5);
}
