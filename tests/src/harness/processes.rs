//! What `/proc` tells about a cluster's processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};

use super::{Home, wait_for, wait_until};

/// Returns the pids of all living processes of a cluster, whoever their parents are.
#[must_use]
pub fn of(home: &Home) -> Vec<u32> {
    let (name, value) = home.mark();
    let mark = format!("{name}={value}").into_bytes();
    let is_marked = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|one| one == mark))
    };
    all().filter(is_marked).collect()
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Returns the children of a process, dead ones that nobody has reaped included.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| stat(*pid).is_some_and(|stat| stat.parent == parent);
    all().filter(is_child).collect()
}

/// Returns the state of a process as `ps` shows it: `R`, `S`, `T` (stopped), `Z` (dead and
/// not reaped); `None` once it is gone.
#[must_use]
pub fn state(pid: u32) -> Option<char> {
    Some(stat(pid)?.state)
}

/// Returns the name of a process's program, cut to 15 characters by the kernel.
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Returns the number of the first processor that this process may use.
///
/// # Panics
///
/// If `/proc` is not mounted.
#[must_use]
pub fn first_processor() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("the kernel says where a process may run");
    let first = allowed.trim().split([',', '-']).next();
    first.expect("it may run somewhere").to_owned()
}

/// Returns the number of a process's thread of this name, cut to 15 characters by the kernel.
///
/// # Panics
///
/// If it has none.
#[must_use]
pub fn thread(pid: u32, name: &str) -> u32 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let is_it = |thread: &u32| {
        fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm"))
            .is_ok_and(|found| found.trim_end() == name)
    };
    threads
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(is_it)
        .unwrap_or_else(|| panic!("process {pid} has no thread {name}"))
}

/// Returns how much processor time a process has used, in its threads together.
///
/// # Panics
///
/// If it is gone.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let used = stat(pid).expect("the process lives").ticks;
    Duration::from_secs(used) / u32::try_from(clock_ticks_per_second()).expect("it is 100")
}

struct Stat {
    state: char,
    parent: u32,
    /// Clock ticks of processor time, in user mode and in the kernel.
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything, spaces included.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // The fields are numbered in proc(5): 4 is the parent, 14 and 15 are the times.
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Stat {
        state,
        parent,
        ticks: user + system,
    })
}

/// Returns how many descriptors a process has open; `None` once it is gone.
#[must_use]
pub fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// Returns how many descriptors this process has open.
///
/// # Panics
///
/// If `/proc` is not mounted.
#[must_use]
pub fn own_descriptors() -> usize {
    let count = fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .count();
    // The directory itself is open while it is read.
    count - 1
}

/// Sends a signal to one process.
///
/// # Panics
///
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let sent = kill_process(number.expect("a pid is a positive number"), signal);
    assert!(sent.is_ok(), "signal {signal:?} to {pid}: {sent:?}");
}

/// Stops a process and waits until it stands still.
///
/// # Panics
///
/// If it does not.
pub fn freeze(pid: u32) {
    signal(pid, Signal::STOP);
    wait_until("the process stands still", || state(pid) == Some('T'));
}

/// Asserts that nothing of a cluster runs any more, or soon will not.
///
/// # Panics
///
/// If something stays, naming it.
pub fn assert_none_left(home: &Home) {
    let mut left = Vec::new();
    let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("the end of all processes", || {
            left = of(home);
            left.is_empty().then_some(())
        });
    }));
    let names: Vec<String> = left.iter().map(|pid| command_line(*pid)).collect();
    assert!(gone.is_ok(), "processes are left: {names:#?}");
}

fn command_line(pid: u32) -> String {
    let path = format!("/proc/{pid}/cmdline");
    let words = fs::read_to_string(Path::new(&path)).unwrap_or_default();
    format!("{pid} {}", words.replace('\0', " "))
}

/// Kills what is left of a cluster after a failed test.
pub(super) fn kill_all(home: &Home) {
    for pid in of(home) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile, which is what is wanted.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}
