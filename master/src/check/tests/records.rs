//! What the records must have to prove anything: joins, whole lines, steps that follow.

use super::*;

#[test]
fn a_port_that_is_used_again_is_told_apart_by_time() {
    // The port's first connection is this client's, the second another's, the third is lost.
    let mut story = good();
    story.accept(2, 40_000, 15);
    story.hand_off(2, 15);
    story.step(16, 2, "acked", json!({"handoff": 2, "worker": 3}));
    story.accept(3, 40_000, 21);
    story.request(30, "timeout")["connection"] = 2.into();
    story.requests = 1;
    story.connection(2, (20, 30), None);
    story.requests = 2;
    let (load, events) = story.told();
    let findings = judged(&load, &events);
    assert_class(&findings, Class::NeverAcked);
    assert_eq!(
        (findings.joined, findings.strangers, findings.held),
        (2, 1, 1)
    );
}

#[test]
fn a_connection_that_was_answered_and_is_not_in_the_events_is_a_doubt() {
    let (load, events) = good().told();
    let accepted = |ms| format!("\"monotonic_ns\":{},\"peer_port\"", at(ms));
    for wrong in [
        events.replace("40000", "40001"),
        // Before the client had begun, and after it had left: these are other clients'.
        events.replace(&accepted(1), "\"monotonic_ns\":7,\"peer_port\""),
        events.replace(&accepted(1), &accepted(6)),
    ] {
        assert_ne!(wrong, events);
        let findings = judged(&load, &wrong);
        let is_unjoined = |doubt: &Doubt| matches!(doubt, Doubt::Unjoined { count: 1, .. });
        assert!(findings.doubts.iter().any(is_unjoined), "{findings}");
        assert_eq!(findings.verdict(), Verdict::Inconclusive);
    }
}

#[test]
fn incomplete_records_prove_nothing() {
    let (load, events) = good().told();
    let without_last = |text: &str| {
        let end = text.trim_end().rfind('\n').unwrap();
        text[..=end].to_owned()
    };
    let torn = |text: &str| text[..text.len() - 9].to_owned();
    let [no_load, no_events] = [Record::Load, Record::Events].map(Doubt::NoEnd);
    let dropped = events.replace("\"dropped\":0", "\"dropped\":2");
    let lost = events.replace("\"lost\":0", "\"lost\":2");
    let count = |event: &str| format!("{{\"event\":\"{event}\",\"count\":2}}\n{events}");
    let unfinished = load.replace("\"unfinished\":0", "\"unfinished\":2");
    let untold = load.replace("\"requests\":1", "\"requests\":2");
    for (load, events, doubt) in [
        (without_last(&load), events.clone(), no_load.clone()),
        (torn(&load), events.clone(), no_load.clone()),
        (String::new(), events.clone(), no_load),
        (load.clone(), without_last(&events), no_events.clone()),
        (load.clone(), torn(&events), no_events),
        (load.clone(), dropped, Doubt::Dropped(2)),
        (load.clone(), count("dropped"), Doubt::Dropped(2)),
        (load.clone(), lost, Doubt::Lost(2)),
        (load.clone(), count("lost"), Doubt::Lost(2)),
        (unfinished, events.clone(), Doubt::Unfinished(2)),
        (untold, events.clone(), Doubt::Requests { told: 1, made: 2 }),
        (
            load.clone() + &load,
            events.clone(),
            Doubt::BehindEnd(Record::Load),
        ),
        (
            load.clone(),
            events.clone() + &events,
            Doubt::BehindEnd(Record::Events),
        ),
    ] {
        let findings = judged(&load, &events);
        assert_eq!(findings.verdict(), Verdict::Inconclusive, "{findings}");
        assert!(
            findings.doubts.contains(&doubt),
            "{doubt:?} is not among:\n{findings}"
        );
    }
}

#[test]
fn a_line_that_is_wrong_is_named() {
    let (load, events) = good().told();
    let wrong = events.replace("\"peer_port\":40000", "\"peer_port\":-1");
    let doubts = judged(&load, &wrong).doubts;
    assert!(
        matches!(
            doubts[0],
            Doubt::BadLine {
                file: Record::Events,
                number: 1,
                ..
            }
        ),
        "{doubts:?}"
    );
    let wrong = load.replace(
        "\"outcome\":\"ok\",\"port\"",
        "\"outcome\":\"fine\",\"port\"",
    );
    let doubts = judged(&wrong, &events).doubts;
    assert!(
        matches!(
            doubts[0],
            Doubt::BadLine {
                file: Record::Load,
                number: 2,
                ..
            }
        ),
        "{doubts:?}"
    );
}

#[test]
fn lines_of_workers_and_unknown_events_are_passed_over() {
    let (load, events) = good().told();
    let events = format!("0:3 | hello\n{{\"event\":\"ready\",\"worker\":\"none\"}}\n{events}");
    assert_eq!(judged(&load, &events).verdict(), Verdict::Pass);
}

#[test]
fn an_answer_of_another_worker_than_the_one_that_acked_is_a_doubt() {
    let mut story = Story::acked();
    story.request(4, "ok");
    story.connection(1, (0, 5), Some(4));
    let (load, events) = story.told();
    let findings = judged(&load, &events);
    assert!(
        matches!(findings.doubts[..], [Doubt::WrongWorker { count: 1, .. }]),
        "{findings}"
    );
}

#[test]
fn too_few_connections_are_a_doubt() {
    let (load, events) = good().told();
    let demands = Demands {
        min_connections: 2,
        slack: Duration::ZERO,
        workers_accept: false,
    };
    let findings = check(load.as_bytes(), events.as_bytes(), demands).unwrap();
    assert_eq!(
        findings.doubts,
        [Doubt::TooFew {
            joined: 1,
            wanted: 2
        }]
    );
}

#[test]
fn steps_that_must_not_happen_fail() {
    type Spoil = fn(&mut Story);
    let table: [(Spoil, &str); 7] = [
        (|story| story.accept(1, 40_000, 3), "was accepted twice"),
        (|story| story.hand_off(1, 3), "goes on behind its end"),
        (
            |story| story.step(3, 1, "refused", json!({"reason": "x"})),
            "goes on behind its end",
        ),
        (
            |story| story.step(3, 1, "acked", json!({"handoff": 1, "worker": 3})),
            "goes on behind its end",
        ),
        (|story| story.hand_off(2, 3), "was never accepted"),
        (
            |story| {
                story.accept(2, 50_000, 3);
                story.hand_off(2, 3);
                story.hand_off(2, 4);
            },
            "was handed to two workers at once",
        ),
        (
            |story| {
                story.accept(2, 50_000, 3);
                story.hand_off(2, 3);
                story.step(4, 2, "acked", json!({"handoff": 2, "worker": 4}));
            },
            "was answered by a worker that did not have it",
        ),
    ];
    for (spoil, what) in table {
        let mut story = good();
        spoil(&mut story);
        let (load, events) = story.told();
        let findings = judged(&load, &events);
        let told = findings
            .breaches
            .examples
            .iter()
            .any(|breach| breach.ends_with(what));
        assert!(told, "`{what}` is not among:\n{findings}");
        assert_ne!(findings.verdict(), Verdict::Pass);
    }
}

#[test]
fn a_connection_may_take_several_attempts() {
    let mut story = Story::accepted();
    story.hand_off(1, 1);
    story.step(2, 1, "rejected", json!({"handoff": 1, "worker": 3}));
    story.step(2, 1, "requeued", json!({"handoff": 1, "worker": 3}));
    story.step(2, 1, "handed_off", json!({"handoff": 2, "worker": 4}));
    story.step(3, 1, "requeued", json!({"handoff": 2, "worker": 4}));
    story.step(3, 1, "handed_off", json!({"handoff": 3, "worker": 5}));
    story.step(4, 1, "acked", json!({"handoff": 3, "worker": 5}));
    story.request(5, "ok");
    story.connection(1, (0, 5), Some(5));
    let (load, events) = story.told();
    let findings = judged(&load, &events);
    assert_eq!(findings.verdict(), Verdict::Pass, "{findings}");
}

#[test]
fn an_answer_before_any_ack_breaks_the_promise() {
    let mut story = Story::accepted();
    story.hand_off(1, 1);
    story.request(4, "ok");
    let findings = story.judged(5);
    assert_eq!(findings.verdict(), Verdict::Fail, "{findings}");
}
