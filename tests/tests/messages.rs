//! Messages between the master's program and its workers, both ways and from one to all.

use maitred::{MESSAGE_MAX, SendError, Settings, Worker};
use maitred_tests::harness::LibraryCluster;
use serde_json::json;

/// A worker that sends back what it is sent, as `{"echo": …}`.
fn fork(cluster: &LibraryCluster) -> Worker {
    cluster.fork_test_worker(&[])
}

#[test]
fn messages_arrive_both_ways_and_in_order() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let worker = fork(cluster);
        // The first ones are sent before the worker can have greeted.
        for number in 0..100 {
            let message = json!({ "number": number, "text": "ä\n\"" });
            cluster.wait(worker.send(&message)).unwrap();
        }
        let last = json!({ "number": 99, "text": "ä\n\"" });
        cluster.message(&worker, |message| message["echo"] == last);
        let echoes = cluster.log().named("message");
        let numbers: Vec<u64> = echoes
            .iter()
            .filter_map(|event| event["message"]["echo"]["number"].as_u64())
            .collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn one_message_reaches_every_worker() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let workers = [(); 4].map(|()| fork(cluster));
        let all = cluster.wait(cluster.cluster().workers()).unwrap();
        assert_eq!(all.len(), 4);
        for worker in all.values() {
            cluster.wait(worker.send(&"to all")).unwrap();
        }
        for worker in &workers {
            cluster.message(worker, |message| message["echo"] == "to all");
        }
    });
}

#[test]
fn the_longest_message_passes_and_a_longer_one_is_an_error() {
    let cluster = LibraryCluster::start();
    let worker = fork(&cluster);
    // Two bytes are its quotes; the echo must fit, too.
    let fits = "x".repeat(MESSAGE_MAX - 2 - "{\"echo\":}".len());
    cluster.wait(worker.send(&fits)).unwrap();
    cluster.message(&worker, |message| message["echo"] == fits);
    let too_long = "x".repeat(MESSAGE_MAX - 1);
    let error = cluster.wait(worker.send(&too_long)).unwrap_err();
    assert!(matches!(error, SendError::TooLong { .. }), "{error}");
    // Neither harmed the channel.
    cluster.wait(worker.send(&"after")).unwrap();
    cluster.message(&worker, |message| message["echo"] == "after");
    cluster.stop();
}

#[test]
fn a_worker_that_is_gone_cannot_be_sent_to() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let worker = fork(cluster);
        cluster.message(&worker, |message| message.get("outcomes").is_some());
        cluster.wait(worker.disconnect());
        let exit = cluster.exit(&worker);
        assert_eq!(
            (&exit["code"], &exit["exited_after_disconnect"]),
            (&json!(0), &json!(true))
        );
        let error = cluster.wait(worker.send(&"anybody?")).unwrap_err();
        assert_eq!(error, SendError::NotConnected(worker.id()));
        let life = ["fork", "online", "message", "disconnect", "exit"];
        assert_eq!(cluster.log().of_worker(worker.id()), life);
    });
}
