//! Strategies for every message, so that a law can be checked for all of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::message::{
    BoundAddress, ListenAddress, ListenOptions, MasterToWorker, QueryId, RejectReason,
    ServerOutcome, ServerQuery, Statistics, UserMessage, Welcome, WorkerToMaster,
};
use crate::{Generation, HandoffId, ServerId, SlotId, WorkerId};

pub(super) fn master_to_worker() -> impl Strategy<Value = MasterToWorker> {
    let query = any::<u32>().prop_map(QueryId);
    prop_oneof![
        welcome().prop_map(MasterToWorker::Welcome),
        (query, outcome())
            .prop_map(|(query, outcome)| MasterToWorker::ServerReply { query, outcome }),
        (handoff(), server(), option::of(address())).prop_map(|(handoff, server, client)| {
            MasterToWorker::NewConnection {
                handoff,
                server,
                client,
            }
        }),
        duration().prop_map(|grace| MasterToWorker::Drain { grace }),
        Just(MasterToWorker::Disconnect),
        Just(MasterToWorker::ExitedAfterDisconnectAck),
        user_message().prop_map(MasterToWorker::User),
        any::<u64>().prop_map(|nonce| MasterToWorker::Ping { nonce }),
    ]
}

pub(super) fn worker_to_master() -> impl Strategy<Value = WorkerToMaster> {
    prop_oneof![
        (any::<u16>(), any::<u32>())
            .prop_map(|(version, pid)| WorkerToMaster::Hello { version, pid }),
        Just(WorkerToMaster::Online),
        query().prop_map(WorkerToMaster::QueryServer),
        server().prop_map(|server| WorkerToMaster::Listening { server }),
        server().prop_map(|server| WorkerToMaster::Close { server }),
        handoff().prop_map(|handoff| WorkerToMaster::Ack { handoff }),
        (handoff(), reason())
            .prop_map(|(handoff, reason)| WorkerToMaster::Reject { handoff, reason }),
        Just(WorkerToMaster::Ready),
        Just(WorkerToMaster::ExitedAfterDisconnect),
        user_message().prop_map(WorkerToMaster::User),
        any::<u64>().prop_map(|nonce| WorkerToMaster::Pong { nonce }),
        statistics().prop_map(WorkerToMaster::Statistics),
    ]
}

fn welcome() -> impl Strategy<Value = Welcome> {
    any::<(u16, u32, u32, u32, u32)>().prop_map(|(version, worker, slot, generation, window)| {
        Welcome {
            version,
            worker: WorkerId(worker),
            slot: SlotId(slot),
            generation: Generation(generation),
            window,
        }
    })
}

fn statistics() -> impl Strategy<Value = Statistics> {
    let counts = any::<(u32, u64, u64)>();
    let kinds = any::<[u32; 4]>();
    let engine = (option::of(duration()), any::<Option<u64>>());
    (counts, kinds, engine).prop_map(|((open, taken, requests), kinds, engine)| {
        let [idle, busy, streaming, upgraded] = kinds;
        Statistics {
            open,
            taken,
            requests,
            idle,
            busy,
            streaming,
            upgraded,
            loop_delay: engine.0,
            heap_bytes: engine.1,
        }
    })
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000u32)
        .prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
}

fn query() -> impl Strategy<Value = ServerQuery> {
    let head = (any::<u32>(), listen_address(), any::<u32>());
    (head, options(), data()).prop_map(|((query, address, index), options, data)| ServerQuery {
        query: QueryId(query),
        address,
        index,
        options,
        data,
    })
}

fn listen_address() -> impl Strategy<Value = ListenAddress> {
    prop_oneof![
        address().prop_map(ListenAddress::Tcp),
        any::<u16>().prop_map(|port| ListenAddress::TcpAny { port }),
        path().prop_map(ListenAddress::Unix),
        address().prop_map(ListenAddress::Udp),
        any::<i32>().prop_map(|descriptor| ListenAddress::Inherited { descriptor }),
    ]
}

fn options() -> impl Strategy<Value = ListenOptions> {
    any::<(Option<u32>, bool, bool, bool)>().prop_map(
        |(backlog, ipv6_only, readable_all, writable_all)| ListenOptions {
            backlog,
            ipv6_only,
            readable_all,
            writable_all,
        },
    )
}

fn outcome() -> impl Strategy<Value = ServerOutcome> {
    let bound = || {
        prop_oneof![
            address().prop_map(BoundAddress::Ip),
            path().prop_map(BoundAddress::Unix),
        ]
    };
    prop_oneof![
        (server(), bound(), data()).prop_map(|(server, bound, data)| ServerOutcome::HandedOver {
            server,
            bound,
            data,
        }),
        (server(), bound(), data()).prop_map(|(server, bound, data)| ServerOutcome::Shared {
            server,
            bound,
            data,
        }),
        any::<i32>().prop_map(|errno| ServerOutcome::Refused { errno }),
    ]
}

/// Any address, IPv6 with scope and flow label too.
fn address() -> impl Strategy<Value = SocketAddr> {
    any::<SocketAddr>()
}

/// Any path that is text; serde refuses others when they are encoded.
fn path() -> impl Strategy<Value = PathBuf> {
    any::<String>().prop_map(PathBuf::from)
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..512))
}

fn user_message() -> impl Strategy<Value = UserMessage> {
    any::<String>().prop_map(|json| UserMessage { json })
}

fn reason() -> impl Strategy<Value = RejectReason> {
    prop_oneof![
        Just(RejectReason::Full),
        Just(RejectReason::Draining),
        Just(RejectReason::NoDescriptor),
    ]
}

fn server() -> impl Strategy<Value = ServerId> {
    any::<u32>().prop_map(ServerId)
}

fn handoff() -> impl Strategy<Value = HandoffId> {
    any::<u64>().prop_map(HandoffId)
}
