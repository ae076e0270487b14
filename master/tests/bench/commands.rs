//! What it prints, its exit codes, Ctrl-C.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-worker-id: 1\r\n\r\n";

/// Far longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a signal may take to be noticed before it is sent again.
const NOTICE: Duration = Duration::from_millis(50);

#[expect(
    clippy::disallowed_methods,
    reason = "a user starts it, no master does"
)]
fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maitred"));
    command.arg("bench").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    bench(arguments).output().unwrap()
}

/// Starts a server that answers every read with `answer`, and tells of each.
fn serve(answer: &'static [u8]) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, seen) = sync_channel(1);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, told) = (stream.unwrap(), told.clone());
            thread::spawn(move || {
                while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                    // Nobody needs to be told twice.
                    told.try_send(()).unwrap_or_default();
                    stream.write_all(answer).unwrap_or_default();
                }
            });
        }
    });
    (address, seen)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_clean_load_shows_its_figures_and_ends_with_0() {
    let (address, _seen) = serve(ANSWER);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (json, record) = (path("json"), path("record"));
    let url = format!("http://{address}");
    let output = run(&[
        "-a", "50", "-c", "5", "--json", &json, "--record", &record, &url,
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let tables = text(&output.stdout);
    for words in [
        "Latency",
        "Req/sec",
        "Bytes/sec",
        "Bad answer",
        "Worker",
        "50 requests over",
    ] {
        assert!(tables.contains(words), "{words} is missing in:\n{tables}");
    }
    assert_eq!(text(&output.stderr), "", "no bar, as this is no terminal");
    let json: serde_json::Value = serde_json::from_str(&read(&json)).unwrap();
    assert_eq!(json["totals"]["ok"], 50);
    let record = read(&record);
    assert!(record.lines().last().unwrap().contains(r#""kind":"end""#));
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_failed_request_ends_it_with_1() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = run(&["-a", "3", &format!("http://{address}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("The first error: connect: "));
}

#[test]
fn a_record_that_cannot_be_completed_ends_it_with_1() {
    let (address, _seen) = serve(ANSWER);
    let output = run(&[
        "-a",
        "3",
        "--record",
        "/dev/full",
        &format!("http://{address}"),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("complete /dev/full"),
        "{output:?}"
    );
}

#[test]
fn a_mistake_is_one_line_and_ends_it_with_2() {
    for (arguments, words) in [
        (&["http://nobody.invalid"][..], "find http://nobody.invalid"),
        (
            &["http://127.0.0.1:1", "--record", "/no/such/file"],
            "create /no/such/file",
        ),
        (
            &["http://127.0.0.1:1", "--json", "/no/such/file"],
            "write /no/such/file",
        ),
        (&["127.0.0.1:1"], "begins with http://"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
        let said = text(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with("maitred: ") && said.contains(words),
            "{said}"
        );
    }
}

/// A load without end against a server that has seen a request of it.
fn endless(answer: &'static [u8]) -> Child {
    let (address, seen) = serve(answer);
    let url = format!("http://{address}");
    let mut command = bench(&["-d", "24h", "-t", "24h", &url]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    seen.recv_timeout(DEADLINE).unwrap();
    child
}

/// Waits until `child` has ended, at most so long.
fn has_ended(child: &Child, time: Duration) -> bool {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let time = Timespec::try_from(time).unwrap();
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    poll(&mut ended, Some(&time)).unwrap() > 0
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn ctrl_c_ends_it_early_with_what_there_is() {
    let child = endless(ANSWER);
    interrupt(&child);
    assert!(has_ended(&child, DEADLINE));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Interrupted"));
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_answers() {
    let child = endless(b"");
    let until = Instant::now() + DEADLINE;
    while !has_ended(&child, NOTICE) {
        assert!(Instant::now() < until);
        interrupt(&child);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("10 requests were given up"));
}
