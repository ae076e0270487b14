//! Servers: who shares which, what is refused, and when a listener goes.

use std::os::unix::fs::FileTypeExt;

use maitred::{Event, Outcome, PolicyName};
use nix::libc;
use tokio::net::{TcpStream, UdpSocket, UnixStream};

use crate::stage::{Stage, play, settings, visit};

fn refused(errno: i32) -> String {
    format!("refused {errno}")
}

#[test]
fn one_worker_cannot_listen_twice_on_the_same_address() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (worker, address) = stage.fork_listening("tcp 127.0.0.1:0").await;
        let again = format!("tcp {address}");
        stage.ask(&worker, &again, &refused(libc::EADDRINUSE)).await;
        stage
            .ask(&worker, "tcp 127.0.0.1:0", &refused(libc::EADDRINUSE))
            .await;
        // The worker that was refused serves on.
        assert_eq!(visit(address, "hello").await, "w1 heard hello");
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_port_that_another_program_has_is_refused() {
    play(|| async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        let order = format!("tcp {address}");
        stage.ask(&worker, &order, &refused(libc::EADDRINUSE)).await;
        stage.until(|event| event.name() == "listen_failed").await;
        drop(taken);
        stage.ask(&worker, &order, "bound ").await;
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_port_got_by_any_can_be_asked_for_by_its_number() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (_first, address) = stage.fork_listening("any 0").await;
        let order = format!("any {}", address.port());
        let (_second, same) = stage.fork_listening(&order).await;
        assert_eq!(same, address);
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn one_worker_gets_only_so_many_servers() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        let directory = tempfile::tempdir().unwrap();
        let path = |number: usize| directory.path().join(number.to_string());
        for number in 0..64 {
            let order = format!("unix {}", path(number).display());
            stage.ask(&worker, &order, "bound ").await;
        }
        let order = format!("unix {}", path(64).display());
        stage.ask(&worker, &order, &refused(libc::EMFILE)).await;
        stage.end(Outcome::Done).await;
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "every path is removed with its listener");
    });
}

#[test]
fn a_relative_path_is_refused() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        stage
            .ask(&worker, "unix here", &refused(libc::EINVAL))
            .await;
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_crashed_programs_socket_is_replaced_and_a_file_is_not() {
    play(|| async {
        let directory = tempfile::tempdir().unwrap();
        let (socket, file) = (
            directory.path().join("socket"),
            directory.path().join("file"),
        );
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        std::fs::write(&file, "precious").unwrap();
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        let order = format!("unix {}", file.display());
        stage.ask(&worker, &order, &refused(libc::EADDRINUSE)).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        let order = format!("unix {}", socket.display());
        stage.ask(&worker, &order, "bound ").await;
        let kind = std::fs::metadata(&socket).unwrap().file_type();
        assert!(kind.is_socket());
        UnixStream::connect(&socket).await.unwrap();
        stage.end(Outcome::Done).await;
        assert!(!socket.exists());
    });
}

#[test]
fn a_listener_goes_with_the_last_worker_that_closes_it() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, address) = stage.fork_listening("tcp 127.0.0.1:0").await;
        let (second, _) = stage.fork_listening("tcp 127.0.0.1:0").await;
        stage.tell(&first, "close").await;
        stage.ask(&first, "echo done", "done").await;
        assert_eq!(visit(address, "hello").await, "w2 heard hello");
        stage.tell(&second, "close").await;
        stage.until(|event| event.name() == "server_closed").await;
        assert!(TcpStream::connect(address).await.is_err());
        // It may be opened again, by either.
        let again = format!("tcp {address}");
        stage.ask(&first, &again, "bound ").await;
        assert_eq!(visit(address, "hello").await, "w1 heard hello");
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_listener_goes_when_the_last_worker_leaves_and_stays_when_it_dies() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, address) = stage.fork_listening("tcp 127.0.0.1:0").await;
        first.kill(libc::SIGKILL).await;
        stage.exit(&first).await;
        let waiting = tokio::spawn(visit(address, "hello"));
        let (second, _) = stage.fork_listening(&format!("tcp {address}")).await;
        assert_eq!(waiting.await.unwrap(), "w2 heard hello");
        second.disconnect().await;
        stage.exit(&second).await;
        stage.until(|event| event.name() == "server_closed").await;
        assert!(TcpStream::connect(address).await.is_err());
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn under_policy_shared_workers_accept_for_themselves() {
    play(|| async {
        let mut stage = Stage::new(settings().policy(PolicyName::Shared));
        let worker = stage.fork().await;
        let address = stage.ask(&worker, "tcp 127.0.0.1:0", "shares ").await;
        let answer = tokio::spawn(visit(address.parse().unwrap(), "hello"));
        stage.tell(&worker, "accept").await;
        assert_eq!(answer.await.unwrap(), "w1 heard hello");
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn udp_is_always_shared() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let (first, second) = (stage.fork().await, stage.fork().await);
        let address = stage.ask(&first, "udp 127.0.0.1:0", "shares ").await;
        let same = stage
            .ask(&second, &format!("udp {address}"), "shares ")
            .await;
        assert_eq!(same, address);
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(&address).await.unwrap();
        client.send(b"hello").await.unwrap();
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_worker_that_leaves_gets_no_server() {
    play(|| async {
        let mut stage = Stage::new(settings());
        let worker = stage.fork().await;
        stage.ask(&worker, "leave", "may leave").await;
        stage
            .ask(&worker, "tcp 127.0.0.1:0", &refused(libc::ESHUTDOWN))
            .await;
        stage.tell(&worker, "exit 0").await;
        let exit = stage.exit(&worker).await;
        let voluntary =
            matches!(exit, Event::Exit { exited_after_disconnect, .. } if exited_after_disconnect);
        assert!(voluntary, "{exit:?}");
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn clients_of_a_listener_that_its_last_worker_closed_before_its_end_wait_for_the_next() {
    play(|| async {
        let mut stage = Stage::new(settings());
        stage.cluster.scale(1).await.unwrap();
        let first = stage.newcomer().await;
        let address = stage.ask(&first, "tcp 127.0.0.1:0", "bound ").await;
        stage.tell(&first, "close").await;
        stage.ask(&first, "echo done", "done").await;
        let waiting = tokio::spawn(visit(address.parse().unwrap(), "hello"));
        stage.tell(&first, "exit 0").await;
        let second = stage.newcomer().await;
        stage.ask(&second, "tcp 127.0.0.1:0", "bound ").await;
        assert_eq!(waiting.await.unwrap(), "w2 heard hello");
        assert!(!stage.names().contains(&"server_closed"));
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn a_closed_listener_makes_way_for_another_on_its_port() {
    play(|| async {
        let mut stage = Stage::new(settings());
        stage.cluster.scale(1).await.unwrap();
        let worker = stage.newcomer().await;
        let address = stage.ask(&worker, "tcp 127.0.0.1:0", "bound ").await;
        stage.tell(&worker, "close").await;
        let port = address.rsplit(':').next().unwrap();
        let any = format!("any {port}");
        stage.ask(&worker, &any, "bound ").await;
        stage.until(|event| event.name() == "server_closed").await;
        let address = address.parse().unwrap();
        assert_eq!(visit(address, "hello").await, "w1 heard hello");
        stage.end(Outcome::Done).await;
    });
}
