//! What is said in which order, from the captures of a real primary and a real worker.

use std::time::Duration;

use super::*;
use crate::message::{RejectReason, Statistics, UserMessage, Welcome};
use crate::version::PROTOCOL_VERSION;
use crate::{Generation, SlotId, WorkerId};

#[test]
fn the_life_of_an_http_worker() {
    let mut node = Translator::default();
    let hello = WorkerToMaster::Hello {
        version: PROTOCOL_VERSION,
        pid: 0,
    };
    let heard = messages(&mut node, ONLINE);
    assert_eq!(heard, [hello, WorkerToMaster::Online]);
    let welcome = Welcome {
        version: PROTOCOL_VERSION,
        worker: WorkerId(1),
        slot: SlotId(0),
        generation: Generation(1),
        window: 2,
    };
    says_nothing(&mut node, &MasterToWorker::Welcome(welcome));
    let heard = messages(&mut node, QUERY);
    assert!(matches!(&heard[..], [WorkerToMaster::QueryServer(query)] if query.query.0 == 0));
    let line = say(&mut node, &handed_over(0, "127.0.0.1:35967"));
    assert!(!line.descriptor());
    assert_eq!(
        text(&line),
        r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"l3","ack":1,"data":null,"sockname":{"address":"127.0.0.1","family":"IPv4","port":35967},"seq":0}"#
    );
    let heard = messages(&mut node, LISTENING);
    assert_eq!(heard, [WorkerToMaster::Listening { server: SERVER }]);

    let line = say(&mut node, &new_connection(70));
    assert_eq!(
        text(&line),
        r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"l3","seq":1}}"#
    );
    node.sent(line.carries);
    assert_eq!(messages(&mut node, HANDLE_ACK), []);
    let handoff = HandoffId(70);
    let heard = messages(&mut node, &answer(1, true));
    assert_eq!(heard, [WorkerToMaster::Ack { handoff }]);

    let line = say(&mut node, &MasterToWorker::Disconnect);
    let disconnect = r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":2}"#;
    assert_eq!(text(&line), disconnect);
    let close = r#"{"cmd":"NODE_CLUSTER","act":"close","key":"l3","seq":4}"#;
    let heard = messages(&mut node, close);
    assert_eq!(heard, [WorkerToMaster::Close { server: SERVER }]);
    assert_eq!(messages(&mut node, close), [], "it is closed already");
}

#[test]
fn a_worker_that_leaves_is_always_acked() {
    let mut node = online();
    let leaving = r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":3}"#;
    let meaning = hear(&mut node, leaving);
    assert_eq!(meaning.messages, [WorkerToMaster::ExitedAfterDisconnect]);
    let ack = r#"{"cmd":"NODE_CLUSTER","ack":3,"seq":0}"#;
    assert_eq!(text(&meaning.answers[0]), ack);
    says_nothing(&mut node, &MasterToWorker::ExitedAfterDisconnectAck);
}

#[test]
fn handle_acks_name_nothing_and_belong_to_the_oldest() {
    let mut node = listening();
    let first = hand_off(&mut node, 1);
    let second = hand_off(&mut node, 2);
    let third = hand_off(&mut node, 3);
    assert_eq!(node.unacked(), 3);
    assert_eq!(messages(&mut node, HANDLE_ACK), []);
    let refused = |handoff, reason| {
        let handoff = HandoffId(handoff);
        [WorkerToMaster::Reject { handoff, reason }]
    };
    let heard = messages(&mut node, NOT_ARRIVED);
    assert_eq!(heard, refused(2, RejectReason::NoDescriptor));
    assert_eq!(messages(&mut node, HANDLE_ACK), []);
    assert_eq!(node.unacked(), 0);
    // The answers may come later than the next acks, and name what they answer.
    let heard = messages(&mut node, &answer(third, false));
    assert_eq!(heard, refused(3, RejectReason::Full));
    let ack = WorkerToMaster::Ack {
        handoff: HandoffId(1),
    };
    assert_eq!(messages(&mut node, &answer(first, true)), [ack]);
    assert_eq!(messages(&mut node, &answer(second, true)), [], "forgotten");
    assert_eq!(messages(&mut node, &answer(first, true)), [], "said before");
}

#[test]
fn a_worker_is_told_to_leave_once_and_not_when_it_leaves_by_itself() {
    let leaves = r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":5}"#;
    let mut told = online();
    say(&mut told, &MasterToWorker::Disconnect);
    says_nothing(&mut told, &MasterToWorker::Disconnect);
    let mut by_itself = online();
    hear(&mut by_itself, leaves);
    says_nothing(&mut by_itself, &MasterToWorker::Disconnect);
    // Nor when it said so in the middle of its drain.
    let mut draining = online();
    hear(&mut draining, PRELOAD);
    say(&mut draining, &DRAIN);
    says_nothing(&mut draining, &MasterToWorker::Disconnect);
    hear(&mut draining, leaves);
    assert!(answers(&mut draining, DRAINED).is_empty());
}

#[test]
fn a_worker_that_leaves_refuses_because_it_drains() {
    let closed = |node: &mut Translator| {
        hear(node, r#"{"cmd":"NODE_CLUSTER","act":"close","key":"l3"}"#);
    };
    let told = |node: &mut Translator| drop(say(node, &MasterToWorker::Disconnect));
    for leave in [closed, told] {
        let mut node = listening();
        let seq = hand_off(&mut node, 1);
        leave(&mut node);
        hear(&mut node, HANDLE_ACK);
        let (handoff, reason) = (HandoffId(1), RejectReason::Draining);
        let heard = messages(&mut node, &answer(seq, false));
        assert_eq!(heard, [WorkerToMaster::Reject { handoff, reason }]);
    }
}

#[test]
fn any_json_is_a_user_message_unless_its_cmd_is_nodes() {
    let mut node = online();
    for json in [
        r#""str""#,
        "42",
        "null",
        " [1, {\"cmd\":\"NODE_CLUSTER\"}] ",
        r#"{"cmd":"NODE_"}"#,
        r#"{"cmd":"node_cluster"}"#,
        r#"{"cmd":["NODE_CLUSTER"]}"#,
        r#"{"cmd":"\ud800"}"#,
        r#"{"\ud800":"\udfff"}"#,
        r#"{"cmd":"NODE_CLUSTER","cmd":"mine"}"#,
        r#"{"inner":{"cmd":"NODE_HANDLE"}}"#,
    ] {
        assert_eq!(messages(&mut node, json), [user(json)]);
    }
    for json in [
        r#"{"cmd":"NODE_foo"}"#,
        r#"{"cmd":"\u004eODE_foo"}"#,
        r#"{"\u0063md":"NODE_é"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"some newer act","key":[1]}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":-1}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":99,"accepted":true}"#,
        r#"{"cmd":"NODE_CLUSTER"}"#,
        r#"{"cmd":"NODE_MAITRED","act":"some newer act"}"#,
    ] {
        assert_eq!(messages(&mut node, json), []);
    }
}

#[test]
fn a_user_message_goes_out_on_one_line() {
    let mut node = online();
    let message = |json: &str| {
        let json = json.to_owned();
        MasterToWorker::User(UserMessage { json })
    };
    let line = say(&mut node, &message("{\n \"a\": \"b\\n\"\n}"));
    assert_eq!(text(&line), r#"{  "a": "b\n" }"#);
    // It would be taken for the transport's own, and make the worker crash.
    says_nothing(&mut node, &message(HANDLE_ACK));
    for no_json in ["", "{", "1 2", "nul"] {
        assert!(node.encode(&message(no_json)).is_err(), "{no_json}");
    }
}

#[test]
fn a_descriptor_of_the_workers_is_acked_once() {
    let mut node = online();
    let handle = r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1},"key":"4:::1:0"}"#;
    let meaning = hear(&mut node, handle);
    assert_eq!(meaning.messages, [user(r#"{"a":1}"#)]);
    let receipts: Vec<_> = meaning.answers.iter().map(text).collect();
    assert_eq!(receipts, [HANDLE_ACK]);
    // What is Node's own inside, or missing, is no message.
    for handle in [
        r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_HANDLE_ACK"}}"#,
        r#"{"cmd":"NODE_HANDLE","type":"net.Native"}"#,
    ] {
        assert_eq!(answers(&mut node, handle), [HANDLE_ACK]);
    }
    let closing = r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"4:\"x\":0"}"#;
    let closed = r#"{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"4:\"x\":0"}"#;
    assert_eq!(answers(&mut node, closing), [closed]);
    let count = r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#;
    let none = r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":0}"#;
    assert_eq!(answers(&mut node, count), [none]);
}

#[test]
fn a_ping_without_preload_is_answered_by_whatever_proves_life() {
    let mut node = listening();
    let ping = |nonce| MasterToWorker::Ping { nonce };
    let wording = node.encode(&ping(1)).unwrap();
    let Wording::Answered(WorkerToMaster::Pong { nonce: 1 }) = wording else {
        panic!("nothing is asked of it: {wording:?}");
    };
    let seq = hand_off(&mut node, 1);
    says_nothing(&mut node, &ping(2));
    says_nothing(&mut node, &ping(3));
    let heard = messages(&mut node, HANDLE_ACK);
    assert_eq!(heard, [WorkerToMaster::Pong { nonce: 3 }]);
    says_nothing(&mut node, &ping(4));
    let pong = WorkerToMaster::Pong { nonce: 4 };
    let handoff = HandoffId(1);
    let heard = messages(&mut node, &answer(seq, true));
    assert_eq!(heard, [pong, WorkerToMaster::Ack { handoff }]);
}

#[test]
fn a_preload_answers_pings_and_counts() {
    let mut node = online();
    assert_eq!(messages(&mut node, PRELOAD), []);
    let line = say(&mut node, &MasterToWorker::Ping { nonce: 7 });
    let ping = r#"{"cmd":"NODE_MAITRED","act":"ping","nonce":7}"#;
    assert_eq!(text(&line), ping);
    let pong = r#"{"cmd":"NODE_MAITRED","act":"pong","nonce":7}"#;
    let heard = messages(&mut node, pong);
    assert_eq!(heard, [WorkerToMaster::Pong { nonce: 7 }]);
    let counted = r#"{"cmd":"NODE_MAITRED","act":"statistics","open":5,"taken":9,"requests":20,"idle":1,"busy":2,"streaming":0,"upgraded":1,"loopDelayMicros":4000000000000,"heapBytes":12000000,"someNewerFigure":[1]}"#;
    let heard = messages(&mut node, counted);
    let [WorkerToMaster::Statistics(statistics)] = &heard[..] else {
        panic!("{heard:?}");
    };
    let expected = Statistics {
        open: 5,
        taken: 9,
        requests: 20,
        idle: 1,
        busy: 2,
        upgraded: 1,
        // A process that was stopped for weeks is that late, and no breach.
        loop_delay: Some(Duration::from_secs(4_000_000)),
        heap_bytes: Some(12_000_000),
        ..Statistics::default()
    };
    assert_eq!(*statistics, expected);
    let counted = r#"{"cmd":"NODE_MAITRED","act":"statistics","open":5}"#;
    let heard = messages(&mut node, counted);
    let [WorkerToMaster::Statistics(statistics)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!((statistics.loop_delay, statistics.heap_bytes), (None, None));
}

const DRAIN: MasterToWorker = MasterToWorker::Drain {
    grace: Duration::from_secs(5),
};
const DRAINED: &str = r#"{"cmd":"NODE_MAITRED","act":"drained"}"#;

#[test]
fn without_a_preload_a_drain_is_nodes_disconnect() {
    let mut node = online();
    says_nothing(&mut node, &DRAIN);
    let line = say(&mut node, &MasterToWorker::Disconnect);
    assert!(text(&line).contains("disconnect"));
}

#[test]
fn a_preload_drains_before_the_worker_disconnects() {
    let mut node = online();
    hear(&mut node, PRELOAD);
    assert_eq!(messages(&mut node, DRAINED), [], "nobody asked");
    let drain = r#"{"cmd":"NODE_MAITRED","act":"drain","grace":5000}"#;
    assert_eq!(text(&say(&mut node, &DRAIN)), drain);
    says_nothing(&mut node, &MasterToWorker::Disconnect);
    says_nothing(&mut node, &DRAIN);
    let disconnect = r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":1}"#;
    assert_eq!(answers(&mut node, DRAINED), [disconnect]);
    assert_eq!(messages(&mut node, DRAINED), []);
}

#[test]
fn the_word_at_which_programs_end_waits_for_the_drain() {
    let shutdown = MasterToWorker::User(UserMessage {
        json: "\"shutdown\"".into(),
    });
    let mut node = online();
    hear(&mut node, PRELOAD);
    // Outside a drain it is a message like any other.
    assert_eq!(text(&say(&mut node, &shutdown)), "\"shutdown\"");
    say(&mut node, &DRAIN);
    says_nothing(&mut node, &shutdown);
    says_nothing(&mut node, &MasterToWorker::Disconnect);
    let [first, second] = answers(&mut node, DRAINED).try_into().unwrap();
    assert_eq!(first, "\"shutdown\"");
    assert!(second.contains("disconnect"));
    assert_eq!(text(&say(&mut node, &shutdown)), "\"shutdown\"");
}

#[test]
fn a_preload_may_be_done_before_the_disconnect_is_asked_for() {
    let mut node = online();
    hear(&mut node, PRELOAD);
    say(&mut node, &DRAIN);
    assert_eq!(messages(&mut node, DRAINED), []);
    say(&mut node, &MasterToWorker::Disconnect);
}
