//! Workers that break the protocol: they are killed, and nobody else notices.

use maitred::{Event, Outcome, Worker};

use crate::stage::{Stage, play, settings, visit};

/// Has one of two workers misbehave, and checks who lives on.
fn punishes(how: &'static str, expected: &'static str) {
    play(|| async move {
        let mut stage = Stage::new(settings());
        let (bad, address) = stage.fork_listening("tcp 127.0.0.1:0").await;
        let (_good, _) = stage.fork_listening("tcp 127.0.0.1:0").await;
        stage.tell(&bad, &format!("misbehave {how}")).await;
        let breach = stage
            .until(|event| matches!(event, Event::Breached { .. }))
            .await;
        let Event::Breached { worker, reason, .. } = breach else {
            unreachable!("it was just looked at");
        };
        assert_eq!(worker, bad.id());
        assert!(reason.contains(expected), "{reason}");
        assert_killed(&mut stage, &bad).await;
        for _ in 0..3 {
            assert_eq!(visit(address, "hello").await, "w2 heard hello");
        }
        let breaches = stage
            .names()
            .iter()
            .filter(|name| **name == "breached")
            .count();
        assert_eq!(breaches, 1);
        stage.end(Outcome::Done).await;
    });
}

async fn assert_killed(stage: &mut Stage, worker: &Worker) {
    let exit = stage.exit(worker).await;
    let Event::Exit {
        status,
        exited_after_disconnect,
        ..
    } = exit
    else {
        unreachable!("it was just looked at");
    };
    assert_eq!(status.signal, Some(nix::libc::SIGKILL));
    assert!(!exited_after_disconnect);
}

#[test]
fn garbage_is_a_breach() {
    punishes("garbage", "decode a frame");
}

#[test]
fn a_second_hello_is_a_breach() {
    punishes("hello", "hello was said before");
}

#[test]
fn a_descriptor_never_arrives() {
    // From Linux 6.16 on the worker cannot even send it, and says hello to tell us.
    punishes("descriptor", "r");
}

#[test]
fn an_ack_for_nothing_is_a_breach() {
    punishes("ack", "a handoff that it does not have");
}

#[test]
fn listening_where_it_was_not_granted_is_a_breach() {
    punishes("listening", "a server that it was not granted");
}

#[test]
fn who_asks_for_sockets_without_taking_them_is_stopped() {
    // Each reply holds a descriptor of the master's until the channel takes it.
    punishes("grab", "it does not read its channel");
}

#[test]
fn a_flood_of_messages_starves_nobody() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (loud, address) = stage.fork_listening("tcp 127.0.0.1:0").await;
        let (quiet, _) = stage.fork_listening("tcp 127.0.0.1:0").await;
        // 54 MB of text, of which the master keeps 16 MiB for whoever listens.
        stage.tell(&loud, "flood 1000").await;
        for _ in 0..50 {
            stage.ask(&quiet, "echo still there", "still there").await;
            stage.cluster.snapshot().await.unwrap();
        }
        loud.kill(nix::libc::SIGKILL).await;
        stage.exit(&loud).await;
        assert_eq!(visit(address, "hello").await, "w2 heard hello");
        stage.end(Outcome::Done).await;
    });
}
