//! What Node programs may ask for when they listen, and what they are told.

use std::net::UdpSocket;
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
