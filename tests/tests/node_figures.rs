//! What Node workers count of themselves is seen by whoever lists them.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::net::SocketAddr;

use maitred_tests::harness::client::get;
use maitred_tests::harness::{Launch, TestCluster, wait_until};
use serde_json::Value;

/// Lists the one worker there is.
fn row(cluster: &TestCluster) -> Value {
    let listed = cluster.command(&["ls", "--json"]);
    let answer: Value = serde_json::from_str(&listed.log.lines()[0]).unwrap();
    answer["workers"][0].clone()
}

fn last_headings(cluster: &TestCluster) -> Vec<String> {
    let listed = cluster.command(&["ls"]).log.lines()[0].clone();
    let words: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
    words[words.len() - 2..].to_vec()
}

fn ask(address: SocketAddr, path: &str) {
    assert_eq!(get(address, path).unwrap().status, 200);
}

#[test]
fn a_node_workers_requests_heap_and_delay_are_listed() {
    let cluster = Launch::node("plain.js", 1).ready();
    let address = cluster.address();
    for _ in 0..7 {
        ask(address, "/");
    }
    wait_until("its requests, and its heap", || {
        let row = row(&cluster);
        assert!(row["requests"].as_u64() <= Some(7), "{row}");
        row["requests"] == 7 && row["heap_bytes"].as_u64() > Some(1 << 20)
    });
    assert_eq!(last_headings(&cluster), ["delay", "heap"]);
    // Half of the time for which it is made late, since the beat it misses may be due then.
    wait_until("its delay", || {
        ask(address, "/compute?ms=400");
        row(&cluster)["loop_delay_micros"].as_u64() >= Some(200_000)
    });
    cluster.stop();
}

#[test]
fn a_node_worker_without_the_preload_tells_none_of_it() {
    let cluster = Launch::node("plain.js", 1).with(["--no-preload"]).ready();
    ask(cluster.address(), "/");
    let row = row(&cluster);
    for figure in ["loop_delay_micros", "heap_bytes"] {
        assert_eq!(row.get(figure), Some(&Value::Null), "{row}");
    }
    assert_eq!(last_headings(&cluster), ["cpu", "memory"]);
    cluster.stop();
}
