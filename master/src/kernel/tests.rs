//! The program in a real kernel. Where that may not be, the refusal is what is tested.

use std::io::{ErrorKind, Write, stderr};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, ipproto, listen, sendto, socket_with,
    sockopt,
};

use super::assembler::Assembler;
use super::assembler::Register::{R0, R2};
use super::*;

/// Returns a rotation, or `None` after having checked that its absence is well told.
fn rotation() -> Option<Rotation> {
    match Rotation::new() {
        Ok(rotation) => Some(rotation),
        Err(KernelError::NotPermitted) => {
            let told = KernelError::NotPermitted.to_string();
            assert!(told.contains("CAP_BPF") && told.contains("CAP_NET_ADMIN"));
            let notice = "no capability here: only the refusal was tested";
            writeln!(stderr(), "{notice}").unwrap_or_default();
            None
        }
        Err(error) => panic!("{error}"),
    }
}

const LOOPBACK: &str = "127.0.0.1:0";

fn bound(address: SocketAddr) -> OwnedFd {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    bind(&socket, &address).unwrap();
    socket
}

/// A lobby and so many others.
fn group(rotation: &Rotation, address: &str, others: u32) -> (SocketAddr, Vec<TcpListener>) {
    let mut address: SocketAddr = address.parse().unwrap();
    let mut listeners = Vec::new();
    for number in 0..=others {
        let socket = bound(address);
        if number == 0 {
            rotation.govern(&socket).unwrap();
        }
        listen(&socket, 64).unwrap();
        rotation.number(number, &socket).unwrap();
        let listener = TcpListener::from(socket);
        address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        listeners.push(listener);
    }
    (address, listeners)
}

/// Connects once and returns which listener got it.
fn whose(address: SocketAddr, listeners: &[TcpListener]) -> usize {
    let _client = TcpStream::connect(address).unwrap();
    let got = |listener: &TcpListener| listener.accept().is_ok();
    listeners.iter().position(got).unwrap()
}

fn turns(address: SocketAddr, listeners: &[TcpListener], times: usize) -> Vec<usize> {
    (0..times).map(|_| whose(address, listeners)).collect()
}

#[test]
fn listeners_on_the_list_get_connections_in_its_order() {
    let Some(mut rotation) = rotation() else {
        return;
    };
    let (address, listeners) = group(&rotation, LOOPBACK, 3);
    rotation.list(&[1, 2, 3]).unwrap();
    assert_eq!(turns(address, &listeners, 7), [1, 2, 3, 1, 2, 3, 1]);
    // Seven turns are taken, so the next is number 7 of two, and so the second.
    rotation.list(&[3, 1]).unwrap();
    assert_eq!(turns(address, &listeners, 4), [1, 3, 1, 3]);
    rotation.list(&[LOBBY]).unwrap();
    assert_eq!(turns(address, &listeners, 2), [0, 0]);
    assert_eq!(rotation.turn.look_up(0).unwrap(), 13_u64.to_ne_bytes());
}

#[test]
fn it_is_the_same_for_ipv6_and_for_both_at_once() {
    for (bound_to, asked) in [
        ("[::1]:0", "[::1]"),
        ("[::]:0", "[::1]"),
        ("[::]:0", "127.0.0.1"),
    ] {
        let Some(mut rotation) = rotation() else {
            return;
        };
        let (address, listeners) = group(&rotation, bound_to, 3);
        rotation.list(&[1, 2, 3]).unwrap();
        let asked = format!("{asked}:{}", address.port()).parse().unwrap();
        assert_eq!(turns(asked, &listeners, 5), [1, 2, 3, 1, 2], "{bound_to}");
    }
}

#[test]
fn nobody_on_the_list_means_that_nobody_gets_anything() {
    let Some(mut rotation) = rotation() else {
        return;
    };
    let (address, listeners) = group(&rotation, LOOPBACK, 2);
    for _ in 0..8 {
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    let got = |listener: &TcpListener| listener.accept().is_ok();
    assert!(!listeners.iter().any(got), "not even by a hash");
    rotation.list(&[2]).unwrap();
    assert_eq!(whose(address, &listeners), 2);
}

#[test]
fn the_turn_of_a_listener_that_is_gone_goes_to_the_lobby() {
    let Some(mut rotation) = rotation() else {
        return;
    };
    let (address, mut listeners) = group(&rotation, LOOPBACK, 2);
    rotation.list(&[1, 2]).unwrap();
    drop(listeners.pop());
    assert_eq!(turns(address, &listeners, 4), [1, 0, 1, 0]);
}

#[test]
fn what_waits_at_a_listener_that_is_closed_moves_to_the_others() {
    let Some(mut rotation) = rotation() else {
        return;
    };
    let (address, mut listeners) = group(&rotation, LOOPBACK, 3);
    rotation.list(&[3]).unwrap();
    let clients: Vec<_> = (0..6)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    rotation.list(&[1, 2]).unwrap();
    drop(listeners.pop());
    let waiting = |listener: &TcpListener| std::iter::from_fn(|| listener.accept().ok()).count();
    let moved: Vec<_> = listeners.iter().map(waiting).collect();
    assert_eq!(moved, [0, 3, 3], "Linux 5.14 or later");
    drop(clients);
}

/// Sends one packet of a connection that never was, from a port that nobody has.
fn stray(to: SocketAddrV4, flags: u8) {
    const FROM: u16 = 1;
    let kind = SocketType::RAW;
    let raw = socket_with(
        AddressFamily::INET,
        kind,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    );
    let mut header = [0_u8; 20];
    header[..2].copy_from_slice(&FROM.to_be_bytes());
    header[2..4].copy_from_slice(&to.port().to_be_bytes());
    (header[12], header[13]) = (5 << 4, flags);
    let sum = checksum(&[&[127, 0, 0, 1, 127, 0, 0, 1, 0, 6, 0, 20], &header[..]].concat());
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    sendto(raw.unwrap(), &header, SendFlags::empty(), &to).unwrap();
}

fn checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[test]
fn a_packet_that_opens_nothing_takes_no_turn() {
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    let Some(mut rotation) = rotation() else {
        return;
    };
    let (address, listeners) = group(&rotation, LOOPBACK, 2);
    rotation.list(&[1, 2]).unwrap();
    let SocketAddr::V4(to) = address else {
        unreachable!()
    };
    for expected in [1, 2, 1, 2] {
        stray(to, ACK);
        assert_eq!(whose(address, &listeners), expected);
    }
    // This one opens something, as far as anybody knows.
    stray(to, SYN);
    assert_eq!(whose(address, &listeners), 2);
}

#[test]
fn a_program_that_is_refused_is_explained_by_the_verifier() {
    if rotation().is_none() {
        return;
    }
    let mut wrong = Assembler::default();
    wrong.copy(R0, R2); // Nothing was ever put into r2.
    wrong.exit(0);
    let (error, log) = bpf::load(&wrong.assemble(), Asked::ForPackets).unwrap_err();
    let told = KernelError::Refused { source: error, log }.to_string();
    assert!(told.contains("R2 !read_ok"), "{told}");
}

#[test]
fn the_instructions_are_coded_as_the_kernel_reads_them() {
    let mut asm = Assembler::default();
    asm.load_u64(R0, R2, -8);
    asm.jump_if_equal(R2, 5, assembler::Label::Pass);
    asm.exit(0);
    asm.label(assembler::Label::Pass);
    asm.exit(1);
    let coded: Vec<_> = asm
        .assemble()
        .iter()
        .map(|it| (it.code, it.registers, it.offset, it.immediate))
        .collect();
    let expected = [
        (0x79, 0x20, -8, 0),
        (0x15, 0x02, 2, 5),
        (0xb7, 0, 0, 0),
        (0x95, 0, 0, 0),
        (0xb7, 0, 0, 1),
        (0x95, 0, 0, 0),
    ];
    assert_eq!(coded, expected);
}
