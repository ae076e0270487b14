//! The program that runs in the kernel, and the system calls that bring it there.
//!
//! The second and last file in which `unsafe` may stand: bpf(2) takes addresses. The program
//! is put together here, so that building maitred takes no C compiler, and what the kernel
//! runs can be read in one place: [`program`]. `docs/kernel-policy.md` explains it to people
//! who want to know what it promises.

#![expect(
    unsafe_code,
    reason = "bpf(2) reads its arguments through addresses, and answers with a bare descriptor"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;

use super::assembler::Register::{R0, R1, R2, R3, R4, R6, R7, R10};
use super::assembler::{Assembler, Instruction, Label};
use super::table::{HALF_BYTES, LOBBY, MEMBERS_MAX};

// The commands of bpf(2), from `linux/bpf.h`.
const MAP_CREATE: libc::c_long = 0;
#[cfg(test)]
const MAP_LOOKUP: libc::c_long = 1;
const MAP_UPDATE: libc::c_long = 2;
const PROGRAM_LOAD: libc::c_long = 5;

/// The kind of program that chooses a listener (`BPF_PROG_TYPE_SK_REUSEPORT`).
const CHOOSES_LISTENER: u32 = 21;

/// bpf_sk_select_reuseport.
const SELECT: i32 = 82;

/// The program's answers: to the listener that was chosen, or to none.
const SK_PASS: i32 = 1;
const SK_DROP: i32 = 0;

/// The helper that the program calls works under any licence.
const LICENSE: &CStr = c"MIT OR Apache-2.0";

/// Bytes of the verifier's log: it writes a few lines for each of some fifty instructions.
const LOG_BYTES: usize = 64 * 1024;

/// What a map is (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug)]
pub(super) enum MapKind {
    /// Values by number.
    Array = 2,
    /// Listeners by number. One that is closed is taken out by the kernel.
    Listeners = 20,
}

/// When the program is asked (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// For each packet that looks for a listener.
    ForPackets = 39,
    /// Also for what waits at a listener that is closed, which then moves to another (Linux
    /// 5.14). Before, it is reset.
    AlsoForOrphans = 40,
}

/// The maps that the program uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maps<'a> {
    pub(super) listeners: &'a Map,
    pub(super) turn: &'a Map,
    pub(super) tables: &'a Map,
}

/// Writes the program down.
///
/// The kernel runs it for each packet for which it looks for a listener, with what is known of
/// that packet in r1 (`struct sk_reuseport_md`). It chooses one and answers `SK_PASS`, or
/// `SK_DROP`. To pass without having chosen would make the kernel choose, by a hash.
pub(super) fn program(maps: Maps<'_>) -> Vec<Instruction> {
    /// Where r1 says where the packet begins and ends, which is at its TCP header.
    const BEGIN: i16 = 0;
    const END: i16 = 8;
    /// The byte of the TCP header with the flags, and one of these.
    const FLAGS: i16 = 13;
    const SYN: i32 = 2;
    /// The lowest bit of the word that says which half of the tables counts.
    const HALVES: i32 = 1;
    /// Where a half has its count and its first member, behind that word and a gap.
    const COUNT: i16 = 8;
    const MEMBERS: i16 = 12;

    let mut asm = Assembler::default();
    asm.copy(R6, R1);

    // How many turns does this take? A new connection, one. A packet of a connection that is
    // gone, or the last of a handshake by SYN cookie: none, or every second turn would be
    // spent on nothing. No packet, one: the kernel moves what waits at a listener that was
    // closed, and not all of that may go to the same.
    asm.set(R7, 1);
    asm.load_u64(R2, R6, BEGIN);
    asm.load_u64(R3, R6, END);
    asm.copy(R4, R2);
    asm.add(R4, i32::from(FLAGS) + 1);
    asm.jump_if_above(R4, R3, Label::Take);
    asm.load_u8(R2, R2, FLAGS);
    asm.jump_if_any_bit(R2, SYN, Label::Take);
    asm.set(R7, 0);

    // Which turn is it? Atomic, for every processor may ask at this moment.
    asm.label(Label::Take);
    asm.value_of_map(R1, maps.turn.as_fd());
    asm.fetch_and_add(R1, R7);

    // Whose turn is it? Two tables lie side by side, and the first word says which one counts:
    // the master writes the other, and then that word. So no table is read half-written.
    asm.value_of_map(R1, maps.tables.as_fd());
    asm.load_u32(R2, R1, 0);
    asm.and(R2, HALVES);
    asm.multiply(R2, HALF_BYTES);
    asm.add_register(R1, R2);
    asm.load_u32(R2, R1, COUNT);
    asm.jump_if_equal(R2, 0, Label::Drop);
    asm.modulo(R7, R2);
    // Never so, which only the master knows and the verifier wants to see.
    asm.jump_if_above_number(R7, MEMBERS_MAX - 1, Label::Drop);
    asm.shift_left(R7, 2);
    asm.add_register(R1, R7);
    asm.load_u32(R2, R1, MEMBERS);

    // To that listener; if it is gone, to the lobby; if that is gone too, to nobody.
    asm.store_u32(R10, CHOSEN, R2);
    select(&mut asm, maps);
    asm.store_number_u32(R10, CHOSEN, LOBBY);
    select(&mut asm, maps);

    asm.label(Label::Drop);
    asm.exit(SK_DROP);
    asm.label(Label::Pass);
    asm.exit(SK_PASS);
    asm.assemble()
}

/// Where on the stack the number of the chosen listener lies.
const CHOSEN: i16 = -4;

/// Chooses the listener whose number lies on the stack, and passes if it is there.
fn select(asm: &mut Assembler, maps: Maps<'_>) {
    asm.copy(R1, R6);
    asm.map(R2, maps.listeners.as_fd());
    asm.copy(R3, R10);
    asm.add(R3, i32::from(CHOSEN));
    asm.set(R4, 0);
    asm.call(SELECT);
    asm.jump_if_equal(R0, 0, Label::Pass);
}

/// Arguments of `BPF_MAP_CREATE`; what follows them in the kernel's is taken as 0.
#[repr(C)]
struct MapArguments {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

/// Arguments of `BPF_MAP_LOOKUP_ELEM` and `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct EntryArguments {
    map: u32,
    /// The next field begins at a multiple of eight.
    gap: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Arguments of `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgramArguments {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    device: u32,
    attach_type: u32,
}

/// A map from numbers to values of one size.
#[derive(Debug)]
pub(super) struct Map {
    descriptor: OwnedFd,
    value_bytes: usize,
}

impl Map {
    /// Makes a map.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub(super) fn create(kind: MapKind, value_bytes: usize, entries: u32) -> io::Result<Self> {
        let arguments = MapArguments {
            kind: kind as u32,
            key_bytes: size_of::<u32>() as u32,
            value_bytes: value_bytes as u32,
            entries,
            flags: 0,
        };
        // SAFETY: the arguments are those of this command and hold no address.
        let descriptor = unsafe { bpf_making(MAP_CREATE, &arguments) }?;
        Ok(Self {
            descriptor,
            value_bytes,
        })
    }

    /// Writes one value.
    ///
    /// # Errors
    ///
    /// Those of bpf(2); `EINVAL` also for a value of another size.
    pub(super) fn update(&self, key: u32, value: &[u8]) -> io::Result<()> {
        if value.len() != self.value_bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let arguments = self.entry(&key, value.as_ptr() as u64);
        // SAFETY: key and value outlive the call, which only reads them, and both are as long
        // as the map's are.
        unsafe { bpf(MAP_UPDATE, &arguments) }.map(drop)
    }

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    #[cfg(test)]
    pub(super) fn look_up(&self, key: u32) -> io::Result<Vec<u8>> {
        let mut value = vec![0; self.value_bytes];
        let arguments = self.entry(&key, value.as_mut_ptr() as u64);
        // SAFETY: key and value outlive the call, which reads the one and writes the other,
        // and both are as long as the map's are.
        unsafe { bpf(MAP_LOOKUP, &arguments) }?;
        Ok(value)
    }

    fn entry(&self, key: &u32, value: u64) -> EntryArguments {
        EntryArguments {
            map: self.descriptor.as_raw_fd().unsigned_abs(),
            gap: 0,
            key: (&raw const *key) as u64,
            value,
            flags: 0,
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Loads a program.
///
/// # Errors
///
/// Those of bpf(2), and what the verifier wrote about it.
pub(super) fn load(program: &[Instruction], asked: Asked) -> Result<OwnedFd, (io::Error, String)> {
    let mut log = vec![0_u8; LOG_BYTES];
    let arguments = ProgramArguments {
        kind: CHOOSES_LISTENER,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 1,
        log_bytes: LOG_BYTES as u32,
        log: log.as_mut_ptr() as u64,
        kernel_version: 0,
        flags: 0,
        name: *b"maitred_next\0\0\0\0",
        device: 0,
        attach_type: asked as u32,
    };
    // SAFETY: program and licence outlive the call, which only reads them; the log does too,
    // and the call writes at most as many bytes into it as it has.
    let loaded = unsafe { bpf_making(PROGRAM_LOAD, &arguments) };
    loaded.map_err(|error| {
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(LOG_BYTES);
        (
            error,
            String::from_utf8_lossy(&log[..end]).trim().to_owned(),
        )
    })
}

/// Makes a program choose among all listeners that share this one's address.
///
/// # Errors
///
/// Those of setsockopt(2).
pub(super) fn attach(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let number: libc::c_int = program.as_raw_fd();
    // SAFETY: the pointer and the length describe `number`, which outlives the call, and the
    // kernel only reads through it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_EBPF,
            (&raw const number).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// # Safety
///
/// `arguments` are those of `command`, and the addresses in them are valid for what the
/// command does with them.
unsafe fn bpf<T>(command: libc::c_long, arguments: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads as many bytes of `arguments` as are given; the rest is the
    // caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            (&raw const *arguments).cast::<libc::c_void>(),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// As [`bpf`], for commands that make a descriptor. It is close-on-exec from birth.
///
/// # Safety
///
/// As [`bpf`].
unsafe fn bpf_making<T>(command: libc::c_long, arguments: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise is this call's.
    let number = unsafe { bpf(command, arguments) }?;
    let number = libc::c_int::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the command has just made this descriptor, and nothing else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
