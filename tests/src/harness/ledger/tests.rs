//! That the closing check notices what it is for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;

use super::*;

/// Writes down steps of connection 1 and worker 7, as (name, time); returns the complaint.
fn complaint(steps: &[(&str, u64)], has_ended_well: bool) -> Option<String> {
    let mut ledger = Ledger::default();
    for (name, at) in steps {
        let mut event = json!({ "event": name, "monotonic_ns": at, "worker": 7, "count": 1 });
        if !["exit", "lost", "dropped"].contains(name) {
            event["connection"] = 1.into();
            event["handoff"] = 5.into();
        }
        ledger.take(&event);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| ledger.assert_sound(has_ended_well)));
    outcome.err().map(|panic| *panic.downcast().unwrap())
}

fn assert_complains(steps: &[(&str, u64)], of: &str) {
    let complaint = complaint(steps, true).unwrap();
    assert!(complaint.contains(of), "{complaint}");
}

const ACCEPTED: (&str, u64) = ("accepted", 1);
const HANDED_OFF: (&str, u64) = ("handed_off", 2);

#[test]
fn what_was_served_or_taken_back_and_refused_is_sound() {
    let served = [ACCEPTED, HANDED_OFF, ("acked", 3), ("exit", 4)];
    assert_eq!(complaint(&served, true), None);
    let refused = [
        ACCEPTED,
        HANDED_OFF,
        ("exit", 3),
        ("requeued", 3),
        ("refused", 4),
    ];
    assert_eq!(complaint(&refused, true), None);
    // A master that was killed says no more of what it held.
    assert_eq!(complaint(&[ACCEPTED, HANDED_OFF], false), None);
}

#[test]
fn what_does_not_add_up_is_told() {
    assert_complains(&[ACCEPTED], "still held");
    assert_complains(&[ACCEPTED, ACCEPTED, ("refused", 3)], "accepted twice");
    assert_complains(&[HANDED_OFF], "never accepted");
    assert_complains(
        &[ACCEPTED, ("refused", 2), ("refused", 3)],
        "behind its end",
    );
    assert_complains(&[ACCEPTED, HANDED_OFF, HANDED_OFF, ("acked", 3)], "had it");
    assert_complains(&[ACCEPTED, HANDED_OFF, ("acked", 3), ("exit", 2)], "gone");
    assert_complains(&[ACCEPTED, ("dropped", 2)], "dropped");
}

#[test]
fn what_a_dead_worker_holds_is_told_also_of_a_master_that_was_killed() {
    let complaint = complaint(&[ACCEPTED, HANDED_OFF, ("exit", 3)], false);
    assert!(complaint.unwrap().contains("still held"));
}
