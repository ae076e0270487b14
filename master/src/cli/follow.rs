//! `maitred events`: what happens in a running master, as it happens.

use std::io;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::ask::{Form, unless_closed, write_line};
use crate::control::client::Client;

/// Show what happens in the running master, until Ctrl-C or its end.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    form: Form,
}

/// The part of an event that people read.
#[derive(Deserialize)]
struct Told {
    time: String,
    text: String,
}

/// Shows events.
///
/// # Errors
///
/// Those of asking.
pub(super) fn run(arguments: &EventsArguments) -> anyhow::Result<ExitCode> {
    let is_json = arguments.form.is_json();
    let mut written = Ok(());
    let followed = Client::new().and_then(|client| {
        client.follow(|event| {
            let line = if is_json {
                event.into()
            } else {
                in_words(event)
            };
            written = write_line(&mut io::stdout(), &line);
            // An error ends it, such as that our output was closed, as by `| head -1`.
            written
                .as_ref()
                .map_err(|error| error.kind().into())
                .copied()
        })
    });
    match followed {
        Ok(()) => unless_closed(written).map(|()| ExitCode::SUCCESS),
        refused => arguments
            .form
            .tell(refused, |()| String::new())
            .map(|()| ExitCode::SUCCESS),
    }
}

fn in_words(event: &str) -> String {
    let line = match serde_json::from_str(event) {
        Ok(Told { time, text }) => format!("{time} {text}"),
        // A master of another build; its words are better than none.
        Err(_) => event.into(),
    };
    // A worker's message or path may hold anything, also what a terminal would obey.
    line.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_that_no_terminal_obeys() {
        let event =
            r#"{"time":"2026-01-02T03:04:05Z","event":"message","text":"it says \u001b[2J\n"}"#;
        assert_eq!(in_words(event), "2026-01-02T03:04:05Z it says  [2J ");
        assert_eq!(in_words(r#"{"new":1}"#), r#"{"new":1}"#);
    }
}
