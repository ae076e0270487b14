//! Think times: when the next request is sent, and what a close meanwhile costs.

use super::*;

fn thinking(min: Duration, max: Duration, options: Options) -> Options {
    Options {
        think: Some(Think { min, max }),
        ..options
    }
}

#[test]
fn a_connection_lies_idle_before_its_next_request() {
    let server = answering(OK);
    let options = Options {
        length: Length::Amount(6),
        connections: 2,
        ..server.options()
    };
    let left = run(&thinking(BRIEF / 2, BRIEF, options));
    assert!(left.is_clean);
    for connection in 1..=2 {
        let mut of_one = left
            .requests
            .iter()
            .filter(|request| request.connection == connection);
        let mut ended = of_one.next().unwrap().end_ns;
        for request in of_one {
            assert!(request.reused);
            assert!(request.sent_ns.unwrap().since(ended) >= BRIEF / 2);
            ended = request.end_ns;
        }
    }
}

#[test]
fn when_it_is_time_nobody_thinks_on() {
    let server = answering(OK);
    let options = Options {
        length: Length::Time(BRIEF),
        ..server.options()
    };
    let hour = Duration::from_secs(3600);
    let began = Instant::now();
    let left = run(&thinking(hour, hour, options));
    assert!(began.elapsed() < hour / 60);
    assert_eq!(left.outcomes(), [Outcome::Ok]);
    assert_eq!(left.connections[0].outcome, Outcome::Ok);
}

#[test]
fn what_the_server_closes_while_it_lies_idle_costs_no_request() {
    let server = Server::start(|guest: &mut Guest| {
        if guest.read_request() {
            guest.write(OK);
        }
    });
    let options = Options {
        length: Length::Amount(3),
        ..server.options()
    };
    let left = run(&thinking(BRIEF, BRIEF, options));
    assert!(left.is_clean);
    assert_eq!(left.total("ok"), 3);
    assert_eq!(left.connections.len(), 3);
    // What becomes of the last one is of no interest to anybody.
    assert!((2..=3).contains(&left.total("closed_idle")));
    assert_thought(&left, BRIEF);
}

#[test]
fn who_opens_a_connection_for_each_request_thinks_as_well() {
    let server = answering(OK);
    let options = Options {
        length: Length::Amount(3),
        close: true,
        ..server.options()
    };
    let left = run(&thinking(BRIEF, BRIEF, options));
    assert!(left.is_clean);
    assert_eq!((left.connections.len(), left.total("closed_idle")), (3, 0));
    assert_thought(&left, BRIEF);
}

/// Asserts that the only client of a load waited so long before each request but its first.
fn assert_thought(left: &Left, time: Duration) {
    for pair in left.requests.windows(2) {
        assert!(pair[1].sent_ns.unwrap().since(pair[0].end_ns) >= time);
    }
}
