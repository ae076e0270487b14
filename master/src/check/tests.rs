//! Each class and each doubt, with the smallest pair of records that shows it.

mod direct;
mod records;

use std::time::Duration;

use serde_json::{Value, json};

use super::findings::Class;
use super::*;

const MS: u64 = 1_000_000;

/// One second after the machine's start, in milliseconds: so that nothing begins before it.
const START: u64 = 1000;

/// Two records in the making. All times are milliseconds from the start of the load.
#[derive(Clone, Default)]
struct Story {
    load: Vec<Value>,
    events: Vec<Value>,
    requests: u64,
}

fn at(ms: u64) -> u64 {
    (START + ms) * MS
}

impl Story {
    /// One connection from port 40,000, accepted at 1, and nothing else yet.
    fn accepted() -> Self {
        let mut story = Self::default();
        story
            .load
            .push(json!({"kind": "start", "url": "http://127.0.0.1:1/"}));
        story.accept(1, 40_000, 1);
        story
    }

    /// As well, and acked by worker 3 at 2.
    fn acked() -> Self {
        let mut story = Self::accepted();
        story.hand_off(1, 1);
        story.step(2, 1, "acked", json!({"handoff": 1, "worker": 3}));
        story
    }

    fn accept(&mut self, connection: u64, port: u16, ms: u64) {
        let fields = json!({"server": 1, "peer_port": port});
        self.step(ms, connection, "accepted", fields);
    }

    fn hand_off(&mut self, connection: u64, ms: u64) {
        let fields = json!({"handoff": connection, "worker": 3});
        self.step(ms, connection, "handed_off", fields);
    }

    fn step(&mut self, ms: u64, connection: u64, event: &str, mut fields: Value) {
        fields["connection"] = connection.into();
        self.event(ms, event, fields);
    }

    fn event(&mut self, ms: u64, event: &str, mut fields: Value) {
        fields["time"] = "2026-01-02T03:04:05.678901Z".into();
        fields["monotonic_ns"] = at(ms).into();
        fields["event"] = event.into();
        self.events.push(fields);
    }

    fn exit(&mut self, ms: u64, code: Option<i32>, orderly: bool) {
        let fields = json!({"worker": 3, "pid": 7, "code": code,
            "signal": code.is_none().then_some(9), "exited_after_disconnect": orderly});
        self.event(ms, "exit", fields);
    }

    /// Adds a request of connection 1 that ended at `ms`.
    fn request(&mut self, ms: u64, outcome: &str) -> &mut Value {
        self.requests += 1;
        self.load.push(
            json!({"kind": "request", "connection": 1, "port": 40_000, "port_use": 1,
            "number": 1, "reused": false, "sent_ns": at(1), "first_byte_ns": null,
            "end_ns": at(ms), "worker": null, "status": null, "outcome": outcome,
            "announced": false}),
        );
        self.load.last_mut().unwrap()
    }

    /// Adds the line of a connection that was open from `from` to `to`.
    fn connection(&mut self, number: u64, (from, to): (u64, u64), worker: Option<u32>) {
        self.load.push(
            json!({"kind": "connection", "connection": number, "port": 40_000,
            "port_use": number, "connect_ns": at(from), "connected_ns": at(from),
            "end_ns": at(to), "worker": worker, "requests": self.requests, "outcome": "ok"}),
        );
    }

    /// Ends both records and reads them.
    fn told(mut self) -> (String, String) {
        let requests = self.requests;
        self.load.push(
            json!({"kind": "end", "end_ns": at(9999), "requests": requests,
            "unfinished": 0}),
        );
        self.event(9999, "end", json!({"lost": 0, "dropped": 0}));
        let text = |lines: &[Value]| {
            let lines = lines.iter().map(|line| format!("{line}\n"));
            lines.collect::<String>()
        };
        (text(&self.load), text(&self.events))
    }

    /// Ends connection 1 and judges.
    fn judged(mut self, ended: u64) -> Findings {
        self.connection(1, (0, ended), None);
        let (load, events) = self.told();
        judged(&load, &events)
    }
}

fn judged(load: &str, events: &str) -> Findings {
    let demands = Demands {
        min_connections: 1,
        slack: Duration::from_millis(100),
        workers_accept: false,
    };
    check(load.as_bytes(), events.as_bytes(), demands).unwrap()
}

/// A load that lost nothing.
fn good() -> Story {
    let mut story = Story::acked();
    story.request(4, "ok");
    story.connection(1, (0, 5), Some(3));
    story
}

/// Asserts that one request failed, and that it is of this class.
fn assert_class(findings: &Findings, class: Class) {
    let mut expected = Findings::default();
    expected.add(class, String::new);
    let counts = |findings: &Findings| {
        let Findings {
            never_acked,
            worker_died,
            cut,
            idle_reuse,
            behind_last,
            other,
            ..
        } = findings;
        [
            never_acked,
            worker_died,
            cut,
            idle_reuse,
            behind_last,
            other,
        ]
        .map(|tally| tally.count)
    };
    assert_eq!(counts(findings), counts(&expected), "{findings}");
    let must_be_none = matches!(class, Class::NeverAcked | Class::Other);
    let verdict = if must_be_none {
        Verdict::Fail
    } else {
        Verdict::Pass
    };
    assert_eq!(findings.verdict(), verdict, "{findings}");
}

#[test]
fn a_load_without_failures_passes() {
    let (load, events) = good().told();
    let findings = judged(&load, &events);
    assert_eq!(findings.verdict(), Verdict::Pass, "{findings}");
    assert_eq!(
        (findings.joined, findings.requests, findings.failed),
        (1, 1, 0)
    );
    assert_eq!(
        (findings.accepted, findings.acked, findings.held),
        (1, 1, 0)
    );
}

#[test]
fn a_connection_that_the_master_still_held_was_lost() {
    let mut story = Story::accepted();
    story.hand_off(1, 1);
    story.request(50, "timeout");
    assert_class(&story.judged(50), Class::NeverAcked);
}

#[test]
fn a_connection_that_the_master_refused_was_lost_whatever_the_reason() {
    let mut story = Story::accepted();
    story.step(9, 1, "refused", json!({"reason": "workers_died"}));
    story.request(10, "reset_before_answer");
    let findings = story.judged(10);
    assert_class(&findings, Class::NeverAcked);
    let example = &findings.never_acked.examples[0];
    assert_eq!(
        example,
        "request 1 of connection 1 (port 40000, use 1) was reset: the master refused it \
         1.000 ms before (workers_died)"
    );
}

#[test]
fn a_connection_whose_answer_was_lost_with_its_worker_died_with_it() {
    let mut story = Story::accepted();
    story.hand_off(1, 1);
    story.step(9, 1, "refused", json!({"reason": "answer_lost"}));
    story.request(10, "reset_before_answer");
    assert_class(&story.judged(10), Class::WorkerDied);
    // One that was with nobody is lost like any other.
    let mut story = Story::accepted();
    story.step(9, 1, "refused", json!({"reason": "answer_lost"}));
    story.request(10, "reset_before_answer");
    assert_class(&story.judged(10), Class::NeverAcked);
}

#[test]
fn a_connection_that_was_acked_when_its_client_had_left_was_lost() {
    let mut story = Story::acked();
    story.events.clear();
    story.accept(1, 40_000, 1);
    story.hand_off(1, 1);
    story.step(700, 1, "acked", json!({"handoff": 1, "worker": 3}));
    story.request(500, "timeout");
    assert_class(&story.judged(500), Class::NeverAcked);
}

#[test]
fn a_connection_that_never_reached_the_master_was_lost() {
    let mut story = good();
    story.requests = 2;
    let mut request = story.request(30, "reset_before_answer").clone();
    request["connection"] = 2.into();
    *story.load.last_mut().unwrap() = request;
    story.requests = 1;
    story.connection(2, (20, 30), None);
    story.requests = 2;
    let (load, events) = story.told();
    assert_class(&judged(&load, &events), Class::NeverAcked);
    let unconnected = load.replace(
        &format!("\"connected_ns\":{}", at(20)),
        "\"connected_ns\":null",
    );
    assert_ne!(load, unconnected);
    assert_class(&judged(&unconnected, &events), Class::NeverAcked);
}

#[test]
fn the_death_of_a_worker_excuses_what_it_had_acked() {
    // The client may notice before the master has reaped, and long after.
    for (died, failed) in [(30, 30), (30, 20), (129, 30), (30, 5000)] {
        let mut story = Story::acked();
        story.exit(died, None, false);
        story.request(failed, "reset_before_answer");
        let findings = story.judged(failed);
        assert_class(&findings, Class::WorkerDied);
        assert_eq!(findings.latest_excuse_ns, died.saturating_sub(failed) * MS);
    }
}

#[test]
fn the_death_excuses_although_the_ack_was_read_late() {
    let mut story = Story::accepted();
    story.hand_off(1, 1);
    story.step(40, 1, "acked", json!({"handoff": 1, "worker": 3}));
    story.exit(41, None, true);
    story.request(20, "closed_before_answer");
    assert_class(&story.judged(20), Class::WorkerDied);
}

#[test]
fn a_later_death_excuses_nothing() {
    let mut story = Story::acked();
    story.exit(200, None, false);
    story.request(30, "reset_before_answer");
    let findings = story.judged(30);
    assert_class(&findings, Class::Other);
    let example = &findings.other.examples[0];
    assert!(
        example.ends_with("acked it and exited only 170.000 ms after"),
        "{example}"
    );
}

#[test]
fn the_death_of_another_worker_excuses_nothing() {
    let mut story = Story::acked();
    let other = json!({"worker": 4, "code": null, "signal": 9, "exited_after_disconnect": false});
    story.event(29, "exit", other);
    story.request(30, "reset_before_answer");
    assert_class(&story.judged(30), Class::Other);
}

#[test]
fn a_worker_that_leaves_in_good_order_may_lose_nothing() {
    for (code, orderly, class) in [
        (Some(0), true, Class::Other),
        (Some(1), true, Class::WorkerDied),
        (Some(0), false, Class::WorkerDied),
    ] {
        let mut story = Story::acked();
        story.exit(29, code, orderly);
        story.request(30, "reset_before_answer");
        assert_class(&story.judged(30), class);
    }
}

#[test]
fn a_drain_deadline_excuses_what_comes_after_it() {
    for (cut, class) in [(25, Class::Cut), (300, Class::Other)] {
        let mut story = Story::acked();
        story.event(cut, "cut_at_deadline", json!({"worker": 3, "pid": 7}));
        story.exit(cut + 4, Some(0), true);
        story.request(30, "reset_before_answer");
        assert_class(&story.judged(30), class);
    }
}

#[test]
fn a_client_that_hangs_after_its_workers_death_is_not_excused() {
    let mut story = Story::acked();
    story.exit(30, None, false);
    story.request(5000, "timeout");
    assert_class(&story.judged(5000), Class::Other);
}

#[test]
fn a_client_that_hangs_after_its_worker_was_cut_is_not_excused() {
    for (exit, class) in [(Some(40), Class::Other), (None, Class::Cut)] {
        let mut story = Story::acked();
        story.event(25, "cut_at_deadline", json!({"worker": 3, "pid": 7}));
        if let Some(exit) = exit {
            story.exit(exit, None, true);
        }
        story.request(5000, "timeout");
        assert_class(&story.judged(5000), class);
    }
}

#[test]
fn an_idle_connection_may_be_closed_as_it_is_used_again() {
    let reuse = |outcome: &str, change: fn(&mut Value)| {
        let mut story = Story::acked();
        story.request(4, "ok");
        let request = story.request(301, outcome);
        request["number"] = 2.into();
        request["reused"] = true.into();
        request["sent_ns"] = at(300).into();
        change(request);
        story.judged(301)
    };
    let reset = "reset_before_answer";
    assert_class(&reuse(reset, |_| {}), Class::IdleReuse);
    assert_class(&reuse("closed_before_answer", |_| {}), Class::IdleReuse);
    // Each of these means that the worker had it in hand.
    assert_class(
        &reuse(reset, |it| it["reused"] = false.into()),
        Class::Other,
    );
    assert_class(
        &reuse(reset, |it| it["sent_ns"] = at(200).into()),
        Class::Other,
    );
    assert_class(
        &reuse(reset, |it| it["first_byte_ns"] = at(300).into()),
        Class::Other,
    );
    assert_class(&reuse("timeout", |_| {}), Class::Other);
}

#[test]
fn a_request_behind_the_last_answer_is_nobodys_fault() {
    let mut story = Story::acked();
    story.request(4, "ok");
    story.request(5, "closed_before_answer")["announced"] = true.into();
    assert_class(&story.judged(5), Class::BehindLast);
}

#[test]
fn a_failure_without_any_reason_is_not_excused() {
    for outcome in [
        "reset_before_answer",
        "closed_before_answer",
        "timeout",
        "bad_answer",
    ] {
        let mut story = Story::acked();
        story.request(30, outcome);
        assert_class(&story.judged(30), Class::Other);
    }
}
