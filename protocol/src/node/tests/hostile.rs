//! What a worker may not say, and what it cannot do to the master by saying it.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use sendfd::SendWithFd;

use super::super::{MESSAGE_MAX, MasterEnd, MasterInbox, pair};
use super::*;

/// The master's end of a channel, and the bare socket of a worker that has said `online`.
fn bare() -> (MasterEnd, MasterInbox, UnixStream) {
    let (master, worker) = pair().unwrap();
    let (end, inbox) = MasterEnd::new(master, MESSAGE_MAX).unwrap();
    (end, inbox, UnixStream::from(worker))
}

#[test]
fn a_malformed_line_is_a_breach() {
    let bytes = |line: &[u8]| is_breach(word::parse(line.to_vec()));
    bytes(b"");
    bytes(b"\xff");
    bytes(b"\"\xff\"");
    bytes(b"{\"cmd\":\"NODE_CLUSTER\"");
    bytes(b"{} {}");
    bytes(b"[1,]");
    for line in [
        r#"{"cmd":"NODE_CLUSTER","act":1}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"close"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"close","key":3}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","port":80}"#,
        r#"{"cmd":"NODE_MAITRED"}"#,
        r#"{"cmd":"NODE_MAITRED","act":"pong","nonce":-1}"#,
        r#"{"cmd":"NODE_SOCKET_GET_COUNT"}"#,
    ] {
        is_breach(word::parse(line.as_bytes().to_vec()));
    }
}

#[test]
fn what_is_remembered_or_sent_back_cannot_be_long() {
    let long = "x".repeat(5000);
    let keys = "1,".repeat(40_000);
    for line in [
        format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{long}"}}"#),
        format!(r#"{{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"{long}"}}"#),
    ] {
        is_breach(word::parse(line.into_bytes()));
    }
    // Of these nothing but the number is kept, for the answer.
    for line in [
        QUERY.replace("127.0.0.1", &long),
        QUERY.replace("null", &format!("[{keys}1]")),
        QUERY.replace(r#""addressType":4"#, &format!(r#""addressType":[{keys}1]"#)),
    ] {
        let word = word::parse(line.into_bytes());
        assert!(matches!(word, Ok(word::Word::Nonsense(1))), "{word:?}");
    }
}

#[test]
fn depth_takes_no_stack() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let mut node = online();
    assert_eq!(messages(&mut node, &deep), [user(&deep)]);
    let handle = format!(r#"{{"cmd":"NODE_HANDLE","msg":{deep}}}"#);
    assert_eq!(hear(&mut node, &handle).messages, [user(&deep)]);
    for name in ["data", "addressType", "backlog", "anything"] {
        let line = QUERY.replace(r#""index":0,"data":null"#, &format!(r#""{name}":{deep}"#));
        // Refused or skipped; either way it was survived.
        drop(word::parse(line.into_bytes()));
    }
}

#[test]
fn online_comes_first_and_once() {
    is_breach(try_hear(&mut Translator::default(), QUERY));
    is_breach(try_hear(&mut Translator::default(), "1"));
    is_breach(try_hear(&mut online(), ONLINE));
    let mut node = Translator::default();
    assert_eq!(messages(&mut node, PRELOAD), [], "it may be there before");
    hear(&mut node, ONLINE);
}

#[test]
fn an_ack_for_nothing_is_a_breach() {
    for receipt in [HANDLE_ACK, NOT_ARRIVED] {
        is_breach(try_hear(&mut online(), receipt));
        let mut node = listening();
        hand_off(&mut node, 1);
        hear(&mut node, receipt);
        is_breach(try_hear(&mut node, receipt));
    }
    let mut node = listening();
    let seq = hand_off(&mut node, 1);
    is_breach(try_hear(&mut node, &answer(seq, true)));
}

#[test]
fn questions_are_bounded() {
    let mut node = online();
    for _ in 0..1024 {
        hear(&mut node, QUERY);
    }
    is_breach(try_hear(&mut node, QUERY));
    let mut node = online();
    for server in 0..1024 {
        hear(&mut node, QUERY);
        let outcome = ServerOutcome::HandedOver {
            server: ServerId(server),
            bound: ip("127.0.0.1:1"),
            data: None,
        };
        say(&mut node, &reply(server, outcome));
    }
    is_breach(try_hear(&mut node, QUERY));
}

#[tokio::test]
async fn a_line_without_end_is_refused_at_the_limit() {
    let (master, worker) = pair().unwrap();
    let max = 300_000;
    let (_end, mut inbox) = MasterEnd::new(master, max).unwrap();
    let mut worker = UnixStream::from(worker);
    let writer = tokio::task::spawn_blocking(move || {
        // Refused once the master has turned away.
        while worker.write(&[b'x'; 4096]).is_ok() {}
    });
    let error = inbox.receive().await.unwrap_err();
    assert!(matches!(error, ChannelError::FrameTooLong { len, .. } if len <= max + 65_536));
    drop((inbox, _end));
    writer.await.unwrap();
}

#[tokio::test]
async fn very_many_short_lines_leave_the_others_their_turn() {
    let (_end, mut inbox, mut worker) = bare();
    let writer = tokio::task::spawn_blocking(move || {
        for _ in 0..4 {
            worker.write_all(&b"1\n".repeat(50_000)).unwrap();
        }
    });
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = turns.clone();
    // On this one thread it gets a turn only when the receiver gives way.
    let others = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..200_000 {
        inbox.receive().await.unwrap();
    }
    others.abort();
    writer.await.unwrap();
    // A turn's budget is 128 receipts.
    let turns = turns.load(Ordering::Relaxed);
    assert!(turns > 200_000 / 256, "they had {turns} turns");
}

#[tokio::test]
async fn a_worker_holds_one_long_message_in_the_master() {
    let (mut end, mut inbox, mut worker) = bare();
    let long = format!("\"{}\"\n", "x".repeat(100_000));
    let writer = tokio::task::spawn_blocking(move || {
        worker.write_all(format!("{ONLINE}\n").as_bytes()).unwrap();
        for _ in 0..3 {
            worker.write_all(long.as_bytes()).unwrap();
        }
        worker
    });
    end.hear(inbox.receive().await.unwrap()).unwrap();
    for _ in 0..2 {
        let first = inbox.receive().await.unwrap();
        assert_eq!(first.message_len(), 100_002);
        // However often it is asked: nothing can come while the first is held.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            let second = inbox.receive().now_or_never();
            assert!(second.is_none(), "{second:?}");
        }
        assert_eq!(end.hear(first).unwrap().messages.len(), 1);
    }
    inbox.receive().await.unwrap();
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn descriptors_of_the_workers_are_closed() {
    let (mut end, mut inbox, worker) = bare();
    let (mut kept, given) = UnixStream::pair().unwrap();
    let given = OwnedFd::from(given);
    let line = format!("{ONLINE}\n{{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":7}}\n");
    worker
        .send_with_fd(line.as_bytes(), &[given.as_raw_fd()])
        .unwrap();
    drop(given);
    end.hear(inbox.receive().await.unwrap()).unwrap();
    let meaning = end.hear(inbox.receive().await.unwrap()).unwrap();
    assert_eq!(meaning.messages, [user("7")]);
    end.send(&meaning.answers[0], None).unwrap();
    // No copy is left anywhere, or this would be taken.
    kept.write_all(b"x").unwrap_err();
}
