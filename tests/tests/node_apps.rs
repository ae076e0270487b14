//! Node programs that know nothing of maitred: what they are written with, how they see
//! themselves, and in how many ways they listen.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use maitred_tests::harness::client::{Client, get};
use maitred_tests::harness::{DEADLINE, Launch, TestCluster, node_program, number, wait_for};
use serde_json::Value;

/// Runs a Node program of the tests as a client, and returns the lines that it prints.
#[expect(
    clippy::disallowed_methods,
    reason = "it is no worker, and is waited for"
)]
fn client(name: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("node");
    let done = command
        .arg(node_program(name))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}{complaint}");
    said.lines().map(str::to_owned).collect()
}

/// Asserts that requests one after the other are answered by two processes in turn.
fn takes_turns(name: &str) {
    let cluster = Launch::node(name, 2).ready();
    let address = cluster.address();
    let ask = || get(address, "/").unwrap().text().to_owned();
    let answers: Vec<String> = (0..10).map(|_| ask()).collect();
    let workers: BTreeSet<String> = cluster.workers().values().map(u32::to_string).collect();
    assert_eq!(workers, answers.iter().cloned().collect(), "{name}");
    for pair in answers.windows(3) {
        assert!(
            pair[0] != pair[1] && pair[0] == pair[2],
            "{name}: {answers:?}"
        );
    }
    cluster.stop();
}

#[test]
fn an_express_program_takes_turns() {
    takes_turns("express.js");
}

#[test]
fn a_fastify_program_takes_turns() {
    takes_turns("fastify.js");
}

#[test]
fn a_koa_program_takes_turns() {
    takes_turns("koa.js");
}

#[test]
fn an_es_module_takes_turns() {
    takes_turns("esm.mjs");
}

#[test]
fn web_sockets_and_socket_io_take_turns() {
    let cluster = Launch::node("sockets.js", 2).ready();
    let address = cluster.address().to_string();
    let lines = client("sockets-client.mjs", &[&address, "4"]);
    assert_eq!(lines.len(), 8, "{lines:?}");
    for kind in ["ws", "io"] {
        let of_kind = lines.iter().filter(|line| line.starts_with(kind));
        let pids: BTreeSet<&str> = of_kind
            .map(|line| line.split(' ').nth(1).unwrap())
            .collect();
        // Each round is one connection of each kind, so that a kind may stay with one worker.
        assert!(!pids.is_empty(), "{lines:?}");
    }
    let pids: BTreeSet<&str> = lines
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(pids.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("hello")), "{lines:?}");
    cluster.stop();
}

/// Asks a program of the tests what it sees.
fn surroundings(launch: Launch) -> (Value, TestCluster) {
    let cluster = launch.ready();
    let seen = get(cluster.address(), "/").unwrap();
    (serde_json::from_str(seen.text()).unwrap(), cluster)
}

#[test]
fn a_program_sees_what_it_sees_under_bare_node() {
    let program = node_program("surroundings.js");
    let options = ["--node-args", "--stack-size=900", "--env", "GREETING=hello"];
    let launch = Launch::node("surroundings.js", 1).with(options);
    let (seen, cluster) = surroundings(launch.with(["--", "one", "--two"]));
    let program = program.display().to_string();
    assert_eq!(seen["main"], true);
    assert_eq!(seen["filename"], program.as_str());
    assert_eq!(
        seen["argv"].as_array().unwrap()[1..],
        [&*program, "one", "--two"]
    );
    assert_eq!(seen["execArgv"], serde_json::json!(["--stack-size=900"]));
    assert_eq!((&seen["isWorker"], &seen["id"]), (&true.into(), &1.into()));
    assert_eq!(seen["instance"], "0");
    assert_eq!(seen["options"], Value::Null);
    assert_eq!(seen["greeting"], "hello");
    assert_eq!(seen["ours"], serde_json::json!([]));
    assert!(
        seen["stack"].as_str().unwrap().contains("surroundings.js:"),
        "{seen:#}"
    );
    cluster.stop();
}

#[test]
fn a_program_is_told_its_slot_by_the_name_that_it_looks_for() {
    let launch = Launch::node("surroundings.js", 1).with(["--instance-var", "SEAT"]);
    let (seen, cluster) = surroundings(launch);
    assert_eq!(seen["seat"], "0");
    assert_eq!(seen.get("instance"), None);
    cluster.stop();
}

#[test]
fn workers_run_where_and_as_whom_they_are_told() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().to_str().unwrap();
    let options = ["--cwd", directory, "--uid", "65534", "--gid", "65534"];
    let (seen, cluster) = surroundings(Launch::node("surroundings.js", 1).with(options));
    assert_eq!(seen["cwd"], directory);
    assert_eq!((&seen["uid"], &seen["gid"]), (&65534.into(), &65534.into()));
    cluster.stop();
}

#[test]
fn every_way_of_listening_works_and_every_error_arrives() {
    let place = tempfile::tempdir().unwrap();
    let path: PathBuf = place.path().join("s");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster = Launch::node("servers.js", 2)
        .with(["--env", &format!("SOCKET_PATH={}", path.display())])
        .with([
            "--env",
            &format!("BUSY_PORT={}", taken.local_addr().unwrap().port()),
        ])
        .start();
    // The last server is the one that tells; which number it has depends on which worker is
    // sooner when both close a server and open it again.
    let told = cluster.log().wait_count("message", 2);
    let ports = [0, 1].map(|place: usize| number(&told[place]["message"], "port"));
    assert_eq!(ports[0], ports[1]);
    let last: SocketAddr = format!("127.0.0.1:{}", ports[0]).parse().unwrap();
    let told = |_| -> Value { serde_json::from_str(get(last, "/").unwrap().text()).unwrap() };
    let (one, other) = (told(1), told(2));
    assert_eq!(one, other, "both workers see the same servers");
    let port = |name: &str| one[name]["port"].as_u64().unwrap();
    assert_ne!(port("first"), port("second"));
    assert_eq!(one["any"]["address"], "::");
    assert_eq!(one["twice"], "EADDRINUSE");
    assert_eq!(one["busy"], "EADDRINUSE bind");
    assert_eq!(one["forbidden"], "EADDRNOTAVAIL");
    assert_eq!(one["unix"], path.to_str().unwrap());
    for (name, host) in [
        ("first", "127.0.0.1"),
        ("second", "127.0.0.1"),
        ("any", "127.0.0.1"),
        ("any", "[::1]"),
        ("ipv6Only", "[::1]"),
        ("again", "127.0.0.1"),
    ] {
        let address: SocketAddr = format!("{host}:{}", port(name)).parse().unwrap();
        let pids: BTreeSet<String> = (0..4)
            .map(|_| get(address, "/").unwrap().text().to_owned())
            .collect();
        assert_eq!(pids.len(), 2, "{name} at {host}");
    }
    let only = format!("127.0.0.1:{}", port("ipv6Only"));
    assert!(get(only.parse().unwrap(), "/").is_err());
    let mut over_path = Client::over(UnixStream::connect(&path).unwrap());
    assert_eq!(over_path.get("/").unwrap().status, 200);
    drop(over_path);
    asks_over_udp(u16::try_from(port("udp")).unwrap());
    cluster.stop();
}

fn asks_over_udp(port: u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send_to(b"who", ("127.0.0.1", port)).unwrap();
    let mut answer = [0; 16];
    let length = socket.recv(&mut answer).unwrap();
    let pid: u32 = std::str::from_utf8(&answer[..length])
        .unwrap()
        .parse()
        .unwrap();
    assert!(pid > 0);
}

#[test]
fn a_tls_session_is_resumed_by_another_worker() {
    let place = tempfile::tempdir().unwrap();
    let [key, cert] = ["key", "cert"].map(|name| place.path().join(name));
    make_certificate(key.to_str().unwrap(), cert.to_str().unwrap());
    let cluster = Launch::node("https.js", 2)
        .with(["--env", &format!("KEY={}", key.display())])
        .with(["--env", &format!("CERT={}", cert.display())])
        .ready();
    let lines = client("https-client.mjs", &[&cluster.address().to_string(), "6"]);
    let pids: BTreeSet<&str> = lines
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(pids.len(), 2, "{lines:?}");
    assert!(
        lines[1..].iter().all(|line| line.ends_with("true")),
        "{lines:?}"
    );
    cluster.stop();
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is no worker, and is waited for"
)]
fn make_certificate(key: &str, cert: &str) {
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
    ];
    let mut command = Command::new("openssl");
    let made = command
        .args(request)
        .args(["/CN=localhost", "-keyout", key, "-out", cert]);
    assert!(made.output().unwrap().status.success());
}

/// Follows one of the lesson's programs through a crash, by what a person sees: the output.
fn tells_its_story(name: &str) {
    let program = node_program(name);
    let run = [OsStr::new("run"), program.as_os_str()];
    let cluster = Launch::new(run).with(["-i", "2", "--env", "PORT=0"]);
    let cluster = cluster.start();
    let said = |part: &str| {
        let lines = cluster.log().lines();
        lines.into_iter().find(|line| line.contains(part))
    };
    let line = |part: &str| wait_for(part, || said(part));
    line("ready: all 2 workers listen");
    let address = line("is open on ").rsplit(' ').next().unwrap().parse();
    let address: SocketAddr = address.unwrap();
    let answers = || -> BTreeSet<u32> {
        let answers = (0..4).map(|_| get(address, "/").unwrap());
        answers.map(|answer| pid_in(answer.text())).collect()
    };
    let before = answers();
    assert_eq!(before.len(), 2, "both answer");
    for pid in &before {
        line(&format!("Process {pid} started"));
    }
    get(address, "/crash").expect_err("it exits before it answers");
    let dead = pid_in(&line("exited with code 1"));
    let newcomer = pid_in(&line("worker 3 (pid "));
    line(&format!("worker 3 (pid {newcomer}) listens on"));
    let mut expected = before;
    assert!(expected.remove(&dead) && expected.insert(newcomer));
    assert_eq!(answers(), expected, "who lives, and who came instead");
    assert!(said("Master").is_none(), "maitred is the master");
    cluster.stop();
}

/// Returns the number behind `pid` or `process`.
fn pid_in(line: &str) -> u32 {
    let words = line.split([' ', '(', ')', '\n']).collect::<Vec<_>>();
    let named = words
        .windows(2)
        .find(|pair| ["pid", "process"].contains(&pair[0]));
    named.unwrap()[1].parse().unwrap()
}

#[test]
fn the_lessons_own_server_runs_as_it_is_printed() {
    tells_its_story("lesson/server.js");
}

#[test]
fn the_lessons_own_cluster_runs_as_it_is_printed() {
    tells_its_story("lesson/cluster.js");
}
