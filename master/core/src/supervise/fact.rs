//! What the supervisor is told.

use serde::{Deserialize, Serialize};

use super::exit::ExitStatus;
use super::hang::Probe;
use super::reload::ReloadWish;
use crate::id::{ServerId, SlotId, WorkerId};

/// A fact that the shell observed, or a wish that somebody voiced. Facts are never refused.
///
/// A fact may come late or twice, and much of it is written by worker processes that may be
/// broken. So whatever names a worker that is not alive is ignored, never a panic; and after
/// [`Order::Finish`](super::Order::Finish) everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// So many managed workers should be alive from now on. The first one is the start.
    ///
    /// Asking again for the same number changes nothing, except that errored and stopped slots
    /// get a fresh start: to ask again is how an operator says that the program is mended.
    /// While everything is being stopped it does nothing: `Supervisor::may_scale` tells.
    ScaleAsked(u32),
    /// One unmanaged worker is wanted, as by Node's `cluster.fork`: it is never respawned.
    ForkAsked,
    /// The process of an ordered worker runs.
    ///
    /// What the worker itself says may overtake this fact, for it travels another way.
    Spawned {
        /// The worker that [`Order::Spawn`](super::Order::Spawn) named.
        worker: WorkerId,
        /// Its process, which also leads a process group of that number.
        pid: u32,
    },
    /// The process of an ordered worker could not be started. Nothing more comes of it.
    SpawnFailed {
        /// The worker that [`Order::Spawn`](super::Order::Spawn) named.
        worker: WorkerId,
    },
    /// A worker reads its channel.
    Online(WorkerId),
    /// A worker listens on a server. With the first it is *ready*, unless its word is awaited.
    Listening {
        /// The worker that now listens.
        worker: WorkerId,
        /// Where it listens.
        server: ServerId,
    },
    /// A worker has closed one of its servers.
    Closed {
        /// The worker that closed it.
        worker: WorkerId,
        /// Where it does not listen any more.
        server: ServerId,
    },
    /// A worker's program says that it is ready: pm2's `process.send('ready')`. Changes
    /// nothing unless [`Limits::wait_ready`](super::Limits::wait_ready) has it awaited.
    SaidReady(WorkerId),
    /// A worker has answered a ping.
    Answered(WorkerId),
    /// The shell has looked at a worker that owes acks.
    Probed {
        /// Who was looked at.
        worker: WorkerId,
        /// What was seen.
        probe: Probe,
    },
    /// Somebody asks a worker to drain and leave: Node's `worker.disconnect()` in the master.
    ///
    /// Its slot is refilled once it is dead: who wants fewer workers asks for a scale.
    DisconnectAsked(WorkerId),
    /// A worker said that it leaves by its own will: Node's `exitedAfterDisconnect`.
    ///
    /// The shell takes it out of the rings by itself; no [`Order::Drain`](super::Order::Drain)
    /// follows, for a worker that is told to disconnect twice fails at the second.
    LeavingVoluntarily(WorkerId),
    /// A worker closed its end of the channel, by intent or by dying.
    ChannelClosed(WorkerId),
    /// A worker that drains has served all that it held. Changes nothing unless it drains.
    ServedOut(WorkerId),
    /// A worker broke the protocol, so that nothing it says can be trusted any more.
    Breached(WorkerId),
    /// Somebody sends a worker a signal: Node's `worker.kill(signal)` in the master.
    KillAsked {
        /// Who gets it.
        worker: WorkerId,
        /// Which signal; 0 only asks whether the process exists.
        signal: i32,
    },
    /// A worker's process is reaped and its channel read to the end.
    Exited {
        /// The worker that is gone.
        worker: WorkerId,
        /// How it ended.
        status: ExitStatus,
    },
    /// Every worker, or the one of one slot, should be replaced by a new one. Does nothing while
    /// a reload runs, or if everything ends: `Supervisor::may_reload` tells.
    ReloadAsked(ReloadWish),
    /// The worker of one slot, or every worker, should drain and be started anew. This is
    /// also how an operator says that a program is mended which was given up or stopped. It
    /// ends a reload that has not replaced everybody. While everything is being stopped it is done after that. Of each slot
    /// that is meant an announcement tells how it went.
    RestartAsked(Option<SlotId>),
    /// Everything should drain, and stay stopped until somebody asks for a restart. A run
    /// that does not stay ends with that.
    StopAsked,
    /// The counts of starts should begin anew, in one slot or everywhere.
    ResetAsked(Option<SlotId>),
    /// Everything should drain and finish. A second one changes nothing.
    ShutdownAsked,
    /// Answers [`Order::CloseServers`](super::Order::CloseServers): the backlogs are served
    /// and the listeners closed.
    ServersClosed,
    /// The instant that `Supervisor::deadline` named has come.
    Tick,
}
