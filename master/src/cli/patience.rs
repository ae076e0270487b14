//! How patient a run is: the options about waits, retries and endings of workers.

use std::time::Duration;

use clap::{Args, value_parser};
use maitred::{Dialect, ExitCodes, KEEPALIVE_GRACE, Limits};

use super::{Misuse, duration, signals};

/// How long a new Node worker may take to listen: frameworks load thousands of files, and on a
/// loaded machine take seconds.
const NODE_LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for workers, and how often to try.
#[derive(Debug, Args)]
pub(super) struct PatienceArguments {
    /// How long workers may finish what they serve, such as 500ms, 30s or 2m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    drain_timeout: Option<Duration>,

    /// How long an idle connection may stay while its worker drains [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    keepalive_grace: Option<Duration>,

    /// How long a worker may take to exit when it is made to, before SIGKILL [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    kill_timeout: Option<Duration>,

    /// The wait after a worker that ended before it was ready; it doubles [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    backoff_initial: Option<Duration>,

    /// The longest such wait [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    backoff_max: Option<Duration>,

    /// Such failures in a row after which a slot is given up [default: 16]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    max_boot_failures: Option<u32>,

    /// A worker is ready when it sends the message "ready", and not when it listens
    #[arg(long)]
    wait_ready: bool,

    /// How long a new worker may take to be ready before a reload fails, or it is told
    /// [default: 3s, of Node 10s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    listen_timeout: Option<Duration>,

    /// How long a worker may sleep, or be stopped, while it owes an ack; 0: for ever [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    ack_timeout: Option<Duration>,

    /// How long a worker may leave a ping unanswered; 0: for ever [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    heartbeat_timeout: Option<Duration>,

    /// What a worker gets that passed its drain deadline [default: SIGTERM]
    #[arg(long, value_name = "SIGNAL", value_parser = signals::parse)]
    kill_signal: Option<i32>,

    /// Exit codes of a worker that mean: do not start me again (such as 0,64)
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    stop_exit_codes: Vec<u8>,

    /// Stay even when every worker was given up or stopped, for a `restart`
    #[arg(long)]
    stay: bool,
}

impl PatienceArguments {
    /// Returns the limits that were asked for.
    pub(super) fn limits(&self, dialect: Dialect) -> Limits {
        let mut default = Limits::default();
        if dialect == Dialect::Node {
            default.listen_timeout = NODE_LISTEN_TIMEOUT;
        }
        Limits {
            drain_timeout: self.drain_timeout.unwrap_or(default.drain_timeout),
            kill_timeout: self.kill_timeout.unwrap_or(default.kill_timeout),
            stay_when_errored: self.stay,
            backoff_initial: self.backoff_initial.unwrap_or(default.backoff_initial),
            backoff_max: self.backoff_max.unwrap_or(default.backoff_max),
            max_boot_failures: self.max_boot_failures.unwrap_or(default.max_boot_failures),
            wait_ready: self.wait_ready,
            listen_timeout: self.listen_timeout.unwrap_or(default.listen_timeout),
            ack_timeout: self.ack_timeout.unwrap_or(default.ack_timeout),
            heartbeat_timeout: self.heartbeat_timeout.unwrap_or(default.heartbeat_timeout),
            kill_signal: self.kill_signal.unwrap_or(default.kill_signal),
            stop_codes: (self.stop_exit_codes.iter())
                .fold(ExitCodes::NONE, |codes, code| codes.with(*code)),
            ..default
        }
    }

    /// Makes sure that the first wait of a backoff is not longer than the longest.
    pub(super) fn check_backoff(&self) -> Result<(), Misuse> {
        let longest = self.limits(Dialect::Native).backoff_max;
        match self.backoff_initial {
            Some(first) if first > longest => Err(Misuse(format!(
                "the initial backoff of {first:?} must not be longer than the longest of \
                 {longest:?}; see --backoff-max"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the grace of idle connections. It ends before the drain does, or every idle
    /// connection would be reported as cut.
    pub(super) fn grace(&self) -> Result<Duration, Misuse> {
        let drain_timeout = self.limits(Dialect::Native).drain_timeout;
        match self.keepalive_grace {
            Some(grace) if grace >= drain_timeout && !grace.is_zero() => Err(Misuse(format!(
                "the keep-alive grace of {grace:?} must be shorter than the drain timeout of \
                 {drain_timeout:?}"
            ))),
            Some(grace) => Ok(grace),
            None => Ok(KEEPALIVE_GRACE.min(drain_timeout / 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        patience: PatienceArguments,
    }

    fn grace(options: &[&str]) -> Result<Duration, Misuse> {
        let line = Line::parse_from([&["run"], options].concat());
        line.patience.grace()
    }

    #[test]
    fn the_grace_lies_within_the_drain_timeout() {
        let seconds = Duration::from_secs;
        assert_eq!(grace(&[]).unwrap(), KEEPALIVE_GRACE);
        let short = grace(&["--drain-timeout", "2s"]);
        assert_eq!(short.unwrap(), seconds(1));
        let just = grace(&["--keepalive-grace", "9s", "--drain-timeout", "10s"]);
        assert_eq!(just.unwrap(), seconds(9));
        let none = grace(&["--keepalive-grace", "0", "--drain-timeout", "0"]);
        assert_eq!(none.unwrap(), seconds(0));
        let refusal = grace(&["--keepalive-grace", "10s", "--drain-timeout", "10s"]);
        assert!(refusal.unwrap_err().to_string().contains("shorter"));
    }

    #[test]
    fn the_initial_backoff_is_not_longer_than_the_longest() {
        let check = |options: &[&str]| {
            let line = Line::parse_from([&["run"], options].concat());
            line.patience.check_backoff()
        };
        for sound in [
            &[][..],
            &["--backoff-max", "10ms"],
            &["--backoff-initial", "1s", "--backoff-max", "1s"],
        ] {
            check(sound).unwrap();
        }
        for wrong in [
            &["--backoff-initial", "20s"][..],
            &["--backoff-initial", "2s", "--backoff-max", "1s"],
        ] {
            let refusal = check(wrong).unwrap_err().to_string();
            assert!(refusal.contains("--backoff-max"), "{refusal}");
        }
    }

    #[test]
    fn signals_and_codes_are_read_as_people_write_them() {
        for text in ["SIGINT", "int", "2"] {
            let line = Line::parse_from(["run", "--kill-signal", text]);
            assert_eq!(line.patience.limits(Dialect::Native).kill_signal, 2);
        }
        assert!(Line::try_parse_from(["run", "--kill-signal", "SIGNOTHING"]).is_err());
        let line = Line::parse_from(["run", "--stop-exit-codes", "0,64"]);
        let codes = line.patience.limits(Dialect::Native).stop_codes;
        assert_eq!(codes, ExitCodes::NONE.with(0).with(64));
    }
}
