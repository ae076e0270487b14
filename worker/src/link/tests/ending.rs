//! How a worker is left by its master, parts from it, and what else passes between them.

use super::*;

#[tokio::test]
async fn an_orphan_serves_what_waits_and_then_all_is_over() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let (mut client, copy, _) = master.hand_off().await;
    drop(copy);
    drop(master);
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    stream.write_all(b"still here").await.unwrap();
    drop(stream);
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "still here");
    soon(listener.draining()).await;
    let error = soon(listener.accept()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
}

#[tokio::test]
async fn a_closed_listener_gives_back_what_waits() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let (_client, _copy, handoff) = master.hand_off().await;
    master.tell(&MasterToWorker::Ping { nonce: 1 });
    assert_eq!(master.hear().await, WorkerToMaster::Pong { nonce: 1 });
    listener.close();
    assert!(matches!(
        master.hear().await,
        WorkerToMaster::Reject { handoff: rejected, .. } if rejected == handoff
    ));
    assert_eq!(
        master.hear().await,
        WorkerToMaster::Close { server: SERVER }
    );
}

#[tokio::test]
async fn a_listen_that_was_given_up_gives_its_server_back() {
    let (link, mut master) = meet().await;
    let asking = tokio::spawn(Listen::any(0).open_on::<TcpStream>(link));
    let query = master.hear_query().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    master.grant(&query, SERVER);
    assert_eq!(
        master.hear().await,
        WorkerToMaster::Close { server: SERVER }
    );
}

#[tokio::test]
async fn a_refused_listen_is_the_errno_and_frees_its_index() {
    let (link, mut master) = meet().await;
    for _ in 0..2 {
        let asking = tokio::spawn(Listen::any(0).open_on::<TcpStream>(link));
        let ServerQuery { query, index, .. } = master.hear_query().await;
        assert_eq!(index, 0);
        let outcome = ServerOutcome::Refused { errno: 98 };
        master.tell(&MasterToWorker::ServerReply { query, outcome });
        let error = soon(asking).await.unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(98));
    }
}

#[tokio::test]
async fn answers_to_what_was_never_asked_are_survived() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let query = QueryId(1000);
    let outcome = ServerOutcome::Refused { errno: 98 };
    master.tell(&MasterToWorker::ServerReply { query, outcome });
    master.tell(&MasterToWorker::ExitedAfterDisconnectAck);
    let (_client, _copy, handoff) = master.hand_off().await;
    let _stream = soon(listener.accept()).await.unwrap();
    assert_eq!(master.hear().await, ack(handoff));
}

#[tokio::test]
async fn a_program_that_parts_waits_for_the_ack_and_goes_on() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    link.with(|state| state.leave(link, Wish::Own));
    assert_eq!(master.hear().await, WorkerToMaster::ExitedAfterDisconnect);
    assert!(!*link.finished.borrow());
    master.tell(&MasterToWorker::ExitedAfterDisconnectAck);
    soon(link.finished.subscribe().wait_for(|finished| *finished))
        .await
        .unwrap();
    assert!(link.outlives());
    assert!(soon(listener.accept()).await.is_err());
}

#[tokio::test]
async fn messages_go_both_ways_and_wait_for_who_asks_late() {
    let (link, mut master) = meet().await;
    let json = r#"{"hello":"worker"}"#.to_owned();
    master.tell(&MasterToWorker::User(UserMessage { json }));
    master.tell(&MasterToWorker::Ping { nonce: 1 });
    assert_eq!(master.hear().await, WorkerToMaster::Pong { nonce: 1 });
    let mut messages = link.lock().received.claim().unwrap();
    assert!(link.lock().received.claim().is_none());
    let message = soon(messages.recv()).await.unwrap();
    assert_eq!(message["hello"], "worker");
    link.with(|state| state.outbox.send("[1]".to_owned()))
        .unwrap();
    let expected = UserMessage {
        json: "[1]".to_owned(),
    };
    assert_eq!(master.hear().await, WorkerToMaster::User(expected));
}

#[tokio::test]
async fn statistics_follow_what_is_taken_and_closed() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let (_client, _copy, _) = master.hand_off().await;
    let (stream, _) = soon(listener.accept()).await.unwrap();
    let mut told = Vec::new();
    let mut held = Some(stream);
    while told.last() != Some(&(0, 1)) {
        if let WorkerToMaster::Statistics(counts) = soon(master.inbox.receive()).await.unwrap() {
            told.push((counts.open, counts.taken));
            held = None;
        }
    }
    drop(held);
    assert_eq!(told, [(1, 1), (0, 1)]);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_s_own_server_takes_the_listener() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let draining = listener.draining();
    let draining = async {
        draining.await;
    };
    let app = axum::Router::new().fallback(async || "axum");
    let serving = axum::serve(listener, app).with_graceful_shutdown(draining);
    let serving = tokio::spawn(serving.into_future());
    let (mut client, _copy, _) = master.hand_off().await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("\r\n\r\naxum"), "{answer}");
    let grace = Duration::from_millis(1);
    master.tell(&MasterToWorker::Drain { grace });
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drained_http_server_ends_without_an_error() {
    let (link, mut master) = meet().await;
    let listener = open_any(link, &mut master).await;
    let server = crate::http::Server::new(|_request, response: crate::http::Response| async move {
        response.end("served").await
    });
    let grace = Duration::from_millis(1);
    master.tell(&MasterToWorker::Drain { grace });
    master.tell(&MasterToWorker::Disconnect);
    soon(server.serve(listener)).await.unwrap();
}
