//! Messages between the owner's program and the workers'.

use maitred::{Event, MESSAGE_MAX, Outcome, SendError};

use crate::stage::{Stage, play, settings};

#[test]
fn messages_go_both_ways_and_keep_their_order() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        for number in 0..100 {
            stage.tell(&worker, &format!("echo number {number}")).await;
        }
        for number in 0..100 {
            let heard = stage.heard(&worker, "number ").await;
            assert_eq!(heard, number.to_string());
        }
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn an_early_message_arrives_once_the_worker_listens() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.cluster.fork_with([("PART", "puppet")]).await.unwrap();
        stage.tell(&worker, "echo early").await;
        stage.heard(&worker, "early").await;
        assert_eq!(stage.names()[..4], ["setup", "fork", "online", "message"]);
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_message_too_long_is_refused_and_the_longest_arrives() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        // Two quotes are part of the message.
        let order = format!("echo {}", "x".repeat(MESSAGE_MAX - 2 - "echo ".len()));
        let longer = format!("{order}x");
        let (len, max) = (MESSAGE_MAX + 1, MESSAGE_MAX);
        let id = worker.id();
        assert_eq!(
            worker.send(&longer).await,
            Err(SendError::TooLong {
                worker: id,
                len,
                max
            })
        );
        let heard = stage.ask(&worker, &order, "").await;
        assert_eq!(heard.len(), order.len() - "echo ".len());
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn nobody_can_send_to_a_worker_that_is_gone() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        stage.tell(&worker, "exit 0").await;
        stage.exit(&worker).await;
        let gone = SendError::NotConnected(worker.id());
        assert_eq!(worker.send(&"hello").await, Err(gone));
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn who_is_slow_loses_the_oldest_messages_and_is_told() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        // 54 MB, of which the master keeps 16 MiB for those that take nothing.
        let mut idle = stage.cluster.events();
        stage.tell(&worker, "flood 1000").await;
        stage.tell(&worker, "exit 0").await;
        worker.wait_until(|status| status.exit.is_some()).await;
        stage.end(Outcome::Done).await;
        let mut kept = 0_u64;
        while let Some(event) = idle.next().await {
            kept += u64::from(matches!(event, Event::Message { .. }));
        }
        assert!((200..400).contains(&kept), "{kept} were kept");
        assert_eq!(kept + idle.missed(), 1000);
    });
}
