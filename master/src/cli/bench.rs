//! `maitred bench`: the load client's front.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::{FAILED, Misuse, duration};
use crate::bench::{self, CONNECTIONS_MAX, Length, Options, PIPELINING_MAX, Target, Think};

/// Put a server under load, and show how it fares.
///
/// So many connections each have so many requests in flight; when one is answered, the next is
/// sent. Nothing is tried again. When it is time, requests in flight are waited for; Ctrl-C
/// makes it time. Exit code 0 if every request was answered, 1 if one was not.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Where to, such as http://127.0.0.1:5000/
    url: Target,

    /// Connections that are open at a time
    #[arg(short, long, value_name = "N", default_value_t = 10,
        value_parser = up_to(CONNECTIONS_MAX))]
    connections: u32,

    /// Requests in flight on each connection
    #[arg(short, long, value_name = "N", default_value_t = 1,
        value_parser = up_to(PIPELINING_MAX))]
    pipelining: u32,

    /// How long requests are begun
    #[arg(short, long, value_name = "TIME", default_value = "10s",
        value_parser = duration_above_zero)]
    duration: Duration,

    /// Make so many requests instead, however long it takes
    #[arg(short, long, value_name = "N", conflicts_with = "duration",
        value_parser = clap::value_parser!(u64).range(1..))]
    amount: Option<u64>,

    /// How long a connection may take to come about, and then an answer
    #[arg(short, long, value_name = "TIME", default_value = "10s",
        value_parser = duration_above_zero)]
    timeout: Duration,

    /// How long a client waits before its next request, at most
    ///
    /// Each time is drawn at random; the same load draws the same. A connection that the server
    /// closes meanwhile costs no request.
    #[arg(long, value_name = "TIME", value_parser = duration_above_zero)]
    think_max: Option<Duration>,

    /// How long a client waits before its next request, at least
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse,
        requires = "think_max")]
    think_min: Duration,

    /// Open a connection for each request
    #[arg(long, conflicts_with = "pipelining")]
    close: bool,

    /// A header, such as 'Accept: text/html'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,

    /// The method
    #[arg(short, long, default_value = "GET", value_parser = method)]
    method: String,

    /// The body
    #[arg(short, long, default_value = "", hide_default_value = true)]
    body: String,

    /// Write the figures to a file, as one JSON object
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a line of JSON for each connection and each request
    ///
    /// Times are nanoseconds of CLOCK_MONOTONIC, which other programs on the same machine
    /// share. If the disk cannot keep up, the load waits for it.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl BenchArguments {
    fn options(self) -> Result<Options, Misuse> {
        let think = self.think()?;
        Ok(Options {
            target: self.url,
            connections: self.connections,
            pipelining: self.pipelining,
            length: self
                .amount
                .map_or(Length::Time(self.duration), Length::Amount),
            timeout: self.timeout,
            think,
            close: self.close,
            method: self.method,
            headers: self.headers,
            body: self.body.into_bytes(),
            record: self.record,
        })
    }

    fn think(&self) -> Result<Option<Think>, Misuse> {
        let min = self.think_min;
        match self.think_max {
            Some(max) if max < min => Err(Misuse(format!(
                "--think-max of {max:?} is less than --think-min of {min:?}"
            ))),
            max => Ok(max.map(|max| Think { min, max })),
        }
    }
}

/// Runs the load and shows what came of it.
///
/// # Errors
///
/// [`Misuse`] if it cannot be run as asked; what else kept it, its record or its figures.
pub(super) fn run(mut arguments: BenchArguments) -> anyhow::Result<ExitCode> {
    let json = arguments.json.take();
    if let Some(path) = &json {
        // Tried first, lest the figures of a long load have nowhere to go.
        fs::write(path, "")
            .map_err(|error| Misuse(format!("cannot write {}: {error}", path.display())))?;
    }
    let results = bench::run(&arguments.options()?).map_err(|error| {
        if error.is_misuse() {
            Misuse(format!("cannot {error}")).into()
        } else {
            anyhow::Error::from(error)
        }
    })?;
    io::stdout().write_all(results.tables().as_bytes())?;
    if let Some(path) = &json {
        fs::write(path, results.json()? + "\n")
            .with_context(|| format!("write {}", path.display()))?;
    }
    let is_clean = results.is_clean();
    results.into_record()?;
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn up_to(max: u32) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=u64::from(max))
}

fn duration_above_zero(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("give more than no time, such as 10s".to_owned()),
        time => Ok(time),
    }
}

/// Reads a header as curl does. What could end the header early is refused.
fn header(text: &str) -> Result<(String, String), String> {
    let wanted = || "give a name, a colon and a value, such as 'Accept: text/html'".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wanted)?;
    let value = value.trim();
    if name.is_empty() || !name.bytes().all(is_token) || value.contains(|c: char| c.is_control()) {
        return Err(wanted());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn method(text: &str) -> Result<String, String> {
    // The answers to these are no answers that could be counted.
    let is_tunnel = text.eq_ignore_ascii_case("CONNECT");
    if text.is_empty() || is_tunnel || !text.bytes().all(is_token) {
        return Err("give one such as GET, HEAD or POST".to_owned());
    }
    Ok(text.to_owned())
}

/// Whether a byte may stand in a method or in a header's name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: BenchArguments,
    }

    fn options(line: &[&str]) -> Options {
        let line = ["bench", "http://a/"].iter().chain(line);
        Line::try_parse_from(line)
            .unwrap()
            .arguments
            .options()
            .unwrap()
    }

    #[test]
    fn without_options_it_is_what_autocannon_does() {
        let options = options(&[]);
        assert_eq!((options.connections, options.pipelining), (10, 1));
        assert_eq!(options.length, Length::Time(Duration::from_secs(10)));
        assert_eq!(options.timeout, Duration::from_secs(10));
        assert_eq!(options.method, "GET");
        assert!(!options.close && options.headers.is_empty() && options.body.is_empty());
    }

    #[test]
    fn options_arrive_where_they_belong() {
        let line = [
            "-a", "7", "-c", "3", "-t", "1s", "--close", "-m", "PUT", "-b", "x", "-H", "A: b: c",
            "-H", "D:",
        ];
        let options = options(&line);
        assert_eq!(
            (options.connections, options.length),
            (3, Length::Amount(7))
        );
        assert_eq!(options.timeout, Duration::from_secs(1));
        assert_eq!(
            (options.method.as_str(), options.body),
            ("PUT", b"x".to_vec())
        );
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options.headers, [header("A", "b: c"), header("D", "")]);
        assert!(options.close);
    }

    #[test]
    fn a_think_time_lies_between_its_bounds() {
        let (second, third) = (Duration::from_secs(2), Duration::from_secs(3));
        let think = options(&["--think-max", "3s", "--think-min", "2s"]).think;
        assert_eq!(
            think,
            Some(Think {
                min: second,
                max: third
            })
        );
        assert_eq!(options(&[]).think, None);
        let line = [
            "bench",
            "http://a/",
            "--think-max",
            "1s",
            "--think-min",
            "2s",
        ];
        let arguments = Line::try_parse_from(line).unwrap().arguments;
        assert!(arguments.options().is_err());
        let line = ["bench", "http://a/", "--think-min", "2s"];
        assert!(Line::try_parse_from(line).is_err());
    }

    #[test]
    fn a_header_cannot_smuggle_another() {
        for text in ["a: b\r\nc: d", "a\r\nb: c", "a\0: b", ": b", "a b: c", "a"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }
}
