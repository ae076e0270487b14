//! Every outcome, against servers that bring it about; amounts, connections, time.

mod passing;
mod thinking;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bench::options::{Length, Options, Think};
use crate::bench::outcome::Outcome;
use crate::bench::testing::{Guest, Left, OK, Server, answering, options, run, run_at};

const BRIEF: Duration = Duration::from_millis(200);

/// Checks that one request failed so, with a sent time, and returns what was left.
fn check_failure(server: &Server, options: &Options, outcome: Outcome) -> Left {
    let left = run(options);
    assert_eq!(left.outcomes(), [outcome]);
    assert!(!left.is_clean);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    let (request, connection) = (&left.requests[0], &left.connections[0]);
    assert_eq!((request.status, request.reused), (None, false));
    assert!(request.sent_ns >= connection.connected_ns);
    assert!(connection.connected_ns > Some(connection.connect_ns));
    assert!(Some(request.end_ns) >= request.sent_ns);
    assert_eq!(connection.outcome, outcome);
    assert_eq!(request.port, connection.port);
    assert!(request.port.is_some());
    left
}

#[test]
fn an_answer_is_ok_whatever_its_status() {
    let server = answering(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let left = run(&server.options());
    assert_eq!(left.outcomes(), [Outcome::Ok]);
    assert_eq!(left.requests[0].status, Some(500));
    assert!(left.is_clean);
    assert_eq!(left.total("status_5xx"), 1);
}

#[test]
fn an_amount_is_met_exactly() {
    let server = answering(OK);
    for (amount, connections, pipelining) in [(1000, 10, 1), (1000, 7, 9), (3, 10, 10)] {
        let before = server.requests.load(Ordering::SeqCst);
        let left = run(&Options {
            length: Length::Amount(amount),
            connections,
            pipelining,
            ..server.options()
        });
        let seen = server.requests.load(Ordering::SeqCst) - before;
        assert_eq!(seen, amount);
        assert_eq!(left.total("ok"), amount);
        assert_eq!(left.end.unfinished, 0);
        assert!(left.connections.len() as u64 <= u64::from(connections).min(amount));
        assert_eq!(left.json["workers"][0]["requests"], amount);
    }
}

#[test]
fn with_close_each_request_has_its_connection() {
    let server = answering(OK);
    let left = run(&Options {
        length: Length::Amount(50),
        connections: 4,
        close: true,
        ..server.options()
    });
    assert!(left.is_clean);
    assert_eq!(server.connections.load(Ordering::SeqCst), 50);
    assert_eq!(left.connections.len(), 50);
    assert!(
        left.connections
            .iter()
            .all(|connection| connection.requests == 1)
    );
    assert!(
        left.requests
            .iter()
            .all(|request| request.number == 1 && !request.reused)
    );
    assert_eq!(left.json["workers"][0]["connections"], 50);
    // Port and use together name a connection.
    let mut names: Vec<_> = left
        .connections
        .iter()
        .map(|c| (c.port, c.port_use))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 50);
}

#[test]
fn a_connection_that_the_server_closes_is_followed_by_another() {
    let server = answering(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let left = run(&Options {
        length: Length::Amount(5),
        ..server.options()
    });
    assert!(left.is_clean);
    assert_eq!(left.total("connections"), 5);
}

#[test]
fn without_keep_alive_the_end_of_the_connection_ends_the_answer() {
    let server = Server::start(|guest| {
        guest.read_request();
        guest.write(b"HTTP/1.0 200 OK\r\n\r\nas long as it takes");
        guest.close();
    });
    let left = run(&Options {
        length: Length::Amount(3),
        ..server.options()
    });
    assert_eq!(left.outcomes(), [Outcome::Ok; 3]);
}

#[test]
fn nobody_there_is_refused() {
    let address = unused_address();
    let left = run(&Options {
        length: Length::Amount(3),
        ..options(&format!("http://{address}/"))
    });
    assert_eq!(left.outcomes(), [Outcome::Refused; 3]);
    for (request, connection) in left.requests.iter().zip(&left.connections) {
        assert_eq!((request.sent_ns, connection.connected_ns), (None, None));
        assert_eq!(connection.outcome, Outcome::Refused);
        assert!(request.reason.as_deref().unwrap().contains("refused"));
    }
    assert_eq!(left.total("connections"), 0);
}

/// An address where nobody listens, at least for now.
fn unused_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn a_full_backlog_is_a_timeout_and_the_port_is_known() {
    let listener = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    rustix::net::bind(&listener, &any).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = rustix::net::getsockname(&listener).unwrap();
    let address = SocketAddr::try_from(address).unwrap();
    // A backlog of none has room for one.
    let _waiting = std::net::TcpStream::connect(address).unwrap();
    let left = run(&Options {
        timeout: BRIEF,
        ..options(&format!("http://{address}/"))
    });
    assert_eq!(left.outcomes(), [Outcome::Timeout]);
    assert!(left.connections[0].port.is_some());
    assert_eq!(left.connections[0].connected_ns, None);
    assert_eq!(left.requests[0].sent_ns, None);
}

#[test]
fn a_reset_is_told_from_a_close() {
    let server = Server::start(|guest| {
        guest.read_request();
        guest.reset();
    });
    check_failure(&server, &server.options(), Outcome::ResetBeforeAnswer);
    let server = Server::start(|guest| {
        guest.read_request();
        guest.close();
    });
    check_failure(&server, &server.options(), Outcome::ClosedBeforeAnswer);
}

#[test]
fn half_an_answer_is_none() {
    for half in [&OK[..OK.len() - 1], &OK[..10]] {
        let server = Server::start(move |guest| {
            guest.read_request();
            guest.write(half);
            guest.close();
        });
        let left = check_failure(&server, &server.options(), Outcome::ClosedBeforeAnswer);
        assert!(left.requests[0].first_byte_ns.is_some());
    }
}

#[test]
fn silence_is_a_timeout() {
    let server = Server::start(|guest| {
        guest.read_request();
        guest.wait();
    });
    let options = Options {
        timeout: BRIEF,
        ..server.options()
    };
    let left = check_failure(&server, &options, Outcome::Timeout);
    let request = &left.requests[0];
    assert!(request.end_ns.since(request.sent_ns.unwrap()) >= BRIEF);
    assert_eq!(request.first_byte_ns, None);
}

/// The alarm is set once for many requests; it must ring for the one that is late alone.
#[test]
fn each_request_has_the_whole_timeout() {
    let server = Server::start(|guest| {
        for _ in 0..3 {
            guest.read_request();
            pause();
            guest.write(OK);
        }
        guest.wait();
    });
    let timeout = PAUSE * 2;
    let left = run(&Options {
        timeout,
        length: Length::Amount(4),
        ..server.options()
    });
    let ok = Outcome::Ok;
    assert_eq!(left.outcomes(), [ok, ok, ok, Outcome::Timeout]);
    let late = &left.requests[3];
    assert!(late.end_ns.since(late.sent_ns.unwrap()) >= timeout);
}

#[test]
fn garbage_is_a_bad_answer() {
    for (garbage, reason) in [
        (&b"SSH-2.0-OpenSSH\r\n"[..], "malformed"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy",
            "more came",
        ),
    ] {
        let server = Server::start(move |guest| {
            guest.read_request();
            guest.write(garbage);
            guest.wait();
        });
        let left = check_failure(&server, &server.options(), Outcome::BadAnswer);
        let told = left.requests[0].reason.as_deref().unwrap();
        assert!(told.contains(reason), "{told}");
        assert_eq!(left.json["first_reason"], told);
    }
}

/// The race that no one is to blame for, and that a checker must be able to tell.
#[test]
fn a_keep_alive_connection_that_closes_as_it_is_reused_is_known() {
    let server = Server::start(|guest| {
        guest.read_request();
        guest.write(OK);
        guest.read_request();
        guest.close();
    });
    let left = run(&Options {
        length: Length::Amount(4),
        ..server.options()
    });
    let (ok, closed) = (Outcome::Ok, Outcome::ClosedBeforeAnswer);
    assert_eq!(left.outcomes(), [ok, closed, ok, closed]);
    for pair in left.requests.chunks(2) {
        assert_eq!((pair[0].number, pair[0].reused), (1, false));
        assert_eq!((pair[1].number, pair[1].reused), (2, true));
        // Whoever answered before would have been to answer.
        assert_eq!(pair[1].worker, pair[0].worker);
        assert!(!pair[1].announced && pair[1].first_byte_ns.is_none());
    }
}

#[test]
fn what_was_sent_behind_the_last_answer_fails_but_was_announced() {
    let server = Server::start(|guest| {
        for _ in 0..3 {
            guest.read_request();
        }
        guest.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        guest.close();
    });
    let left = run(&Options {
        length: Length::Amount(3),
        pipelining: 3,
        ..server.options()
    });
    let closed = Outcome::ClosedBeforeAnswer;
    assert_eq!(left.outcomes(), [Outcome::Ok, closed, closed]);
    let announced: Vec<_> = left
        .requests
        .iter()
        .map(|request| request.announced)
        .collect();
    assert_eq!(announced, [false, true, true]);
    assert_eq!(left.total("announced"), 2);
}

#[test]
fn all_that_is_pipelined_fails_with_the_first_that_does() {
    let server = Server::start(|guest| {
        guest.read_request();
        guest.write(OK);
        guest.wait();
    });
    let left = run(&Options {
        length: Length::Amount(4),
        pipelining: 4,
        timeout: BRIEF,
        ..server.options()
    });
    let late = Outcome::Timeout;
    assert_eq!(left.outcomes(), [Outcome::Ok, late, late, late]);
    // None of them was sent on an idle connection.
    assert!(left.requests.iter().all(|request| !request.reused));
}

/// How long some servers think: long enough for a busy machine to notice everything else.
const PAUSE: Duration = Duration::from_millis(400);

/// Thinks: it waits for a word that nobody says.
fn pause() {
    let (_silent, words) = std::sync::mpsc::sync_channel::<()>(1);
    assert!(words.recv_timeout(PAUSE).is_err());
}

#[test]
fn of_several_addresses_the_first_that_takes_a_connection_is_used() {
    let server = answering(OK);
    let addresses = [unused_address(), server.address];
    let left = run_at(
        &Options {
            length: Length::Amount(6),
            connections: 2,
            ..server.options()
        },
        &addresses,
    );
    assert_eq!(left.outcomes(), [Outcome::Ok; 6]);
    // The one that was opened to try the address is one of the load's own.
    assert_eq!(
        server.connections.load(Ordering::SeqCst),
        left.total("connections")
    );
}

#[test]
fn an_answer_to_head_has_no_body() {
    let server = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n");
    let left = run(&Options {
        method: "HEAD".to_owned(),
        length: Length::Amount(5),
        ..server.options()
    });
    assert_eq!(left.outcomes(), [Outcome::Ok; 5]);
    assert_eq!(left.total("connections"), 1);
}

#[test]
fn it_is_the_same_over_ipv6() {
    let listener = match TcpListener::bind("[::1]:0") {
        Ok(listener) => listener,
        // A machine without IPv6 has no loopback address to try it with.
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
            return;
        }
    };
    let address = listener.local_addr().unwrap();
    let acceptor = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(OK).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let left = run(&options(&format!("http://{address}/")));
    assert_eq!(left.outcomes(), [Outcome::Ok]);
    let request = acceptor.join().unwrap();
    assert!(
        request.contains(&format!("Host: {address}\r\n")),
        "{request}"
    );
}
