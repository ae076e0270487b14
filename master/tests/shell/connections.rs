//! From accept to release, and what happens when a worker does not play along.

use std::io::ErrorKind;

use maitred::{Event, Outcome};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;

use crate::stage::{Stage, call, hear, play, settings, visit};

const ANY_PORT: &str = "tcp 127.0.0.1:0";

#[test]
fn connections_go_round() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (_first, address) = stage.fork_listening(ANY_PORT).await;
        let (_second, same) = stage.fork_listening(ANY_PORT).await;
        let (_third, also) = stage.fork_listening(&format!("tcp {address}")).await;
        assert_eq!([same, also], [address; 2], "one server for all");
        for turn in 0..9 {
            let expected = format!("w{} heard hello", turn % 3 + 1);
            assert_eq!(visit(address, "hello").await, expected);
        }
        let snapshot = stage.cluster.snapshot().await.unwrap();
        assert_eq!(snapshot.totals.acked, 9);
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn the_client_sees_the_end_only_when_the_master_has_let_go() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (worker, address) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&worker, "hold").await;
        let mut client = call(address, "hello").await;
        stage.heard(&worker, "held").await;
        // The worker has closed its copy by the time it says so.
        stage.ask(&worker, "answer", "answered").await;
        let mut said = [0; 64];
        let count = client.read(&mut said).await.unwrap();
        assert_eq!(&said[..count], b"w1 heard hello");
        let more = client.try_read(&mut said).map_err(|error| error.kind());
        assert_eq!(
            more,
            Err(ErrorKind::WouldBlock),
            "the master holds its copy"
        );

        stage.tell(&worker, "ack").await;
        assert_eq!(hear(&mut client).await, "");
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_reject_goes_to_another_worker_and_the_rejecter_rests() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, address) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&first, "hold").await;
        let mut client = call(address, "hello").await;
        stage.heard(&first, "held").await;
        let (_second, _) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&first, "reject").await;
        assert_eq!(hear(&mut client).await, "w2 heard hello");
        for _ in 0..3 {
            assert_eq!(visit(address, "again").await, "w2 heard again");
        }
        // Once it says that it has room, it takes its turn again.
        stage.tell(&first, "ready").await;
        stage.ask(&first, "echo ready", "ready").await;
        let mut client = call(address, "a third time").await;
        let mut other = call(address, "a fourth time").await;
        stage.heard(&first, "held").await;
        stage.tell(&first, "ack").await;
        let heard = [hear(&mut client).await, hear(&mut other).await].concat();
        assert!(
            heard.contains("w1 heard") && heard.contains("w2 heard"),
            "{heard}"
        );
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn what_a_dead_worker_had_not_acked_goes_to_another() {
    play(|| async {
        let mut stage = Stage::new(settings().window(2));
        let (first, address) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&first, "hold").await;
        let mut clients = [call(address, "one").await, call(address, "two").await];
        stage.heard(&first, "held").await;
        stage.heard(&first, "held").await;
        // Two fill the window, so this one waits in the kernel.
        let mut third = call(address, "three").await;
        first.kill(nix::libc::SIGKILL).await;
        stage.exit(&first).await;
        let (_second, same) = stage.fork_listening(&format!("tcp {address}")).await;
        assert_eq!(same, address, "the listener outlived its only worker");
        assert_eq!(hear(&mut clients[0]).await, "w2 heard one");
        assert_eq!(hear(&mut clients[1]).await, "w2 heard two");
        assert_eq!(hear(&mut third).await, "w2 heard three");
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn acks_that_are_read_after_the_death_count() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, address) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&first, "hold").await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(call(address, "hello").await);
            stage.heard(&first, "held").await;
        }
        let (_second, _) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&first, "ack-and-die").await;
        stage.exit(&first).await;
        for client in &mut clients {
            assert_eq!(hear(client).await, "w1 heard hello", "served once");
        }
        let totals = stage.cluster.snapshot().await.unwrap().totals;
        assert_eq!((totals.accepted, totals.acked, totals.requeued), (4, 4, 0));
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn out_of_descriptors_the_master_rests_and_tries_again() {
    play(|| async {
        let mut stage = Stage::new(settings().window(1));
        let (worker, address) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&worker, "hold").await;
        let mut first = call(address, "one").await;
        stage.heard(&worker, "held").await;
        let mut second = call(address, "two").await;
        // From here on nobody in this process can open anything.
        let before = getrlimit(Resource::Nofile);
        let none = Rlimit {
            current: Some(0),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, none).unwrap();
        stage.tell(&worker, "ack").await;
        let paused = stage.until(|event| event.name() == "accept_paused").await;
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(
            matches!(
                paused,
                Event::AcceptPaused {
                    error: "EMFILE",
                    ..
                }
            ),
            "{paused:?}"
        );
        let errors = stage.cluster.accept_errors().await.unwrap();
        let errors: Vec<_> = errors.iter().collect();
        assert!(matches!(errors[..], [("EMFILE", 1..)]), "{errors:?}");
        assert_eq!(hear(&mut first).await, "w1 heard one");
        stage.heard(&worker, "held").await;
        stage.tell(&worker, "ack").await;
        assert_eq!(hear(&mut second).await, "w1 heard two");
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_worker_that_does_not_read_stops_nobody_else() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, address) = stage.fork_listening(ANY_PORT).await;
        let (_second, _) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&first, "deaf").await;
        // Long messages fill the channel; the rest waits in the master, up to its bound.
        let long = "x".repeat(60_000);
        let mut sent = 0;
        while first.send(&long).await.is_ok() {
            sent += 1;
        }
        assert!((4..400).contains(&sent), "{sent} were taken");
        // Handoffs to the deaf one wait behind them: it takes its window and no more.
        let mut stuck = Vec::new();
        for turn in 0..10 {
            let mut client = call(address, "hello").await;
            if turn < 8 && turn % 2 == 0 {
                stuck.push(client);
            } else {
                assert_eq!(hear(&mut client).await, "w2 heard hello");
            }
        }
        // When it dies they are served after all.
        first.kill(nix::libc::SIGKILL).await;
        for client in &mut stuck {
            assert_eq!(hear(client).await, "w2 heard hello");
        }
        stage.exit(&first).await;
        stage.end(Outcome::Done).await;
    });
}
