//! A master's end of Node's dialect against real Node workers, which know nothing of it.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

#[path = "node_worker/office.rs"]
mod office;

use maitred_protocol::message::{BoundAddress, RejectReason};
use maitred_protocol::{ChannelError, HandoffId, WorkerToMaster};
use office::{Client, Office, user};

/// An HTTP server that answers with the path it was asked for, and echoes messages.
const SERVER: &str = "
    process.on('message', (message) => process.send({ echo: message }));
    require('http')
        .createServer((request, response) => response.end(`[${request.url}]`))
        .listen(0, '127.0.0.1');
";

#[tokio::test]
async fn connections_are_taken_two_at_a_time_and_answered() {
    let mut office = Office::open(SERVER).await;
    office.listening().await;
    for pair in 0..50 {
        let clients = [2 * pair, 2 * pair + 1].map(|n| (n, Client::ask(&office, n)));
        for (n, _) in &clients {
            office.hand_off(*n);
        }
        for (n, _) in &clients {
            let handoff = HandoffId(*n);
            assert_eq!(office.heard().await, WorkerToMaster::Ack { handoff });
        }
        for (n, client) in clients {
            assert_eq!(client.answer().await, format!("[/{n}]"));
        }
    }
    office.disconnects().await;
}

#[tokio::test]
async fn user_messages_go_both_ways_at_any_length() {
    let mut office = Office::open(SERVER).await;
    office.listening().await;
    for len in [1, 70_000, 800_000] {
        let text = format!("\"{}\"", "é".repeat(len));
        office.say(&office::to_program(&text));
        let echo = user(&format!("{{\"echo\":{text}}}"));
        assert!(office.heard().await == echo, "of {len} characters");
    }
    // Around handoffs, longer than the channel's buffer.
    let text = format!("\"{}\"", "x".repeat(800_000));
    let clients = [0, 1, 2].map(|n| (n, Client::ask(&office, n)));
    for (n, _) in &clients {
        office.say(&office::to_program(&text));
        office.hand_off(*n);
    }
    let (mut acks, mut echoes) = (Vec::new(), 0);
    while acks.len() < 3 || echoes < 3 {
        let heard = office.heard().await;
        if let WorkerToMaster::Ack { handoff } = heard {
            acks.push(handoff.0);
        } else {
            assert!(matches!(heard, WorkerToMaster::User(_)), "{heard:?}");
            echoes += 1;
        }
    }
    assert_eq!(acks, [0, 1, 2]);
    for (n, client) in clients {
        assert_eq!(client.answer().await, format!("[/{n}]"));
    }
    office.disconnects().await;
}

/// As [`SERVER`], but it can be kept from reading for a moment.
const BUSY: &str = "
    process.on('message', (message) => {
        if (message !== 'busy') return;
        process.send('busy');
        for (const until = Date.now() + 3; Date.now() < until; );
    });
    require('http')
        .createServer((request, response) => response.end(`[${request.url}]`))
        .listen(0, '127.0.0.1');
";

#[tokio::test]
async fn no_run_of_plain_bytes_costs_a_connection() {
    let mut office = Office::open(BUSY).await;
    office.listening().await;
    let mut number = 0;
    // Where a worker's read would end inside the line of the first connection, and a little
    // to both sides.
    for run in 65_380..=65_545 {
        office.say(&office::to_program(r#""busy""#));
        assert_eq!(office.heard().await, user(r#""busy""#));
        let text = format!("\"{}\"", "x".repeat(run - 3));
        office.say(&office::to_program(&text));
        let clients = [(); 3].map(|()| {
            number += 1;
            let client = Client::ask(&office, number);
            office.hand_off(number);
            (number, client)
        });
        for (n, client) in clients {
            let handoff = HandoffId(n);
            let heard = office.heard().await;
            assert_eq!(heard, WorkerToMaster::Ack { handoff }, "after {run} bytes");
            assert_eq!(
                client.answer().await,
                format!("[/{n}]"),
                "after {run} bytes"
            );
        }
    }
    office.disconnects().await;
}

#[tokio::test]
async fn a_refused_listen_is_the_error_that_node_knows() {
    // TLS servers take their ticket keys from the reply, refused or not.
    for module in ["net", "tls"] {
        let script = format!(
            "require('{module}').createServer().listen(1, '127.0.0.1')
                 .on('error', (error) => process.send(`${{error.code}} ${{error.errno}}`));"
        );
        let mut office = Office::open(&script).await;
        let query = office.asked().await;
        assert_eq!(query.data.is_some(), module == "tls");
        office.refuse(query.query, 98);
        assert_eq!(office.heard().await, user(r#""EADDRINUSE -98""#));
        office.disconnects_at_once().await;
    }
}

#[tokio::test]
async fn a_shared_socket_is_the_workers_own() {
    let script = "
        const socket = require('dgram').createSocket('udp4');
        socket.on('message', (message, from) => socket.send(message, from.port, from.address));
        socket.bind(0, '127.0.0.1');
    ";
    let mut office = Office::open(script).await;
    let query = office.asked().await;
    let BoundAddress::Ip(address) = office.share(&query) else {
        panic!("UDP has an address");
    };
    office.listens().await;
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"hello", address).await.unwrap();
    let mut echo = [0; 16];
    let (len, from) = office::soon(client.recv_from(&mut echo)).await.unwrap();
    assert_eq!((&echo[..len], from), (&b"hello"[..], address));
    office.disconnects().await;
}

#[tokio::test]
async fn a_worker_that_closed_its_server_refuses() {
    let script = "
        const server = require('http').createServer().listen(0, '127.0.0.1');
        process.on('message', () => server.close());
    ";
    let mut office = Office::open(script).await;
    office.listening().await;
    let client = Client::ask(&office, 1);
    office.say(&office::to_program("1"));
    let server = office.server;
    assert_eq!(office.heard().await, WorkerToMaster::Close { server });
    office.hand_off(1);
    let (handoff, reason) = (HandoffId(1), RejectReason::Draining);
    let refused = WorkerToMaster::Reject { handoff, reason };
    assert_eq!(office.heard().await, refused);
    drop(client);
    office.disconnects_at_once().await;
}

#[tokio::test]
async fn a_worker_that_leaves_by_itself_is_let_go() {
    let script =
        format!("{SERVER} process.on('message', () => require('cluster').worker.disconnect());");
    let mut office = Office::open(&script).await;
    office.listening().await;
    office.say(&office::to_program("1"));
    let server = office.server;
    let mut heard = vec![
        office.heard().await,
        office.heard().await,
        office.heard().await,
    ];
    heard.retain(|message| !matches!(message, WorkerToMaster::User(_)));
    let leaving = WorkerToMaster::ExitedAfterDisconnect;
    assert_eq!(heard, [WorkerToMaster::Close { server }, leaving]);
    office.ends().await;
}

#[tokio::test]
async fn a_worker_may_send_sockets() {
    // Node sends nothing more until each has been acked.
    let script = "
        const { createServer } = require('net');
        const send = (n) => {
            if (n > 3) return process.send('done');
            const server = createServer().listen({ port: 0, exclusive: true }, () => {
                process.send({ n }, server.unref());
                send(n + 1);
            });
        };
        send(1);
    ";
    let mut office = Office::open(script).await;
    for n in 1..=3 {
        assert_eq!(office.heard().await, user(&format!("{{\"n\":{n}}}")));
    }
    assert_eq!(office.heard().await, user(r#""done""#));
    office.disconnects_at_once().await;
}

#[tokio::test]
async fn a_worker_that_dies_ends_its_channel() {
    let mut office = Office::open("process.exit(3)").await;
    let ended = office.receive().await.unwrap_err();
    assert!(matches!(ended, ChannelError::PeerGone));
    assert_eq!(office.status().await.code(), Some(3));
}
