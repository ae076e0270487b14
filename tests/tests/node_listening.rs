//! What Node programs may ask for when they listen, and what they are told.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use maitred_tests::harness::Launch;
use maitred_tests::harness::client::get;
use serde_json::Value;

#[test]
fn odd_ways_of_listening_work_or_are_errors_and_end_no_worker() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("socket").display().to_string();
    // Free a moment ago, and nobody is told of it.
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let cluster = Launch::node("odd.js", 1)
        .with(["--env", &format!("UDP_PORT={port}")])
        .with(["--env", &format!("SOCKET_PATH={path}")])
        .start();
    let answer = get(cluster.address(), "/").unwrap();
    let seen: Value = serde_json::from_str(answer.text()).unwrap();
    for (name, address) in [("nothing", "0.0.0.0"), ("addressOnly", "127.0.0.1")] {
        assert_eq!(seen[name]["address"], address, "{seen:#}");
        assert!(seen[name]["port"].as_u64() > Some(0), "{seen:#}");
    }
    assert_eq!(seen["text"]["port"], port, "{seen:#}");
    assert_eq!(seen["noNumber"], "EINVAL", "{seen:#}");
    assert_eq!(seen["impossible"], "EACCES", "{seen:#}");
    assert_eq!(seen["readable"], path, "{seen:#}");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444);
    assert!(cluster.log().named("exit").is_empty());
    cluster.stop();
}

#[test]
fn a_listening_socket_that_the_master_was_started_with_is_served_by_its_number() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The master is to have it; a master of another test may have it, too, and lets it be.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
    let number = format!("LISTEN_FD={}", socket.as_raw_fd());
    let cluster = Launch::node("odd.js", 2).with(["--env", &number]).start();
    drop(socket);
    cluster.log().wait_count("listening", 2);
    assert_eq!(cluster.address(), address);
    for _ in 0..2 {
        assert_eq!(get(address, "/").unwrap().status, 200);
    }
    cluster.stop();
}
