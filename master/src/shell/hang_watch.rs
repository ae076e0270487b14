//! Looks at workers that owe acks, so that the supervisor can tell the hung from the busy.

use std::time::{Duration, Instant};

use maitred_core::id::WorkerId;
use maitred_core::supervise::{Activity, Fact, Probe, look_pause};

use super::master::Master;

impl Master {
    /// Looks at whoever has owed an ack for a while, and sets the hour of the next look.
    ///
    /// Costs nothing while nobody owes: a look is only planned while something is in flight,
    /// or while the kernel spreads connections, for it does not say when one comes.
    pub(super) fn watch_for_hangs(&mut self, now: Instant) {
        let patience = self.supervisor.limits().ack_timeout;
        if patience.is_zero() {
            return;
        }
        let pause = look_pause(patience);
        if self.look_at.is_none_or(|look_at| look_at > now) {
            if self.look_at.is_none() && self.may_owe() {
                self.look_at = now.checked_add(pause);
            }
            return;
        }
        self.look_at = None;
        let owing = self.owing(now);
        let due = owing
            .values()
            .filter_map(|since| since.checked_add(patience));
        // At the very end of the earliest patience, and in steps before it.
        let end = due.filter(|due| *due > now).min();
        if self.may_owe() {
            self.look_at = [end, now.checked_add(pause)].into_iter().flatten().min();
        }
        for (worker, since) in owing {
            self.look_at_worker(now, worker, now.saturating_duration_since(since));
        }
    }

    /// Returns whether anybody can owe anything.
    fn may_owe(&mut self) -> bool {
        !self.connections.is_empty() || self.servers.groups().next().is_some()
    }

    fn look_at_worker(&mut self, now: Instant, worker: WorkerId, unanswered_for: Duration) {
        // A process that cannot be looked at has just ended, which is reported elsewhere.
        let Some((activity, cpu)) = look(self.pid_of(worker)) else {
            return;
        };
        let probe = Probe {
            unanswered_for,
            activity,
            cpu,
        };
        self.supervise(now, Fact::Probed { worker, probe });
    }
}

/// Returns what a process does and how much CPU it has used, in clock ticks.
fn look(pid: u32) -> Option<(Activity, u64)> {
    let process = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (state, cpu) = parse(&process)?;
    if matches!(state, 'T' | 't') {
        return Some((Activity::Stopped, cpu));
    }
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let wants_cpu = tasks.flatten().any(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat"));
        stat.is_ok_and(|stat| parse(&stat).is_some_and(|(state, _)| state == 'R'))
    });
    let activity = if wants_cpu {
        Activity::Running
    } else {
        Activity::Waiting
    };
    Some((activity, cpu))
}

/// Reads the state and the CPU time out of a `stat` file (proc_pid_stat(5)).
fn parse(stat: &str) -> Option<(char, u64)> {
    /// Places of the state, `utime` and `stime`, counted after the name.
    const FIELDS: [usize; 3] = [0, 11, 12];
    // The name is in parentheses and may itself contain some.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let [state, user, system] = FIELDS.map(|field| fields.get(field).copied());
    let cpu = user?.parse::<u64>().ok()? + system?.parse::<u64>().ok()?;
    Some((state?.chars().next()?, cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = "12 (a) b (c) T 1 12 12 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 100 1 1";
        assert_eq!(parse(line), Some(('T', 12)));
        assert_eq!(parse("12 (cut"), None);
    }

    #[test]
    fn this_process_runs() {
        let (activity, _) = look(std::process::id()).unwrap();
        assert_eq!(activity, Activity::Running);
    }
}
