//! How workers, and the cluster, come to their ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use maitred::{ClusterError, Event, ExitStatus, Outcome, Settings, WorkerState};
use nix::libc;

use crate::stage::{Stage, call, hear, impatient, play, settings, visit};

const ANY_PORT: &str = "tcp 127.0.0.1:0";

fn exit_of(event: &Event) -> (ExitStatus, bool) {
    let Event::Exit {
        status,
        exited_after_disconnect,
        ..
    } = event
    else {
        panic!("{event:?} is no exit");
    };
    (*status, *exited_after_disconnect)
}

#[test]
fn a_disconnect_comes_in_nodes_order() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (worker, _) = stage.fork_listening(ANY_PORT).await;
        assert_eq!(worker.exited_after_disconnect(), None);
        worker.disconnect().await;
        let exit = stage.exit(&worker).await;
        assert_eq!(exit_of(&exit), (ExitStatus::code(0), true));
        let told: Vec<&str> = stage
            .names()
            .into_iter()
            .filter(|name| !["message", "server_opened"].contains(name))
            .collect();
        let order = ["setup", "fork", "online", "listening", "disconnect", "exit"];
        assert_eq!(told[..6], order);
        assert!(worker.is_dead() && !worker.is_connected());
        assert_eq!(worker.state(), WorkerState::Dead);
        assert_eq!(worker.exited_after_disconnect(), Some(true));
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn an_exit_of_its_own_is_not_voluntary() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        stage.tell(&worker, "exit 42").await;
        let exit = stage.exit(&worker).await;
        assert_eq!(exit_of(&exit), (ExitStatus::code(42), false));
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_kill_tells_the_signal() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        worker.kill(libc::SIGTERM).await;
        let exit = stage.exit(&worker).await;
        assert_eq!(exit_of(&exit), (ExitStatus::signal(libc::SIGTERM), false));
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn what_a_worker_has_started_goes_with_it() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        let child = stage.ask(&worker, "start", "started ").await;
        stage.tell(&worker, "exit 0").await;
        stage.exit(&worker).await;
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while lives() {
            assert!(Instant::now() < deadline, "{child} lives on");
            tokio::task::yield_now().await;
        }
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_worker_told_to_leave_before_its_hello_is_handed_nothing() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, address) = stage.fork_listening(ANY_PORT).await;
        let early = stage.cluster.fork_with([("PART", "puppet")]).await.unwrap();
        early.disconnect().await;
        let exit = stage.exit(&early).await;
        assert_eq!(exit_of(&exit), (ExitStatus::code(0), true));
        for _ in 0..3 {
            assert_eq!(visit(address, "hello").await, "w1 heard hello");
        }
        first.disconnect().await;
        stage.exit(&first).await;
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn disconnecting_all_ends_managed_workers_too() {
    play(|| async {
        let mut stage = Stage::new(settings());
        stage.cluster.scale(2).await.unwrap();
        let forked = stage.fork().await;
        stage.cluster.disconnect().await.unwrap();
        assert!(forked.is_dead());
        assert_eq!(stage.cluster.workers().await.unwrap().len(), 0);
        // It may be asked again, and everything may begin anew.
        stage.cluster.disconnect().await.unwrap();
        stage.fork().await;
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_managed_worker_that_dies_is_replaced() {
    play(|| async {
        let mut stage = Stage::new(settings());
        stage.cluster.scale(1).await.unwrap();
        stage.until(|event| event.name() == "online").await;
        let workers = stage.cluster.workers().await.unwrap();
        let first = workers.values().next().unwrap();
        let address = stage.ask(first, ANY_PORT, "bound ").await;
        stage.until(|event| event.name() == "ready").await;
        stage.tell(first, "exit 1").await;
        stage.exit(first).await;
        stage.until(|event| event.name() == "online").await;
        let workers = stage.cluster.workers().await.unwrap();
        let second = workers.values().next().unwrap();
        assert_eq!(
            (first.slot(), first.id().0 + 1),
            (second.slot(), second.id().0)
        );
        let same = stage.ask(second, &format!("tcp {address}"), "bound ").await;
        assert_eq!(same, address);
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_program_that_cannot_be_started_is_told() {
    play(|| async {
        let mut stage = Stage::new(Settings::new().exec("/nonexistent/program"));
        let worker = stage.cluster.fork_with([("PART", "none")]).await.unwrap();
        stage.until(|event| event.name() == "spawn_failed").await;
        worker.wait_until(|status| status.exit.is_some()).await;
        stage.cluster.disconnect().await.unwrap();
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_shutdown_serves_what_waits_and_then_refuses() {
    play(|| async {
        let mut stage = Stage::new(settings().window(1));
        let (worker, address) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&worker, "hold").await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(call(address, "hello").await);
        }
        stage.heard(&worker, "held").await;
        // One is in flight and four are in the backlog.
        let cluster = stage.cluster.clone();
        let serve = async {
            for turn in 0..5 {
                stage.tell(&worker, "ack").await;
                if turn < 4 {
                    stage.heard(&worker, "held").await;
                }
            }
            for client in &mut clients {
                assert_eq!(hear(client).await, "w1 heard hello");
            }
        };
        let (outcome, ()) = tokio::join!(cluster.shutdown(), serve);
        assert_eq!(outcome, Outcome::Done);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    });
}

#[test]
fn a_worker_that_starts_in_a_shutdown_serves_what_waits() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, address) = stage.fork_listening(ANY_PORT).await;
        first.kill(libc::SIGKILL).await;
        stage.exit(&first).await;
        let mut client = call(address, "hello").await;
        let second = stage.fork().await;
        let cluster = stage.cluster.clone();
        let serve = async {
            stage.until(|event| event.name() == "shutting_down").await;
            stage.tell(&second, "tcp 127.0.0.1:9").await;
            let refused = format!("refused {}", libc::ESHUTDOWN);
            stage.heard(&second, &refused).await;
            stage.tell(&second, &format!("tcp {address}")).await;
            assert_eq!(hear(&mut client).await, "w2 heard hello");
        };
        let (outcome, ()) = tokio::join!(cluster.shutdown(), serve);
        assert_eq!(outcome, Outcome::Done);
    });
}

#[test]
fn when_the_last_worker_dies_in_a_shutdown_another_serves_what_waits() {
    play(|| async {
        let mut stage = Stage::new(settings().window(1));
        stage.cluster.scale(1).await.unwrap();
        let first = stage.newcomer().await;
        let address: SocketAddr = stage.ask(&first, ANY_PORT, "bound ").await.parse().unwrap();
        stage.tell(&first, "hold").await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(call(address, "hello").await);
        }
        stage.heard(&first, "held").await;
        let cluster = stage.cluster.clone();
        let serve = async {
            stage.until(|event| event.name() == "shutting_down").await;
            stage.tell(&first, "exit 1").await;
            let second = stage.newcomer().await;
            stage.tell(&second, &format!("tcp {address}")).await;
            for client in &mut clients {
                assert_eq!(hear(client).await, "w2 heard hello");
            }
        };
        let (outcome, ()) = tokio::join!(cluster.shutdown(), serve);
        assert_eq!(outcome, Outcome::Done);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    });
}

#[test]
fn a_worker_that_does_not_leave_and_holds_nothing_is_killed_which_is_no_cut() {
    play(|| async {
        let mut stage = Stage::new(settings().limits(impatient()));
        let (worker, _) = stage.fork_listening(ANY_PORT).await;
        stage.tell(&worker, "deaf").await;
        stage.end(Outcome::Done).await;
        assert!(worker.is_dead());
    });
}

#[test]
fn dropping_every_handle_drains() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (worker, address) = stage.fork_listening(ANY_PORT).await;
        assert_eq!(visit(address, "hello").await, "w1 heard hello");
        let mut events = stage.cluster.events();
        drop((stage, worker));
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            told.push(event.name());
        }
        told.retain(|name| *name != "message");
        let order = ["shutting_down", "server_closed", "disconnect", "exit"];
        assert_eq!(told, order);
    });
}

#[test]
fn what_was_shut_down_can_be_asked_nothing() {
    play(|| async {
        let stage = Stage::new(settings());
        let (first, second) = tokio::join!(stage.cluster.shutdown(), stage.cluster.shutdown());
        assert_eq!([first, second], [Outcome::Done, Outcome::Done]);
        let asked = stage.cluster.workers().await;
        assert!(matches!(asked, Err(ClusterError::Ended)));
    });
}
