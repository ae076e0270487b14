//! What the commands that speak to a running master have in common.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::control::api::{Apps, route};
use crate::control::client::Client;
use crate::control::name::Subject;
use crate::control::refusal::{Kind, Refusal, RefusalAnswer};

/// How the answer is written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Form {
    /// Answer with JSON, one value a line, as the control socket does
    #[arg(long)]
    json: bool,
}

impl Form {
    /// Returns whether a program will read the answer.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Writes an answer, or passes a refusal on; a program gets that as an answer, too.
    ///
    /// # Errors
    ///
    /// The refusal, and that of writing.
    pub(crate) fn tell<T: Serialize>(
        self,
        answer: Result<T, Refusal>,
        in_words: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<T> {
        if self.json {
            let line = match &answer {
                Ok(answer) => json(answer),
                Err(error) => json(&RefusalAnswer {
                    error: error.clone(),
                }),
            };
            unless_closed(write_line(&mut io::stdout(), &line))?;
        } else if let Ok(answer) = &answer {
            unless_closed(write_line(&mut io::stdout(), &in_words(answer)))?;
        }
        Ok(answer?)
    }
}

fn json(value: &impl Serialize) -> String {
    // Only named fields and JSON values, which can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// Writes a line, and sees to it that it is not only kept for later.
///
/// # Errors
///
/// Those of writing.
pub(crate) fn write_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{text}")?;
    out.flush()
}

/// Passes on that an answer could not be written, unless its reader closed the pipe: that one
/// does not want to know any more.
///
/// # Errors
///
/// Every other error.
pub(crate) fn unless_closed(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("the answer cannot be written")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads what a command is about, before any master is asked.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn subject(typed: &str) -> Result<Subject, String> {
    typed.parse()
}

/// Returns what a command is about; if it does not say, the only app there is.
///
/// # Errors
///
/// Those of asking, and that there are several.
pub(crate) fn subject_or_only_app(
    client: &Client,
    subject: Option<Subject>,
) -> Result<Subject, Refusal> {
    if let Some(subject) = subject {
        return Ok(subject);
    }
    let Apps { apps } = client.get(route::APPS)?;
    match <[_; 1]>::try_from(apps) {
        Ok([only]) => Ok(Subject::App(only.name)),
        Err(apps) if apps.is_empty() => Err(Refusal::new(Kind::NoSuchApp, "there is no app")),
        Err(apps) => {
            let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
            let message = format!("say which app: {}, or all", names.join(", "));
            Err(Refusal::new(Kind::BadRequest, message))
        }
    }
}

/// Returns the route to what a command is about.
pub(crate) fn route_to(route: &str, subject: &Subject) -> String {
    // Every subject is made of characters that stand for themselves in a URL.
    route.replace("{app}", &subject.to_string())
}

/// Returns the exit code of an act that was done but may have cut connections.
pub(crate) fn code(has_cut: bool) -> ExitCode {
    if has_cut {
        ExitCode::from(super::FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is_one() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let failure = unless_closed(write_line(&mut full, "answer")).unwrap_err();
        assert!(
            format!("{failure:#}").contains("No space left"),
            "{failure:#}"
        );
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let written = write_line(&mut ours, "answer");
        assert_eq!(
            written.as_ref().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        unless_closed(written).unwrap();
    }
}
