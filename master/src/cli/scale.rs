//! `maitred scale`: another number of workers.

use std::process::ExitCode;

use clap::Args;

use super::Misuse;
use super::ask::{Form, route_to, subject, subject_or_only_app};
use crate::control::api::{ScaleRequest, Scaled, route};
use crate::control::client::Client;
use crate::control::name::{Subject, Target};
use crate::control::refusal::Refusal;

/// Change how many workers an app has, while it serves.
///
/// Workers that are too many finish what they serve. Nothing is waited for: `ls` shows how far
/// it is.
#[derive(Debug, Args)]
#[command(override_usage = "maitred scale [OPTIONS] [APP] <N|+N|-N|max>")]
pub(crate) struct ScaleArguments {
    /// The app's name or `all`, which may be left out if there is only one; then how many
    /// workers: a number, so many more or fewer, or one a processor
    #[arg(required = true, num_args = 1..=2, value_name = "APP> <N|+N|-N|max",
        allow_negative_numbers = true)]
    words: Vec<String>,

    #[command(flatten)]
    form: Form,
}

impl ScaleArguments {
    fn read(&self) -> Result<(Option<Subject>, Target), Misuse> {
        let (app, to) = match self.words.as_slice() {
            [to] => (None, to),
            [app, to] => (Some(subject(app).map_err(Misuse)?), to),
            // clap lets nothing else through.
            _ => return Err(Misuse("give an app and a number of workers".into())),
        };
        Ok((app, to.parse().map_err(Misuse)?))
    }
}

/// Scales.
///
/// # Errors
///
/// [`Misuse`], and those of asking.
pub(super) fn run(arguments: &ScaleArguments) -> anyhow::Result<ExitCode> {
    let (app, to) = arguments.read()?;
    let scaled = Client::new().and_then(|client| scale(&client, app, to));
    arguments.form.tell(scaled, in_words)?;
    Ok(ExitCode::SUCCESS)
}

fn scale(client: &Client, app: Option<Subject>, to: Target) -> Result<Scaled, Refusal> {
    let app = subject_or_only_app(client, app)?;
    client.post(&route_to(route::SCALE, &app), &ScaleRequest { to })
}

fn in_words(scaled: &Scaled) -> String {
    let lines = scaled.scaled.iter();
    let lines: Vec<String> = lines
        .map(|row| match row.to {
            1 => format!("{}: 1 worker, it had {}", row.name, row.from),
            to => format!("{}: {to} workers, it had {}", row.name, row.from),
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        scale: ScaleArguments,
    }

    fn read(line: &str) -> Result<(Option<Subject>, Target), String> {
        let words = format!("scale {line}");
        let line = Line::try_parse_from(words.split_whitespace());
        let line = line.map_err(|error| error.to_string())?;
        line.scale.read().map_err(|error| error.to_string())
    }

    #[test]
    fn the_number_comes_last_and_the_app_may_be_left_out() {
        let shop = || Some(Subject::App("shop".parse().unwrap()));
        assert_eq!(read("3"), Ok((None, Target::Exactly(3))));
        assert_eq!(read("-1"), Ok((None, Target::Fewer(1))));
        assert_eq!(read("shop +2"), Ok((shop(), Target::More(2))));
        assert_eq!(read("shop -2"), Ok((shop(), Target::Fewer(2))));
        assert_eq!(
            read("all max --json"),
            Ok((Some(Subject::All), Target::Max))
        );
        for line in ["", "shop", "shop 0", "3 shop", "sh/op 3", "a 1 2"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
