//! Measurements that are no load on a server.

use std::env;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::contenders::{App, Contender};
use super::loads::{BUSY, LESSON, Load};
use super::samples::{Figures, Spread};
use super::server::{Server, command, memory};

/// Turns of the lesson's handler: some 0.4 ms in Node.
const LESSON_TURNS: u64 = 500_000;
/// How long the handler computes that shows what a second process gains.
const BUSY_TIME: Duration = Duration::from_millis(20);
/// How many clients ask one after the other for the latency of a handoff.
const HANDOFFS: usize = 2_000;

/// Returns how many turns a busy handler makes under this load.
pub(crate) fn turns_of(load: Load) -> u64 {
    static TURNS: OnceLock<u64> = OnceLock::new();
    if load.path == LESSON.path && load.arguments == LESSON.arguments {
        return LESSON_TURNS;
    }
    debug_assert!(load.path != LESSON.path || load.arguments == BUSY.arguments);
    *TURNS.get_or_init(|| turn_for(BUSY_TIME))
}

/// Turns in the same loop as the busy handler, and returns how often.
fn turn_for(time: Duration) -> u64 {
    /// Turns between two looks at the clock, which costs as much as some hundred of them.
    const STRIDE: u64 = 100_000;
    let began = Instant::now();
    let mut turns = 0;
    while began.elapsed() < time {
        (0..STRIDE).for_each(|turn| {
            black_box(turn);
        });
        turns += STRIDE;
    }
    turns
}

/// Turns for so many milliseconds, and prints how often.
#[expect(clippy::print_stdout, reason = "whoever started it reads it there")]
pub(crate) fn spin(milliseconds: u64) {
    println!("{}", turn_for(Duration::from_millis(milliseconds)));
}

/// So many processes turn at once; their rate is that of turns.
pub(crate) fn loops(count: usize, time: Duration) -> Result<Figures, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let words = [
        program.into(),
        "--spin".into(),
        time.as_millis().to_string().into(),
    ];
    let start = |_| command(&words).stdout(Stdio::piped()).spawn();
    let started: std::io::Result<Vec<Child>> = (0..count).map(start).collect();
    let mut turns = 0.0;
    for process in started.map_err(|error| error.to_string())? {
        let output = process
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        turns += text
            .trim()
            .parse::<f64>()
            .map_err(|error| error.to_string())?;
    }
    Ok(Figures {
        rate: turns / time.as_secs_f64(),
        ..Figures::default()
    })
}

/// The memory of a master with eight workers that has passed so many connections.
pub(crate) fn memory_after(connections: u64) -> Result<Figures, String> {
    let server = Contender::Maitred {
        policy: "rr",
        app: App::Rust,
    }
    .start(8, 0)?;
    pass(&server, connections)?;
    Ok(Figures {
        memory: memory(server.root()) as f64,
        ..Figures::default()
    })
}

fn pass(server: &Server, connections: u64) -> Result<(), String> {
    let amount = connections.to_string();
    let url = format!("http://{}/", server.address);
    let maitred = maitred_tests::harness::program("maitred");
    let mut words = vec![maitred.into_os_string()];
    words.extend(["bench", "-c", "64", "--close", "-a", &amount, &url].map(Into::into));
    let ended = command(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("not every connection was answered".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// How long a connection takes from the master's accept to the worker's handler, which runs
/// when the first bytes were read. Both clocks are `CLOCK_MONOTONIC`.
pub(crate) fn handoff(app: App) -> Result<Figures, String> {
    let contender = Contender::Maitred { policy: "rr", app };
    let server = contender.start_recorded(2)?;
    let mut read = Vec::with_capacity(HANDOFFS);
    for _ in 0..HANDOFFS {
        read.push(ask_the_time(server.address).map_err(|error| error.to_string())?);
    }
    let record = server.home().join("record");
    let latencies = latencies(&record, &read)?;
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index).copied().unwrap_or_default()
    };
    let middle = Spread::of(latencies.iter().copied()).map_or(0.0, |spread| spread.median);
    Ok(Figures {
        p50: middle,
        p99: at(0.99),
        p99_9: at(0.999),
        ..Figures::default()
    })
}

/// Returns the port that it asked from, and the worker's time when it read the question.
fn ask_the_time(address: SocketAddr) -> std::io::Result<(u16, u64)> {
    let mut stream = TcpStream::connect(address)?;
    let port = stream.local_addr()?.port();
    stream.write_all(b"GET /clock HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let time = answer
        .lines()
        .last()
        .and_then(|line| line.trim().parse().ok());
    Ok((port, time.ok_or(std::io::ErrorKind::InvalidData)?))
}

/// Joins both sides by the client's port, and returns the differences in milliseconds, sorted.
fn latencies(record: &std::path::Path, read: &[(u16, u64)]) -> Result<Vec<f64>, String> {
    let events = maitred_tests::harness::wait_for("the record of every connection", || {
        let text = std::fs::read_to_string(record).ok()?;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let accepted: Vec<Value> = lines.filter(|event| event["event"] == "accepted").collect();
        // The question by which the start was awaited is among them.
        (accepted.len() > read.len()).then_some(accepted)
    });
    let accepted_at = |port: u16| {
        let is_it = |event: &&Value| event["peer_port"] == port;
        events.iter().rev().find(is_it)?["monotonic_ns"].as_u64()
    };
    let mut found: Vec<f64> = read
        .iter()
        .filter_map(|(port, at)| Some(at.checked_sub(accepted_at(*port)?)? as f64 / 1e6))
        .collect();
    found.sort_by(f64::total_cmp);
    if found.len() < read.len() / 2 {
        return Err("the record lacks connections".to_owned());
    }
    Ok(found)
}
