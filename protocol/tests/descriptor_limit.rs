//! A worker at its descriptor limit still gets the message, and can say that it cannot take
//! the connection. A file of its own: the limit is the whole process's.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use maitred_protocol::message::Welcome;
use maitred_protocol::native::{Encoded, MasterEnd, MasterInbox, WorkerEnd, WorkerInbox, pair};
use maitred_protocol::version::PROTOCOL_VERSION;
use maitred_protocol::{Generation, HandoffId, MasterToWorker, ServerId, SlotId, WorkerId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;

fn greeted() -> (MasterEnd, MasterInbox, WorkerEnd, WorkerInbox) {
    let (master, worker) = pair().unwrap();
    let (master, mut from_worker) = MasterEnd::new(master).unwrap();
    let (worker, mut from_master) = WorkerEnd::new(worker).unwrap();
    worker.hello().unwrap();
    from_worker.try_receive().unwrap().unwrap();
    let welcome = Welcome {
        version: PROTOCOL_VERSION,
        worker: WorkerId(1),
        slot: SlotId(0),
        generation: Generation(1),
        window: 4,
    };
    master.welcome(welcome).unwrap();
    from_master.try_receive().unwrap().unwrap();
    (master, from_worker, worker, from_master)
}

/// Runs `body` while this process can open `more` descriptors, and no more.
fn with_room_for(more: u64, body: impl FnOnce()) {
    let before = getrlimit(Resource::Nofile);
    // The kernel gives out the lowest free number, and the limit is one above the highest.
    let free = File::open("/dev/null").unwrap().as_raw_fd();
    let limit = u64::try_from(free).unwrap() + more;
    let lowered = Rlimit {
        current: Some(limit),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, lowered).unwrap();
    body();
    setrlimit(Resource::Nofile, before).unwrap();
}

#[tokio::test]
async fn a_worker_at_its_descriptor_limit_gets_the_message_without_descriptor() {
    let (master, _from_worker, _worker, mut inbox) = greeted();
    let connection = File::open("/dev/null").unwrap();
    let hand_off = |numbers: &[u64]| {
        let mut frame = Encoded::default();
        for number in numbers {
            let message = MasterToWorker::NewConnection {
                handoff: HandoffId(*number),
                server: ServerId(1),
                client: None,
            };
            frame.push(&message).unwrap();
        }
        let descriptors = vec![connection.as_fd(); numbers.len()];
        master.send(&frame, &descriptors).unwrap();
    };
    let mut receive = || {
        let frame = inbox.try_receive().unwrap().unwrap();
        let MasterToWorker::NewConnection { handoff, .. } = frame.message else {
            panic!("{:?}", frame.message);
        };
        (handoff, frame.descriptor)
    };

    let mut held = Vec::new();
    with_room_for(1, || {
        hand_off(&[1]);
        // In one frame or in two is all the same: the kernel keeps their order.
        hand_off(&[2, 3]);
        for number in 1..=3 {
            let (handoff, descriptor) = receive();
            assert_eq!(handoff, HandoffId(number));
            // The first still fits, and it is held.
            assert_eq!(descriptor.is_some(), number == 1);
            held.extend(descriptor);
        }
    });
    hand_off(&[4, 5]);
    for number in 4..=5 {
        let (handoff, descriptor) = receive();
        assert_eq!(handoff, HandoffId(number));
        assert!(descriptor.is_some(), "there is room again");
    }
    with_room_for(2, || {
        hand_off(&[6, 7, 8]);
        let arrived = [receive(), receive(), receive()];
        let has_one = arrived
            .each_ref()
            .map(|(_, descriptor)| descriptor.is_some());
        assert_eq!(has_one, [true, true, false]);
    });
    // A full channel can be waited for even so, and takes more once it is read.
    let ping = Encoded::new(&MasterToWorker::Ping { nonce: 0 }).unwrap();
    while master.send(&ping, &[]).is_ok() {}
    let before = getrlimit(Resource::Nofile);
    let none_left = Rlimit {
        current: Some(3),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, none_left).unwrap();
    let waited = timeout(Duration::from_secs(10), master.writable()).await;
    setrlimit(Resource::Nofile, before).unwrap();
    waited.expect("it does not wait for ever").unwrap();
    while inbox.try_receive().unwrap().is_some() {}
    master.send(&ping, &[]).unwrap();
}
