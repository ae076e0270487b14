//! The ends against bare sockets: full channels, cancelled calls, the end of a worker.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use futures_util::FutureExt;
use sendfd::RecvWithFd;

use super::super::{MESSAGE_MAX, MasterEnd, MasterInbox, pair};
use super::*;
use crate::message::UserMessage;

/// A master whose worker listens, and that worker's bare socket.
async fn bare() -> (MasterEnd, MasterInbox, UnixStream) {
    let (master, worker) = pair().unwrap();
    let (mut end, mut inbox) = MasterEnd::new(master, MESSAGE_MAX).unwrap();
    let mut worker = UnixStream::from(worker);
    worker
        .write_all(format!("{ONLINE}\n{QUERY}\n").as_bytes())
        .unwrap();
    for _ in 0..2 {
        end.hear(inbox.receive().await.unwrap()).unwrap();
    }
    let line = encoded(&mut end, &handed_over(0, "127.0.0.1:1"));
    end.send(&line, None).unwrap();
    let mut reply = vec![0; line.len()];
    worker.read_exact(&mut reply).unwrap();
    assert_eq!(reply, line.bytes);
    (end, inbox, worker)
}

fn encoded(end: &mut MasterEnd, message: &MasterToWorker) -> Line {
    let wording = end.encode(message).unwrap();
    let Wording::Line(line) = wording else {
        panic!("{wording:?}");
    };
    line
}

fn user_line(end: &mut MasterEnd, len: usize) -> Line {
    let json = format!("\"{}\"", "x".repeat(len - 3));
    encoded(end, &MasterToWorker::User(UserMessage { json }))
}

fn connection() -> OwnedFd {
    OwnedFd::from(std::fs::File::open("/dev/null").unwrap())
}

/// Reads what a worker would in one read, with as many descriptors as come.
fn read(worker: &UnixStream) -> (Vec<u8>, usize) {
    let (mut bytes, mut numbers) = (vec![0; 65_536], [0; 8]);
    let (len, count) = worker.recv_with_fd(&mut bytes, &mut numbers).unwrap();
    for number in &numbers[..count] {
        drop(crate::fd::take_inherited(*number).unwrap());
    }
    bytes.truncate(len);
    (bytes, count)
}

#[tokio::test]
async fn one_descriptor_a_sendmsg_with_its_whole_line() {
    let (mut end, _inbox, worker) = bare().await;
    let connection = connection();
    for handoff in 0..50 {
        let line = encoded(&mut end, &new_connection(handoff));
        end.send(&line, Some(connection.as_fd())).unwrap();
    }
    for _ in 0..50 {
        let (bytes, count) = read(&worker);
        assert_eq!(count, 1);
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(bytes.ends_with(b"\n"));
    }
}

#[tokio::test]
async fn a_line_that_is_written_in_part_is_finished_first() {
    let (mut end, _inbox, worker) = bare().await;
    let long = user_line(&mut end, 1_000_000);
    let after = encoded(&mut end, &new_connection(1));
    let connection = connection();
    let (mut came, mut count) = (Vec::new(), 0);
    // More than the channel's buffer: it takes several rounds, and each sends the rest only.
    while matches!(end.send(&long, None), Err(ChannelError::Full)) {
        // The kernel calls it writable again when it is nearly empty.
        while rustix::io::ioctl_fionread(&worker).unwrap() > 0 {
            came.extend(read(&worker).0);
        }
        end.room().writable().await.unwrap();
    }
    end.send(&after, Some(connection.as_fd())).unwrap();
    while came.len() < long.len() + after.len() {
        let (bytes, descriptors) = read(&worker);
        came.extend(bytes);
        count += descriptors;
    }
    assert_eq!(came, [long.bytes, after.bytes].concat());
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_barrier_is_lifted_by_the_ack() {
    let (mut end, mut inbox, mut worker) = bare().await;
    let plain = user_line(&mut end, 65_450);
    end.send(&plain, None).unwrap();
    let connection = connection();
    let [first, second] = [1, 2].map(|handoff| encoded(&mut end, &new_connection(handoff)));
    end.send(&first, Some(connection.as_fd())).unwrap();
    let refused = end.send(&second, Some(connection.as_fd())).unwrap_err();
    assert!(matches!(refused, ChannelError::AwaitingAck));
    assert!(!refused.is_breach());
    worker
        .write_all(format!("{HANDLE_ACK}\n").as_bytes())
        .unwrap();
    end.hear(inbox.receive().await.unwrap()).unwrap();
    end.send(&second, Some(connection.as_fd())).unwrap();
}

#[tokio::test]
async fn a_line_and_its_descriptor_must_match() {
    let (mut end, _inbox, _worker) = bare().await;
    let line = encoded(&mut end, &new_connection(1));
    assert!(matches!(end.send(&line, None), Err(ChannelError::Io(_))));
    let connection = connection();
    let line = user_line(&mut end, 10);
    let outcome = end.send(&line, Some(connection.as_fd()));
    assert!(matches!(outcome, Err(ChannelError::Io(_))));
}

#[tokio::test]
async fn a_cancelled_receive_loses_nothing() {
    let (mut end, mut inbox, mut worker) = bare().await;
    let expected: Vec<String> = (0..12)
        .map(|n| format!("\"{n}{}\"", "x".repeat(n * 15_000)))
        .collect();
    let lines = expected.join("\n") + "\n";
    let writer = tokio::task::spawn_blocking(move || {
        for part in lines.as_bytes().chunks(7001) {
            worker.write_all(part).unwrap();
        }
    });
    for json in &expected {
        let heard = loop {
            // Dropped wherever it first has to wait, again and again.
            match inbox.receive().now_or_never() {
                Some(heard) => break heard.unwrap(),
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(end.hear(heard).unwrap().messages, [user(json)]);
    }
    writer.await.unwrap();
    let ended = inbox.receive().await.unwrap_err();
    assert!(matches!(ended, ChannelError::PeerGone));
}

#[tokio::test]
async fn last_words_are_heard_and_what_was_unread_does_not_hide_them() {
    let (mut end, mut inbox, mut worker) = bare().await;
    let connection = connection();
    let line = encoded(&mut end, &new_connection(1));
    let seq = line.number;
    end.send(&line, Some(connection.as_fd())).unwrap();
    let unread = user_line(&mut end, 1000);
    end.send(&unread, None).unwrap();
    let long = format!("\"{}\"", "x".repeat(100_000));
    let words = format!(
        "{HANDLE_ACK}\n{}\n{long}\n1\n\"unfinished",
        answer(seq, true)
    );
    worker.write_all(words.as_bytes()).unwrap();
    drop(worker);
    let mut heard = Vec::new();
    let ended = loop {
        match inbox.try_receive().await {
            Ok(Some(line)) => heard.extend(end.hear(line).unwrap().messages),
            Ok(None) => panic!("the end was not seen"),
            Err(error) => break error,
        }
    };
    assert!(matches!(ended, ChannelError::PeerGone), "{ended}");
    let ack = WorkerToMaster::Ack {
        handoff: HandoffId(1),
    };
    assert_eq!(heard, [ack, user(&long), user("1")]);
    let gone = end.send(&unread, None).unwrap_err();
    assert!(matches!(gone, ChannelError::PeerGone), "{gone}");
}

#[tokio::test]
async fn nothing_said_is_no_end() {
    let (_end, mut inbox, mut worker) = bare().await;
    assert!(inbox.try_receive().await.unwrap().is_none());
    worker.write_all(b"[1").unwrap();
    assert!(inbox.try_receive().await.unwrap().is_none());
    worker.write_all(b"]\n2\n").unwrap();
    for _ in 0..2 {
        assert!(inbox.try_receive().await.unwrap().is_some());
    }
    assert!(inbox.try_receive().await.unwrap().is_none());
}
