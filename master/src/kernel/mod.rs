//! Policy `kernel`: the kernel itself gives each connection to the next worker's listener.
//!
//! All listeners of an address form a group (`SO_REUSEPORT`), and a program is attached to it
//! that is asked who gets a packet: see [`bpf::program`]. A [`Rotation`] is that program with
//! its maps: which listeners there are, and which of them take turns. It knows no workers and
//! decides nothing; `shell/group.rs` has the sockets, and the dispatcher says who joins.

mod assembler;
mod bpf;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bpf::{Asked, Map, MapKind, Maps};
use table::{MEMBERS_MAX, Table};
use thiserror::Error;

/// The number of the master's own listener.
pub(crate) const LOBBY: u32 = table::LOBBY as u32;

/// The highest number of another one.
pub(crate) const NUMBER_MAX: u32 = MEMBERS_MAX as u32;

/// Why the kernel cannot spread connections for us.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KernelError {
    /// This process may not: no program may be loaded without those capabilities.
    #[error(
        "policy `kernel` needs the capabilities CAP_BPF and CAP_NET_ADMIN (root has them), and a \
         sandbox that lets bpf(2) pass"
    )]
    NotPermitted,
    /// The kernel does not take our program.
    #[error("load the program of policy `kernel`: {source}; the verifier says:\n{log}")]
    Refused {
        /// What bpf(2) answered.
        source: io::Error,
        /// What the verifier wrote, which says why.
        log: String,
    },
    /// The kernel is too old for it, or out of something.
    #[error("make the maps of policy `kernel`, for which Linux 5.14 is needed: {0}")]
    Maps(#[source] io::Error),
}

/// Tries whether this process can have policy `kernel`.
///
/// # Errors
///
/// Why not.
pub fn try_kernel_policy() -> Result<(), KernelError> {
    Rotation::new().map(drop)
}

/// A program in the kernel that gives connections to listeners in turn.
#[derive(Debug)]
pub(crate) struct Rotation {
    listeners: Map,
    tables: Map,
    #[cfg_attr(not(test), expect(dead_code, reason = "only the program counts turns"))]
    turn: Map,
    program: OwnedFd,
    table: Table,
}

impl Rotation {
    /// Loads the program, with nobody in the rotation yet: until then it drops everything.
    ///
    /// # Errors
    ///
    /// Why the kernel does not do it.
    pub(crate) fn new() -> Result<Self, KernelError> {
        let listeners = Map::create(MapKind::Listeners, size_of::<i32>(), NUMBER_MAX + 1);
        let listeners = listeners.map_err(of_map)?;
        let turn = Map::create(MapKind::Array, size_of::<u64>(), 1).map_err(of_map)?;
        let tables = Map::create(MapKind::Array, table::BYTES, 1).map_err(of_map)?;
        let program = load(Maps {
            listeners: &listeners,
            turn: &turn,
            tables: &tables,
        })?;
        let table = Table::empty();
        Ok(Self {
            listeners,
            tables,
            turn,
            program,
            table,
        })
    }

    /// Makes the program choose among the listeners at this one's address. To be called before
    /// the first of them listens, or clients come who were not asked for.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub(crate) fn govern(&self, socket: &OwnedFd) -> io::Result<()> {
        bpf::attach(socket.as_fd(), self.program.as_fd())
    }

    /// Gives a listener a number. It gets nothing until that is on the list.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub(crate) fn number(&self, number: u32, listener: &OwnedFd) -> io::Result<()> {
        self.listeners
            .update(number, &listener.as_raw_fd().to_ne_bytes())
    }

    /// Sets who takes turns. Nobody means that everything is dropped.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub(crate) fn list(&mut self, numbers: &[u32]) -> io::Result<()> {
        for value in self.table.become_list(numbers) {
            self.tables.update(0, &value)?;
        }
        Ok(())
    }
}

/// Loads the program for the most that this kernel can do.
fn load(maps: Maps<'_>) -> Result<OwnedFd, KernelError> {
    let program = bpf::program(maps);
    bpf::load(&program, Asked::AlsoForOrphans)
        .or_else(|_| bpf::load(&program, Asked::ForPackets))
        .map_err(|(source, log)| match source.raw_os_error() {
            Some(nix::libc::EPERM) => KernelError::NotPermitted,
            _ => KernelError::Refused { source, log },
        })
}

fn of_map(error: io::Error) -> KernelError {
    match error.raw_os_error() {
        Some(nix::libc::EPERM) => KernelError::NotPermitted,
        _ => KernelError::Maps(error),
    }
}
