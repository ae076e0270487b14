//! A worker that speaks the protocol itself, and breaks it in the way it is told to.
//!
//! `hostile_worker MODE [ADDRESS]` greets and listens like any other. What it does then
//! depends on its mode; most do it when they are handed their first connection, and before
//! the ack, so that a test sees what becomes of that connection.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what it is told a hostile worker minds little"
)]

use std::env;
use std::error::Error;
use std::future::pending;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::exit;

use maitred_protocol::message::{
    ListenAddress, ListenOptions, QueryId, RejectReason, ServerOutcome, ServerQuery, UserMessage,
};
use maitred_protocol::native::{Frame, WorkerEnd, WorkerInbox};
use maitred_protocol::{HandoffId, MasterToWorker, WorkerId, WorkerToMaster, environment, fd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut words = env::args().skip(1);
    let mode = words.next().ok_or("usage: hostile_worker MODE [ADDRESS]")?;
    let address = words.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work(&mode, address.parse()?))
}

async fn work(mode: &str, address: SocketAddr) -> Result<()> {
    let number = environment::channel_number().ok_or("this process is no worker")?;
    let (end, mut inbox) = WorkerEnd::new(fd::take_inherited(number)?)?;
    match mode {
        // Before it has greeted.
        "rude" => send_raw(&end, b"what is a hello?")?,
        "mute" => return pending().await,
        _ => {}
    }
    end.hello()?;
    let worker = welcome(&mut inbox).await?;
    listen(&end, &mut inbox, address).await?;
    if mode == "ack-early" {
        // Of whatever will be handed out first, before anything was.
        end.ack(HandoffId(1))?;
    }
    let mut misbehaves = true;
    loop {
        let frame = inbox.receive().await?;
        match frame.message {
            MasterToWorker::NewConnection { handoff, .. } => {
                let guest = Guest {
                    worker,
                    handoff,
                    socket: frame.descriptor,
                };
                if misbehaves {
                    misbehaves = misbehave(mode, &end, &guest).await?;
                }
                if !misbehaves {
                    guest.serve(&end)?;
                }
            }
            MasterToWorker::Disconnect if mode != "stubborn" => return Ok(()),
            _ => {}
        }
    }
}

async fn welcome(inbox: &mut WorkerInbox) -> Result<WorkerId> {
    match inbox.receive().await?.message {
        MasterToWorker::Welcome(welcome) => Ok(welcome.worker),
        other => Err(format!("no welcome but {other:?}").into()),
    }
}

async fn listen(end: &WorkerEnd, inbox: &mut WorkerInbox, address: SocketAddr) -> Result<()> {
    end.send(&WorkerToMaster::Online)?;
    end.send(&WorkerToMaster::QueryServer(ServerQuery {
        query: QueryId(1),
        address: ListenAddress::Tcp(address),
        index: 0,
        options: ListenOptions::default(),
        data: None,
    }))?;
    let Frame { message, .. } = inbox.receive().await?;
    let MasterToWorker::ServerReply {
        outcome: ServerOutcome::HandedOver { server, .. },
        ..
    } = message
    else {
        return Err(format!("no server but {message:?}").into());
    };
    end.send(&WorkerToMaster::Listening { server })?;
    Ok(())
}

/// A connection that was handed to this worker and not answered yet.
struct Guest {
    worker: WorkerId,
    handoff: HandoffId,
    socket: Option<OwnedFd>,
}

impl Guest {
    /// Acks it, and answers whatever was asked.
    fn serve(self, end: &WorkerEnd) -> Result<()> {
        end.ack(self.handoff)?;
        let mut socket = TcpStream::from(self.socket.ok_or("a connection without a socket")?);
        let worker = self.worker.0;
        let head = format!("HTTP/1.1 200 OK\r\nx-worker-id: {worker}\r\n");
        socket.write_all(head.as_bytes())?;
        socket.write_all(b"content-length: 0\r\nconnection: close\r\n\r\n")?;
        Ok(())
    }
}

/// Does what the mode asks for; returns whether it shall do so with the next one, too.
async fn misbehave(mode: &str, end: &WorkerEnd, guest: &Guest) -> Result<bool> {
    match mode {
        "honest" | "stubborn" => return Ok(false),
        "garbage" => send_raw(end, &[0xff; 100])?,
        "descriptors" => return send_descriptor(end, guest),
        "ack-unknown" => end.ack(HandoffId(u64::MAX))?,
        "ack-twice" => {
            end.ack(guest.handoff)?;
            end.ack(guest.handoff)?;
        }
        // The last one before, which is somebody else's.
        "ack-others" => end.ack(HandoffId(guest.handoff.0 - 1))?,
        "never-ack" | "ack-early" => {}
        "die-unacked" => exit(7),
        "die-acked" => {
            end.ack(guest.handoff)?;
            exit(7);
        }
        "reject" => {
            end.reject(guest.handoff, RejectReason::Full)?;
            return Ok(true);
        }
        "reject-and-recover" => {
            end.reject(guest.handoff, RejectReason::Full)?;
            end.send(&WorkerToMaster::Ready)?;
            return Ok(true);
        }
        other => return Err(format!("no mode `{other}`").into()),
    }
    // Nothing more of its own accord: the master must end it, or leave it alone.
    pending().await
}

fn send_raw(end: &WorkerEnd, bytes: &[u8]) -> Result<()> {
    send(end, bytes, SendFlags::empty())?;
    Ok(())
}

/// Sends the master a descriptor that it has not asked for. Where the kernel refuses for it,
/// tells so in a message and serves on.
fn send_descriptor(end: &WorkerEnd, guest: &Guest) -> Result<bool> {
    let socket = guest
        .socket
        .as_ref()
        .ok_or("a connection without a socket")?;
    // One more `Online`, by its number on the wire.
    match send_with(end.as_fd(), &[1], socket.as_fd()) {
        Ok(()) => Ok(true),
        Err(refusal) => {
            let json = format!("{{\"refused\":{}}}", refusal.raw_os_error());
            end.send(&WorkerToMaster::User(UserMessage { json }))?;
            Ok(false)
        }
    }
}

fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> std::result::Result<(), rustix::io::Errno> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::empty(),
    )
    .map(drop)
}
