//! What a compromised worker can send costs the master neither memory nor descriptors.
//! A file of its own: both are counted for the whole process.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use maitred_protocol::ChannelError;
use maitred_protocol::native::{FRAME_MAX, MasterEnd, MasterInbox, WorkerEnd, pair};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sendfd::SendWithFd;

/// How much this process may still reserve while a worker attacks: room for what a refusal
/// needs (its error text), and less than the megabyte that serde would believe.
const GROWTH_MAX: u64 = 512 * 1024;

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs `attack` while the kernel refuses to let this process grow. Memory that is reserved
/// counts, even if it is never touched; what asks for too much ends the test with "memory
/// allocation of … bytes failed".
fn without_growing(attack: impl FnOnce()) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    // The sixth number: writable memory of its own, in pages.
    let pages: u64 = statm.split_whitespace().nth(5).unwrap().parse().unwrap();
    let size = pages * u64::try_from(rustix::param::page_size()).unwrap();
    let before = getrlimit(Resource::Data);
    let limit = Rlimit {
        current: Some(size + GROWTH_MAX),
        maximum: before.maximum,
    };
    setrlimit(Resource::Data, limit).unwrap();
    attack();
    setrlimit(Resource::Data, before).unwrap();
}

/// A master's inbox whose worker has greeted and is now a bare socket.
fn greeted(ends: (OwnedFd, OwnedFd)) -> (MasterInbox, UnixStream) {
    let raw = UnixStream::from(ends.1.try_clone().unwrap());
    let (worker, _) = WorkerEnd::new(ends.1).unwrap();
    let (_, mut inbox) = MasterEnd::new(ends.0).unwrap();
    worker.hello().unwrap();
    inbox.try_receive().unwrap().unwrap();
    (inbox, raw)
}

fn plain_pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// A frame that claims a text, or bytes, of `len` bytes and holds three.
fn bombs(len: u64) -> [Vec<u8>; 2] {
    let claim = |head: &[u8]| {
        let mut frame = head.to_vec();
        frame.push(253);
        frame.extend(len.to_le_bytes());
        frame.extend(b"abc");
        frame
    };
    let user = [9];
    // Query 1, any address, port 80, index 0, all options off; then `Some` of the data.
    let query = [2, 1, 1, 80, 0, 0, 0, 0, 0, 1];
    [claim(&user), claim(&query)]
}

fn refuses(inbox: &mut MasterInbox, raw: &UnixStream, frame: &[u8]) {
    raw.send_with_fd(frame, &[]).unwrap();
    match inbox.try_receive() {
        Err(ChannelError::Malformed { .. }) => {}
        other => panic!("{frame:?}: {other:?}"),
    }
}

fn flood_with_descriptors(inbox: &mut MasterInbox, raw: &UnixStream) {
    let numbers = vec![raw.as_raw_fd(); 253];
    for _ in 0..100 {
        // EPERM where the kernel refuses for the master; the master's own refusal elsewhere.
        if raw.send_with_fd(&[1], &numbers).is_ok() {
            assert!(matches!(
                inbox.try_receive(),
                Err(ChannelError::DescriptorUnexpected)
            ));
        } else {
            assert!(inbox.try_receive().unwrap().is_none());
        }
    }
}

// One test: a second one would count what this one opens.
#[tokio::test]
async fn a_hostile_worker_costs_neither_memory_nor_descriptors() {
    let descriptors = open_descriptors();
    for ends in [pair().unwrap(), plain_pair()] {
        let (mut inbox, raw) = greeted(ends);
        let during = open_descriptors();
        without_growing(|| {
            for exponent in 10..64 {
                for frame in bombs(1 << exponent) {
                    refuses(&mut inbox, &raw, &frame);
                }
            }
            for byte in 12..=255 {
                refuses(&mut inbox, &raw, &vec![byte; FRAME_MAX]);
            }
            flood_with_descriptors(&mut inbox, &raw);
        });
        assert_eq!(open_descriptors(), during, "the master keeps descriptors");
    }
    assert_eq!(open_descriptors(), descriptors, "a dropped channel leaks");
}
