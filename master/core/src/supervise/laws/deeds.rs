//! What may be done to a house of workers, and within which limits.

use std::time::Duration;

use proptest::prelude::*;

use crate::id::{ServerId, SlotId};
use crate::supervise::{
    Activity, ExitCodes, ExitStatus, Limits, Probe, ReloadWish, SIGKILL, SIGTERM,
};

/// Servers that there are. Workers can differ in where they listen, and yet often agree.
pub(super) const SERVERS: u32 = 3;

/// The code that may mean "do not start me again".
pub(super) const STOP_CODE: u8 = 3;

/// What a late master grants from then on, at the least.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// What may happen next. A first number chooses among the workers there are, modulo how
/// many there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Scale(u32),
    Fork,
    /// The oldest order to spawn is answered: it runs, or it does not.
    Start(bool),
    ComeOnline(u8),
    Listen(u8, ServerId),
    Close(u8, ServerId),
    SayReady(u8),
    Answer(u8),
    Look(u8, Probe),
    Disconnect(u8),
    Leave(u8),
    CloseChannel(u8),
    Breach(u8),
    Kill(u8, i32),
    Exit(u8, ExitStatus),
    Reload(ReloadWish),
    Restart(Option<SlotId>),
    Stop,
    Reset(Option<SlotId>),
    /// A report that was given before, or contradicts one.
    Repeat(u8, bool),
    /// Any fact of a worker that is gone or yet to come.
    Lie(u8, u8),
    Shutdown,
    CloseServers,
    /// Time passes, up to the next deadline or regardless of it.
    WaitForDeadline,
    Wait(u64),
}

/// The width of a range is the weight of a deed. This is no `prop_oneof`, since that readies
/// every alternative for each deed, which took nine tenths of the time of all laws.
fn any_deed() -> impl Strategy<Value = Deed> {
    (0_u8..92, any::<u8>(), any::<u8>()).prop_map(|(kind, number, other)| match kind {
        0..8 => Deed::WaitForDeadline,
        8..20 => Deed::Start(other % 5 > 0),
        20..24 => Deed::ComeOnline(number),
        24..36 => Deed::Listen(number, server(other)),
        36..38 => Deed::Close(number, server(other)),
        38..42 => Deed::Answer(number),
        42..45 => Deed::Look(number, look(other)),
        45..53 => Deed::Exit(number, status(other)),
        53..57 => Deed::Scale(u32::from(number % 6)),
        57..59 => Deed::Fork,
        59..61 => Deed::Disconnect(number),
        61..63 => Deed::Leave(number),
        63..65 => Deed::CloseChannel(number),
        65 => Deed::Breach(number),
        66..68 => Deed::Kill(number, signal(other)),
        68..70 => Deed::Repeat(number, other % 2 == 0),
        70..72 => Deed::Lie(number, other),
        72 => Deed::Shutdown,
        73..75 => Deed::CloseServers,
        75..80 => Deed::Reload(wish(other)),
        80 => Deed::Restart(slot(other)),
        81 => Deed::Stop,
        82 => Deed::Reset(slot(other)),
        83..87 => Deed::SayReady(number),
        _ => Deed::Wait(u64::from(other) * 20),
    })
}

pub(super) fn server(number: u8) -> ServerId {
    ServerId(u32::from(number) % SERVERS)
}

pub(super) fn wish(number: u8) -> ReloadWish {
    ReloadWish {
        only: slot(number / 4).filter(|_| number < 80),
        parallel: u32::from(number % 4),
        allow_listen_change: number > 200,
    }
}

pub(super) fn look(number: u8) -> Probe {
    let activities = [Activity::Stopped, Activity::Running, Activity::Waiting];
    Probe {
        unanswered_for: millis(u64::from(number / 4) * 20),
        activity: activities[usize::from(number % 3)],
        cpu: u64::from(number / 128),
    }
}

pub(super) fn status(number: u8) -> ExitStatus {
    ExitStatus::code(if number.is_multiple_of(8) {
        STOP_CODE.into()
    } else {
        1
    })
}

pub(super) fn signal(number: u8) -> i32 {
    const SIGNALS: [i32; 5] = [0, 1, SIGKILL, SIGTERM, -7];
    SIGNALS[usize::from(number) % SIGNALS.len()]
}

/// One slot of those that there often are, or all.
pub(super) fn slot(number: u8) -> Option<SlotId> {
    Some(SlotId(u32::from(number % 8))).filter(|slot| slot.0 < 5)
}

pub(super) fn any_deeds() -> impl Strategy<Value = Vec<Deed>> {
    prop::collection::vec(any_deed(), 0..80)
}

/// Small numbers, zero among them, so that every limit is met often enough to be tested.
pub(super) fn any_limits() -> impl Strategy<Value = Limits> {
    let timeout = || prop_oneof![Just(0_u64), Just(1000), Just(3000)].prop_map(millis);
    let backoff = || prop_oneof![Just(0_u64), Just(100), Just(700)].prop_map(millis);
    let patience = || prop_oneof![Just(0_u64), Just(800)].prop_map(millis);
    let timeouts = (timeout(), timeout(), timeout());
    let patiences = (patience(), patience());
    let backoffs = (backoff(), backoff(), 0_u32..4);
    let wishes = (any::<bool>(), any::<bool>(), any::<bool>());
    (timeouts, patiences, backoffs, wishes).prop_map(
        |(timeouts, patiences, backoffs, (stays, stops, waits))| Limits {
            drain_timeout: timeouts.0,
            kill_timeout: timeouts.1,
            kill_signal: SIGTERM,
            backoff_initial: backoffs.0,
            backoff_max: backoffs.1,
            max_boot_failures: backoffs.2,
            wait_ready: waits,
            listen_timeout: timeouts.2,
            ack_timeout: patiences.0,
            heartbeat_timeout: patiences.1,
            stop_codes: if stops {
                ExitCodes::NONE.with(STOP_CODE)
            } else {
                ExitCodes::NONE
            },
            workers_max: 4,
            stay_when_errored: stays,
        },
    )
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
