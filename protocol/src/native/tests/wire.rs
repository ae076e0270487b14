//! Guards the wire format: its bytes change only together with the version.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decode;
use super::{bytes_of, new_connection, welcome};
use crate::message::{
    BoundAddress, ListenAddress, ListenOptions, MasterToWorker, QueryId, RejectReason,
    ServerOutcome, ServerQuery, Statistics, UserMessage, Welcome, WorkerToMaster,
};
use crate::{ChannelError, HandoffId, ServerId};

/// The hash of the samples below, as version 3 encodes them.
const RECORDED: u64 = 0xebf5_ebb8_17aa_fa20;

fn master_samples() -> Vec<MasterToWorker> {
    let reply = |outcome| MasterToWorker::ServerReply {
        query: QueryId(300),
        outcome,
    };
    let handed_over = ServerOutcome::HandedOver {
        server: ServerId(2),
        bound: BoundAddress::Ip("127.0.0.1:5000".parse().unwrap()),
        data: None,
    };
    let shared = ServerOutcome::Shared {
        server: ServerId(3),
        bound: BoundAddress::Unix("/run/app.sock".into()),
        data: Some(vec![0, 255]),
    };
    vec![
        MasterToWorker::Welcome(welcome()),
        reply(handed_over),
        reply(shared),
        reply(ServerOutcome::Refused { errno: 98 }),
        new_connection(70_000),
        MasterToWorker::NewConnection {
            handoff: HandoffId(5_000_000_000),
            server: ServerId(1),
            client: Some("[fe80::1%3]:40000".parse().unwrap()),
        },
        MasterToWorker::Drain {
            grace: Duration::from_millis(5500),
        },
        MasterToWorker::Disconnect,
        MasterToWorker::ExitedAfterDisconnectAck,
        MasterToWorker::User(UserMessage {
            json: "{\"a\":1}".into(),
        }),
        MasterToWorker::Ping { nonce: u64::MAX },
    ]
}

fn worker_samples() -> Vec<WorkerToMaster> {
    let query = |address, backlog, data| {
        WorkerToMaster::QueryServer(ServerQuery {
            query: QueryId(1),
            address,
            index: 0,
            options: ListenOptions {
                backlog,
                ipv6_only: true,
                readable_all: false,
                writable_all: true,
            },
            data,
        })
    };
    let reject = |reason| WorkerToMaster::Reject {
        handoff: HandoffId(9),
        reason,
    };
    let tcp = ListenAddress::Tcp("0.0.0.0:80".parse().unwrap());
    let udp = ListenAddress::Udp("[::1]:53".parse().unwrap());
    vec![
        WorkerToMaster::Hello {
            version: 1,
            pid: 4242,
        },
        WorkerToMaster::Online,
        query(tcp, None, None),
        query(ListenAddress::TcpAny { port: 8080 }, Some(511), None),
        query(ListenAddress::Unix("/run/a".into()), None, Some(vec![7])),
        query(udp, None, None),
        query(ListenAddress::Inherited { descriptor: 4 }, None, None),
        WorkerToMaster::Listening {
            server: ServerId(1),
        },
        WorkerToMaster::Close {
            server: ServerId(1),
        },
        WorkerToMaster::Ack {
            handoff: HandoffId(9),
        },
        reject(RejectReason::Full),
        reject(RejectReason::Draining),
        reject(RejectReason::NoDescriptor),
        WorkerToMaster::Ready,
        WorkerToMaster::ExitedAfterDisconnect,
        WorkerToMaster::User(UserMessage {
            json: "null".into(),
        }),
        WorkerToMaster::Pong { nonce: 250 },
        WorkerToMaster::Statistics(Statistics {
            open: 1,
            taken: 251,
            requests: 65_536,
            idle: 2,
            busy: 3,
            streaming: 300,
            upgraded: 4,
            loop_delay: Some(Duration::from_micros(12_345)),
            heap_bytes: Some(20_000_000),
        }),
        WorkerToMaster::Statistics(Statistics::default()),
    ]
}

/// FNV-1a, 64 bits: short, and the same on every machine and in every release of Rust.
fn hash(frames: &[Vec<u8>]) -> u64 {
    frames
        .iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[test]
fn wire_format_is_the_recorded_one() {
    let master = master_samples();
    let worker = worker_samples();
    let frames: Vec<Vec<u8>> = master
        .iter()
        .map(bytes_of)
        .chain(worker.iter().map(bytes_of))
        .collect();
    let found = hash(&frames);
    assert!(
        found == RECORDED,
        "the bytes of some message have changed, so builds of before and after cannot talk to \
         each other. If that is meant: add a line to protocol/src/version.rs, raise \
         PROTOCOL_VERSION there, and record the new hash here: RECORDED = {found:#x}"
    );
}

/// The first byte of a frame is the message's place in its enum.
fn every_variant_is_sampled<M: Serialize + DeserializeOwned>(samples: &[M]) {
    let mut next = 0;
    for sample in samples {
        let place = bytes_of(sample)[0];
        assert!(place <= next, "no sample of variant {next}: add one");
        next = next.max(place + 1);
    }
    let reason = match decode::<M>(&[next, 0, 0, 0, 0]) {
        Err(ChannelError::Malformed { reason, .. }) => reason,
        Err(other) => other.to_string(),
        Ok(_) => "it is a message".into(),
    };
    assert!(
        reason.contains("variant"),
        "variant {next} has no sample in this file: add one ({reason})"
    );
}

#[test]
fn every_message_is_sampled() {
    every_variant_is_sampled(&master_samples());
    every_variant_is_sampled(&worker_samples());
}

/// Two versions can find out that they differ only while all of them read this alike.
#[test]
fn hello_and_welcome_begin_alike_in_every_version() {
    let hello = WorkerToMaster::Hello {
        version: 1,
        pid: 200,
    };
    assert_eq!(bytes_of(&hello), [0, 1, 200]);
    let welcome = bytes_of(&MasterToWorker::Welcome(Welcome {
        version: 1,
        ..welcome()
    }));
    assert_eq!(welcome[..2], [0, 1]);
}
