//! The same fault on Node's own cluster and on this one: a worker is handed a connection while
//! it stands still, and then it is killed. There the client hangs, here it is answered.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use maitred_tests::harness::client::{Client, get};
use maitred_tests::harness::{TestCluster, processes};
use rustix::process::Signal;
use serde_json::Value;

/// How long a client waits before it counts as hanging, beside an idle worker.
const HANGING: Duration = Duration::from_secs(4);

/// Node's cluster, until it is dropped.
struct NodeCluster {
    primary: Child,
    address: SocketAddr,
    workers: Vec<u32>,
}

impl NodeCluster {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is no worker; it is ended here"
    )]
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/cluster.js");
        let mut command = Command::new("node");
        let command = command.arg(script).stdin(Stdio::null());
        let mut primary = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let output = primary.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let port = ready["port"].as_u64().unwrap().try_into().unwrap();
        let number = |pid: &Value| pid.as_u64().unwrap().try_into().unwrap();
        Self {
            primary,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            workers: ready["pids"]
                .as_array()
                .unwrap()
                .iter()
                .map(number)
                .collect(),
        }
    }
}

impl Drop for NodeCluster {
    fn drop(&mut self) {
        // Its workers end when their channel does.
        self.primary.kill().unwrap_or_default();
        self.primary.wait().map(drop).unwrap_or_default();
    }
}

fn asked(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANGING)).unwrap();
    let mut client = Client::over(stream);
    client.ask("/", "close").unwrap();
    client
}

#[test]
fn a_worker_killed_while_it_stands_still_leaves_a_client_of_nodes_cluster_hanging() {
    let cluster = NodeCluster::start();
    // Whoever has just served stands last in the ring, so the other one is next.
    let served: u32 = get(cluster.address, "/").unwrap().text().parse().unwrap();
    let stuck_pid = *cluster.workers.iter().find(|pid| **pid != served).unwrap();
    processes::freeze(stuck_pid);
    let mut stuck = asked(cluster.address);
    // Whoever comes next is served by the other, which then is idle.
    assert_eq!(get(cluster.address, "/").unwrap().status, 200);
    processes::signal(stuck_pid, Signal::KILL);
    let hung = stuck.answer().expect_err("nobody answers it");
    // The time is over, and the connection is open still.
    assert_eq!(hung.kind(), ErrorKind::WouldBlock, "{hung}");
    assert_eq!(get(cluster.address, "/").unwrap().status, 200);
}

#[test]
fn the_same_client_of_this_cluster_is_answered_by_another_worker() {
    let cluster = TestCluster::demo(2);
    let workers = cluster.workers();
    let served = get(cluster.address(), "/").unwrap().worker();
    let (_, pid) = workers.iter().find(|(id, _)| **id != served).unwrap();
    processes::freeze(*pid);
    let mut stuck = asked(cluster.address());
    assert_eq!(get(cluster.address(), "/").unwrap().worker(), served);
    processes::signal(*pid, Signal::KILL);
    assert_eq!(stuck.answer().unwrap().worker(), served);
    cluster.stop();
}
