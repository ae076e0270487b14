//! Why nothing came up, or nothing does any more: what workers said before they ended.
//!
//! Most often all say the same, so those who do are named together.

use std::collections::BTreeMap;

use maitred::{Event, SlotId, WorkerId};

/// What became of the workers until the cluster was ready, and of slots that were given up.
///
/// Grows by one entry for each worker that ends; each slot starts only a limited number of
/// times before it is given up, and nothing of that is kept once the cluster is ready. Of the
/// slots there is one entry each.
#[derive(Debug, Default)]
pub(crate) struct Story {
    is_ready: bool,
    ends: BTreeMap<WorkerId, String>,
    /// The last worker of each slot that was given up.
    given_up: BTreeMap<SlotId, (WorkerId, String)>,
    /// The errno and the system's words of the last listen that failed.
    listen_failure: Option<(i32, String)>,
}

impl Story {
    /// Takes in an event.
    pub(crate) fn hear(&mut self, event: &Event) {
        self.hear_of_slots(event);
        if self.is_ready {
            return;
        }
        if let Event::Ready { .. } = event {
            *self = Self {
                is_ready: true,
                given_up: std::mem::take(&mut self.given_up),
                ..Self::default()
            };
        } else if let Event::Exit { worker, status, .. } = event {
            self.ends.insert(*worker, format!("exited with {status}"));
        } else if let Event::SpawnFailed { worker, reason } = event {
            let end = format!("could not be started: {reason}");
            self.ends.insert(*worker, end);
        } else if let Event::ListenFailed { errno, reason, .. } = event {
            self.listen_failure = Some((*errno, reason.clone()));
        }
    }

    fn hear_of_slots(&mut self, event: &Event) {
        if let Event::Errored {
            slot,
            worker,
            status,
            ..
        } = event
        {
            let end = match status {
                Some(status) => format!("exited with {status}"),
                None => "could not be started".to_owned(),
            };
            self.given_up.insert(*slot, (*worker, end));
        } else if let Event::Fork { slot, .. } = event {
            self.given_up.remove(slot);
        }
    }

    /// Returns the errno and the reason, if some worker could not listen.
    pub(crate) fn listen_failure(&self) -> Option<&(i32, String)> {
        self.listen_failure.as_ref()
    }

    /// Tells how each worker ended, with its last lines as `last_lines` knows them.
    pub(crate) fn tell(&self, last_lines: impl Fn(WorkerId) -> Vec<String>) -> String {
        tell_ends(&self.ends, last_lines)
    }

    /// Tells so of the last worker of each slot that was given up.
    pub(crate) fn tell_given_up(&self, last_lines: impl Fn(WorkerId) -> Vec<String>) -> String {
        let ends: BTreeMap<WorkerId, String> = self.given_up.values().cloned().collect();
        tell_ends(&ends, last_lines)
    }
}

fn tell_ends(
    ends: &BTreeMap<WorkerId, String>,
    last_lines: impl Fn(WorkerId) -> Vec<String>,
) -> String {
    let mut alike: BTreeMap<(&str, Vec<String>), Vec<String>> = BTreeMap::new();
    for (worker, end) in ends {
        let lines = last_lines(*worker)
            .iter()
            .map(|line| without_name(line).to_owned())
            .collect();
        let workers = alike.entry((end, lines)).or_default();
        workers.push(worker.0.to_string());
    }
    let mut told = String::new();
    for ((end, lines), workers) in alike {
        let workers = match workers.as_slice() {
            [one] => format!("worker {one}"),
            several => format!("workers {}", several.join(", ")),
        };
        let silent = if lines.is_empty() {
            " and printed nothing"
        } else {
            ""
        };
        told += &format!("\n  {workers} {end}{silent}");
        told.extend(lines.iter().map(|line| format!("\n    | {line}")));
    }
    told
}

/// Returns a worker's line without its slot and number, which differ where the lines do not.
pub(super) fn without_name(line: &str) -> &str {
    line.split_once(" | ").map_or(line, |(_, said)| said)
}

#[cfg(test)]
mod tests {
    use maitred::ExitStatus;

    use super::*;

    fn exit(worker: u32, code: i32) -> Event {
        Event::Exit {
            worker: WorkerId(worker),
            pid: 1,
            status: ExitStatus::code(code),
            exited_after_disconnect: false,
        }
    }

    #[test]
    fn workers_that_end_alike_are_named_together() {
        let mut story = Story::default();
        for event in [exit(1, 3), exit(2, 3), exit(3, 4)] {
            story.hear(&event);
        }
        let told = story.tell(|worker| match worker.0 {
            3 => Vec::new(),
            number => vec![format!("{}:{number} | no database | here", number - 1)],
        });
        assert_eq!(
            told,
            "\n  workers 1, 2 exited with code 3\n    | no database | here\
             \n  worker 3 exited with code 4 and printed nothing"
        );
    }

    #[test]
    fn nothing_is_kept_once_the_cluster_is_ready() {
        let mut story = Story::default();
        for event in [exit(1, 3), Event::Ready { workers: 1 }, exit(2, 3)] {
            story.hear(&event);
        }
        assert_eq!(story.tell(|_| Vec::new()), "");
    }

    #[test]
    fn slots_that_were_given_up_are_told_with_their_last_workers_words() {
        let errored = |slot, worker| Event::Errored {
            slot: SlotId(slot),
            worker: WorkerId(worker),
            status: Some(ExitStatus::code(3)),
            failures: 2,
            last_lines: Vec::new(),
        };
        let fork = Event::Fork {
            worker: WorkerId(9),
            slot: SlotId(0),
            pid: 1,
        };
        let mut story = Story::default();
        let ready = Event::Ready { workers: 2 };
        for event in [ready, errored(0, 5), errored(1, 6), fork] {
            story.hear(&event);
        }
        let told = story.tell_given_up(|worker| vec![format!("1:{} | no database", worker.0)]);
        assert_eq!(told, "\n  worker 6 exited with code 3\n    | no database");
        story.hear(&errored(0, 9));
        let told = story.tell_given_up(|_| Vec::new());
        assert_eq!(
            told,
            "\n  workers 6, 9 exited with code 3 and printed nothing"
        );
    }
}
