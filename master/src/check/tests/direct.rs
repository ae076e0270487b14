//! Where workers accept for themselves: the weaker promise, with the smallest pair of records.

use super::*;

/// A connection of which the master knows nothing, and on which this came of a request.
fn failed(outcome: &str, ms: u64, change: impl Fn(&mut Story)) -> Findings {
    let mut story = Story::default();
    story.request(ms, outcome);
    change(&mut story);
    story.connection(1, (0, ms), None);
    told(story)
}

fn told(story: Story) -> Findings {
    let (load, events) = story.told();
    let demands = Demands {
        min_connections: 0,
        slack: Duration::from_millis(100),
        workers_accept: true,
    };
    check(load.as_bytes(), events.as_bytes(), demands).unwrap()
}

#[test]
fn what_only_a_worker_knows_is_no_doubt() {
    let mut story = Story::default();
    story.request(4, "ok");
    story.connection(1, (0, 5), Some(3));
    let findings = told(story.clone());
    assert_eq!(findings.verdict(), Verdict::Pass, "{findings}");
    assert_eq!((findings.joined, findings.direct), (0, 1));
    // Under the stronger promise it is one.
    let (load, events) = story.told();
    assert_eq!(judged(&load, &events).verdict(), Verdict::Inconclusive);
}

#[test]
fn who_is_refused_or_never_answered_was_in_a_queue_and_is_lost() {
    for outcome in ["refused", "timeout"] {
        let findings = failed(outcome, 50, |story| story.exit(50, None, false));
        assert_class(&findings, Class::NeverAcked);
    }
}

#[test]
fn a_connection_that_breaks_shares_the_fate_of_a_worker_that_dies_at_that_moment() {
    for (exit, class) in [
        (Some(40), Class::WorkerDied),
        (Some(149), Class::WorkerDied),
        (Some(151), Class::Other),
        (None, Class::Other),
    ] {
        let findings = failed("reset_before_answer", 50, |story| {
            if let Some(ms) = exit {
                story.exit(ms, None, false);
            }
        });
        assert_class(&findings, class);
    }
    // Long after it, somebody else must have broken it.
    let late = |story: &mut Story| story.exit(50, None, false);
    assert_class(&failed("reset_before_answer", 500, late), Class::Other);
    let leaves = |story: &mut Story| story.exit(50, Some(0), true);
    assert_class(&failed("reset_before_answer", 50, leaves), Class::Other);
    let cut = |story: &mut Story| story.event(49, "cut_at_deadline", json!({"worker": 3}));
    assert_class(&failed("closed_before_answer", 50, cut), Class::Cut);
    assert_class(&failed("bad_answer", 50, late), Class::Other);
}

#[test]
fn who_had_answered_before_is_the_one_whose_fate_counts() {
    for (worker, class) in [(3, Class::WorkerDied), (4, Class::Other)] {
        let mut story = Story::default();
        story.request(4, "ok");
        story.request(50, "reset_before_answer")["number"] = 2.into();
        story.exit(50, None, false);
        story.connection(1, (0, 50), Some(worker));
        assert_class(&told(story), class);
    }
}

#[test]
fn what_the_master_did_have_is_held_against_the_stronger_promise() {
    let mut story = Story::accepted();
    story.hand_off(1, 1);
    story.exit(50, None, false);
    story.request(50, "reset_before_answer");
    story.connection(1, (0, 50), None);
    assert_class(&told(story), Class::NeverAcked);
}
