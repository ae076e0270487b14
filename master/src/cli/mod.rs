//! The command line: what can be asked, and how a refusal reads.
//!
//! Every mistake of the user is one line that says what is wrong and what would be right, and
//! exit code 2; no such app or worker is 3, no master is 4, and every other failure 1. A family
//! of commands is a file of its own. All but `run`, `bench`, `replay` and `check-loss` ask a
//! running master over its control socket, and know nothing of it but what that says.

mod ask;
mod bench;
mod change;
mod check_loss;
mod duration;
mod events;
mod follow;
mod instances;
mod journal;
mod launch;
mod ls;
mod patience;
mod ping;
mod policies;
mod program;
mod replay;
mod run;
mod scale;
mod signals;
mod spread;
mod story;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::control::refusal::Refusal;
use crate::demo;

/// It failed, or connections were cut at the drain deadline.
const FAILED: u8 = 1;

/// Bad usage or configuration: nothing was started, or nothing is left of it.
const MISUSED: u8 = 2;

/// Hands every connection to the next worker process, as Node's cluster does.
#[derive(Debug, Parser)]
#[command(name = "maitred", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::RunArguments>),
    Ls(ls::LsArguments),
    Scale(scale::ScaleArguments),
    Canary(change::CanaryArguments),
    /// Replace all workers by such as the canaries are, which then leave.
    Promote(change::ChangeArguments),
    /// Drain the canaries; all is as it was before them.
    Withdraw(change::ChangeArguments),
    Policy(spread::PolicyArguments),
    Weigh(spread::WeighArguments),
    Reload(change::ReloadArguments),
    /// Drain workers and start others in their slots, from the program that is on disk now.
    Restart(change::ChangeArguments),
    /// Drain an app's workers and close its listeners; `restart` starts it again.
    Stop(change::ChangeArguments),
    /// Set an app's counters to zero.
    Reset(change::ChangeArguments),
    Events(follow::EventsArguments),
    Ping(ping::PingArguments),
    Kill(ping::KillArguments),
    Bench(Box<bench::BenchArguments>),
    Replay(replay::ReplayArguments),
    CheckLoss(check_loss::CheckLossArguments),
    /// Serve what `run` serves without a program; as its worker, or alone.
    #[command(name = demo::COMMAND, hide = true)]
    Demo(demo::DemoArguments),
}

/// A mistake of whoever typed the command, in words that help to mend it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(String);

/// Reads the command line.
///
/// # Errors
///
/// The exit code, after everything was said: that of bad usage, or 0 after `--help`.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    Arguments::try_parse().map_err(|error| {
        let wants_help = matches!(
            error.kind(),
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        );
        if wants_help {
            // Whoever closed our output does not want the help any more.
            error.print().unwrap_or_default();
        } else {
            complain(&one_line(&error.to_string()));
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(MISUSED))
    })
}

/// Does what was asked.
///
/// # Errors
///
/// Whatever went wrong; [`report`] says it and knows the exit code.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Run(arguments) => run::run(*arguments),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Scale(arguments) => scale::run(&arguments),
        Command::Canary(arguments) => change::canary(&arguments),
        Command::Promote(arguments) => change::promote(&arguments),
        Command::Withdraw(arguments) => change::withdraw(&arguments),
        Command::Policy(arguments) => spread::policy(&arguments),
        Command::Weigh(arguments) => spread::weigh(&arguments),
        Command::Reload(arguments) => change::reload(&arguments),
        Command::Restart(arguments) => change::restart(&arguments),
        Command::Stop(arguments) => change::stop(&arguments),
        Command::Reset(arguments) => change::reset(&arguments),
        Command::Events(arguments) => follow::run(&arguments),
        Command::Ping(arguments) => ping::ping(&arguments),
        Command::Kill(arguments) => ping::kill(&arguments),
        Command::Bench(arguments) => bench::run(*arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::CheckLoss(arguments) => check_loss::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    }
}

/// Says what went wrong, and returns the exit code for it.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    complain(&format!("{error:#}"));
    ExitCode::from(if let Some(refusal) = error.downcast_ref::<Refusal>() {
        refusal.exit_code
    } else if error.is::<Misuse>() {
        MISUSED
    } else {
        FAILED
    })
}

fn complain(message: &str) {
    // If even standard error is closed, the exit code has to do.
    writeln!(io::stderr(), "maitred: {message}").unwrap_or_default();
}

/// Returns clap's message, which has a paragraph for each thought, as one line.
fn one_line(message: &str) -> String {
    let thoughts = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Usage:"))
        .filter(|line| !line.starts_with("For more information"));
    let mut whole = String::new();
    for thought in thoughts {
        let joint = match whole.chars().next_back() {
            None => "",
            Some(':') => " ",
            Some(_) => "; ",
        };
        whole += joint;
        whole += thought.strip_prefix("error: ").unwrap_or(thought);
    }
    whole + "; see --help"
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What a user sees who types this: the line that is wrong.
    fn refusal(line: &str) -> String {
        let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
        one_line(&error.to_string())
    }

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_names_every_command_but_the_hidden_one() {
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("run "), "{help}");
        assert!(help.contains("bench "), "{help}");
        assert!(help.contains("replay "), "{help}");
        assert!(!help.contains(demo::COMMAND), "{help}");
    }

    #[test]
    fn help_of_run_names_every_option_and_its_default() {
        let mut command = Arguments::command();
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_help().to_string();
        for option in [
            "[PROGRAM] [-- <ARGS>...]",
            "-i, --instances <N>",
            "--policy <POLICY>",
            "--window <N>",
            "--pending-max <N>",
            "--drain-timeout <TIME>",
            "--keepalive-grace <TIME>",
            "--kill-timeout <TIME>",
            "--stay",
            "--events <FORMAT>",
            "--events-file <FILE>",
            "--trace <FILE>",
            "--listen <ADDR>",
            "--work <ITERATIONS>",
            "[default: max]",
            "[default: 127.0.0.1:5000]",
        ] {
            assert!(help.contains(option), "{option} is missing in:\n{help}");
        }
    }

    #[test]
    fn help_of_bench_names_every_option_and_its_default() {
        let mut command = Arguments::command();
        let bench = command.find_subcommand_mut("bench").unwrap();
        let help = bench.render_help().to_string();
        for option in [
            "<URL>",
            "-c, --connections <N>",
            "-p, --pipelining <N>",
            "-d, --duration <TIME>",
            "-a, --amount <N>",
            "-t, --timeout <TIME>",
            "--close",
            "-H, --header <HEADER>",
            "-m, --method <METHOD>",
            "-b, --body <BODY>",
            "--json <FILE>",
            "--record <FILE>",
            "[default: 10s]",
        ] {
            assert!(help.contains(option), "{option} is missing in:\n{help}");
        }
    }

    #[test]
    fn a_mistake_is_one_line_that_says_what_would_be_right() {
        for (line, wrong, right) in [
            ("maitred run -i many", "'many'", "1 to 1024"),
            ("maitred run -i 1025", "'1025'", "1 to 1024"),
            ("maitred run -i -2000", "'-2000'", "-N"),
            ("maitred run --window 0", "'0'", "1..=64"),
            ("maitred run --window 65", "'65'", "1..=64"),
            ("maitred run --policy best", "`best`", "`rr`, `least"),
            ("maitred run --events xml", "'xml'", "text, json"),
            ("maitred run --drain-timeout soon", "'soon'", "30s"),
            ("maitred run --listen here", "'here'", "127.0.0.1:5000"),
            ("maitred run --listen 127.0.0.1:70000", "70000", "65535"),
            ("maitred run ./app --work 5", "--work", "[PROGRAM]"),
            ("maitred run ./app --listen :80", "--listen", "[PROGRAM]"),
            ("maitred run --wndow 3", "--wndow", "--window"),
            ("maitred bench", "<URL>", "--help"),
            ("maitred bench 127.0.0.1:5000", "begins with", "http://127"),
            ("maitred bench https://a", "TLS", "http://127"),
            ("maitred bench http://a -c 0", "'0'", "1..=65536"),
            ("maitred bench http://a -p 1001", "'1001'", "1..=1000"),
            ("maitred bench http://a -d 0s", "'0s'", "10s"),
            ("maitred bench http://a -t soon", "'soon'", "30s"),
            ("maitred bench http://a -a 0", "'0'", "1.."),
            (
                "maitred bench http://a -a 9 -d 9s",
                "--amount",
                "--duration",
            ),
            (
                "maitred bench http://a --close -p 2",
                "--close",
                "--pipelining",
            ),
            ("maitred bench http://a -H Accept", "'Accept'", "text/html"),
            ("maitred bench http://a -H a(:b", "'a(:b'", "text/html"),
            ("maitred bench http://a -m G(T", "'G(T'", "GET"),
            ("maitred bench http://a -m connect", "'connect'", "GET"),
        ] {
            let refusal = refusal(line);
            assert_eq!(refusal.lines().count(), 1, "{line}: {refusal}");
            assert!(refusal.contains(wrong), "{line}: {refusal}");
            assert!(refusal.contains(right), "{line}: {refusal}");
        }
    }
}
