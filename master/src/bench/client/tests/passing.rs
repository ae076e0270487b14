//! Requests and answers that pass each other, and those that are under way at the end.

use super::*;

/// Both sides have more to say than sockets hold; whoever insists on writing first hangs.
#[test]
fn large_requests_and_large_answers_pass_each_other() {
    let server = Server::start(|guest| {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
        while guest.read_request() {
            guest.write(answer.as_bytes());
            guest.write(&vec![b'x'; LARGE]);
        }
    });
    let left = run(&Options {
        length: Length::Amount(12),
        pipelining: 4,
        method: "POST".to_owned(),
        body: vec![b'y'; LARGE],
        ..server.options()
    });
    assert!(left.is_clean, "{:?}", left.json);
    assert!(left.total("sent_bytes") > 12 * LARGE as u64);
    assert!(left.total("received_bytes") > 12 * LARGE as u64);
}

/// Far more than the buffers of two sockets hold.
const LARGE: usize = 8 * 1024 * 1024;

#[test]
fn a_large_request_that_is_refused_early_has_its_answer() {
    let server = Server::start(|guest: &mut Guest| {
        guest.write(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        guest.close();
    });
    let left = run(&Options {
        body: vec![b'y'; LARGE],
        ..server.options()
    });
    assert_eq!(left.outcomes(), [Outcome::Ok]);
    assert_eq!(left.requests[0].status, Some(413));
}

#[test]
fn what_is_in_flight_when_it_is_time_is_waited_for() {
    let server = Server::start(|guest| {
        while guest.read_request() {
            pause();
            guest.write(OK);
        }
    });
    let began = Instant::now();
    let left = run(&Options {
        length: Length::Time(PAUSE / 2),
        connections: 3,
        ..server.options()
    });
    assert!(began.elapsed() >= PAUSE);
    assert!(left.is_clean && left.requests.len() >= 3);
    assert_eq!(left.end.unfinished, 0);
}
