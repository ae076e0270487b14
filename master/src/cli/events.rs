//! What happens, one line each: the words for people. `journal.rs` writes the lines.

use std::collections::BTreeSet;

use clap::ValueEnum;
use maitred::{Event, WorkerId};

use super::story::without_name;

/// Longest sentence that people are shown, in characters: about three lines of a terminal.
/// Only workers' messages are longer; programs get all of them.
const SHOWN_MAX: usize = 240;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Sentences.
    Text,
    /// One JSON object a line.
    Json,
}

/// Says what comes next. Remembers just enough to know.
#[derive(Debug, Default)]
pub(super) struct Teller {
    /// Who has listened, and lives. Whoever dies without it did not come up.
    listened: BTreeSet<WorkerId>,
    is_shutting_down: bool,
}

impl Teller {
    /// Puts an event into one line: what happened, and the next step where there is one. What
    /// a worker printed last, if that explains it, stands in lines of its own below.
    pub(super) fn tell(&mut self, event: &Event) -> String {
        let next = self.next_step(event);
        let line = format!("{}{next}", shorten(&event.to_string()));
        // A worker's path or the system's words may hold anything.
        let mut told = line.replace(char::is_control, " ");
        for line in event.last_lines() {
            told += "\n    | ";
            told += &shorten(without_name(line)).replace(char::is_control, " ");
        }
        told
    }

    fn next_step(&mut self, event: &Event) -> String {
        match event.name() {
            "listening" => self
                .listened
                .extend(event.process().map(|(worker, _)| worker)),
            "shutting_down" => self.is_shutting_down = true,
            _ => {}
        }
        if let Event::Exit {
            worker,
            exited_after_disconnect,
            ..
        } = event
        {
            let listened = self.listened.remove(worker);
            return self.after_exit(listened, *exited_after_disconnect).into();
        }
        if let Event::BackingOff { delay_ms, .. } = event {
            return format!("; it tries again in {delay_ms} ms");
        }
        if let Event::ListenFailed { errno, .. } = event {
            return advice(*errno).into();
        }
        if let Event::CutAtDeadline { cut, .. } = event
            && !cut.is_loss()
        {
            return "; it is ended".into();
        }
        after(event.name()).into()
    }

    fn after_exit(&self, listened: bool, exited_after_disconnect: bool) -> &'static str {
        match (listened, exited_after_disconnect, self.is_shutting_down) {
            (_, true, true) => ", as it was asked to",
            (_, true, false) => ", as it was asked to or wanted to",
            (_, false, true) => "",
            (true, false, false) => "; another takes its place",
            // Its slot's next attempt has an event of its own.
            (false, false, false) => " before it listened",
        }
    }
}

/// Returns the next step after events that always have the same.
fn after(name: &str) -> &'static str {
    match name {
        "ready" => "; Ctrl-C drains and ends",
        "not_listening" => "; it is left alone, and `maitred restart` replaces it",
        "accept_paused" => "; it tries again shortly",
        "breached" => "; it is killed",
        "errored" => "; mend its program, then restart it",
        "cut_at_deadline" => "; a longer --drain-timeout would give it more time",
        "shutting_down" => ": workers finish what they serve; a second signal ends at once",
        _ => "",
    }
}

/// Returns what to do about a listen that failed, where that is known.
pub(crate) fn advice(errno: i32) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(errno) {
        Errno::ADDRINUSE => "; choose another port, or end who has it (ss -ltnp tells)",
        Errno::ACCESS => "; choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
        Errno::ADDRNOTAVAIL => "; choose an address of this machine (ip address lists them)",
        _ => "",
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use maitred::{ExitStatus, ServerId, SlotId};
    use serde_json::json;

    use super::*;

    const WORKER: WorkerId = WorkerId(3);

    fn listening() -> Event {
        Event::Listening {
            worker: WORKER,
            pid: 4242,
            address: "127.0.0.1:5000".into(),
        }
    }

    fn exit(exited_after_disconnect: bool) -> Event {
        Event::Exit {
            worker: WORKER,
            pid: 4242,
            status: ExitStatus::code(1),
            exited_after_disconnect,
        }
    }

    #[test]
    fn an_end_is_told_with_what_comes_next() {
        let mut teller = Teller::default();
        let died = teller.tell(&exit(false));
        assert_eq!(
            died,
            "worker 3 (pid 4242) exited with code 1 before it listened"
        );
        assert_eq!(
            teller.tell(&listening()),
            "worker 3 (pid 4242) listens on 127.0.0.1:5000"
        );
        let died = teller.tell(&exit(false));
        assert_eq!(
            died,
            "worker 3 (pid 4242) exited with code 1; another takes its place"
        );
        let left = teller.tell(&exit(true));
        assert!(left.ends_with("as it was asked to or wanted to"), "{left}");
        teller.tell(&Event::ShuttingDown);
        assert_eq!(
            teller.tell(&exit(false)),
            "worker 3 (pid 4242) exited with code 1"
        );
    }

    #[test]
    fn what_comes_next_is_told_where_it_is_known() {
        let (worker, pid, slot) = (WORKER, 4242, SlotId(2));
        let backing_off = Event::BackingOff {
            slot,
            delay_ms: 200,
            failures: 2,
        };
        let listen_failed = Event::ListenFailed {
            worker,
            pid,
            errno: 98,
            reason: "in use".into(),
        };
        for (event, line) in [
            (
                backing_off,
                "slot 2 did not come up, 2 in a row; it tries again in 200 ms",
            ),
            (
                listen_failed,
                "worker 3 (pid 4242) cannot listen: in use; choose another port, or end who \
                 has it (ss -ltnp tells)",
            ),
            (
                Event::NotListening {
                    worker,
                    pid,
                    after_ms: 3000,
                    listens: false,
                },
                "worker 3 (pid 4242) does not listen yet after 3s; it is left alone, and `maitred \
                 restart` replaces it",
            ),
            (
                Event::NotListening {
                    worker,
                    pid,
                    after_ms: 3000,
                    listens: true,
                },
                "worker 3 (pid 4242) has not said that it is ready yet after 3s; it is left alone, \
                 and `maitred restart` replaces it",
            ),
            (
                Event::Ready { workers: 4 },
                "ready: all 4 workers listen; Ctrl-C drains and ends",
            ),
            (
                Event::Fork { worker, slot, pid },
                "worker 3 (pid 4242) is started in slot 2",
            ),
        ] {
            assert_eq!(Teller::default().tell(&event), line);
        }
    }

    #[test]
    fn a_slot_that_is_given_up_is_told_with_what_its_worker_printed_last() {
        let mut event = Event::Errored {
            slot: SlotId(2),
            worker: WORKER,
            status: Some(ExitStatus::code(1)),
            failures: 16,
            last_lines: vec!["2:3 | no \x1bdatabase".into(), "2:3 | a | b".into()],
        };
        assert_eq!(
            Teller::default().tell(&event),
            "slot 2 is given up: worker 3 exited with code 1, 16 failures in a row; mend its \
             program, then restart it\n    | no  database\n    | a | b"
        );
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(
            json,
            json!({"event": "errored", "slot": 2, "worker": 3, "code": 1, "signal": null,
                "failures": 16, "last_lines": ["2:3 | no \u{1b}database", "2:3 | a | b"]})
        );
        if let Event::Errored { status, .. } = &mut event {
            *status = None;
        }
        let told = event.to_string();
        assert!(told.contains("worker 3 could not be started"), "{told}");
    }

    #[test]
    fn a_sentence_is_one_line_whatever_it_is_about() {
        let told = Teller::default().tell(&Event::ServerOpened {
            server: ServerId(1),
            address: "/tmp/a\nb".into(),
        });
        assert_eq!(told, "server l1 is open on /tmp/a b");
    }

    #[test]
    fn a_long_message_is_shortened_for_people() {
        let message = json!("ä".repeat(1000));
        let told = Teller::default().tell(&Event::Message {
            worker: WORKER,
            pid: 1,
            message,
        });
        assert!(told.ends_with('…') && told.chars().count() < 300, "{told}");
    }
}
