//! `maitred replay`: proves from a record what counting only makes plausible.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use maitred::replay::{self, Report, Step};
use maitred_core::dispatch::Input;
use serde::{Deserialize, Serialize};

use super::Misuse;

/// Check a record that `run --trace` wrote: did each handoff go where it was due?
///
/// Every recorded fact is told to a fresh dispatcher, and to a second one that is as naive as
/// possible; both must order what the record says was ordered. Exit code 1 if one of them
/// does not, or if the record is incomplete.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The record
    file: PathBuf,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// The last line of a record.
#[derive(Debug, Deserialize)]
struct End {
    dropped: u64,
}

/// What a record proves.
#[derive(Debug)]
struct Judged {
    report: Report,
    /// Some workers had fewer turns than others, so that their shares say little.
    workers_changed: bool,
}

/// The answer for programs.
#[derive(Serialize)]
struct Verdict<'a> {
    every_handoff_went_to_the_head: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    report: Option<&'a Report>,
}

/// Checks the record and answers in one line.
///
/// # Errors
///
/// [`Misuse`] if there is no such file; why the record proves nothing; why it proves that the
/// scheduler was wrong.
pub(super) fn run(arguments: &ReplayArguments) -> anyhow::Result<ExitCode> {
    let judged = judge(&arguments.file);
    if arguments.json && !judged.as_ref().is_err_and(|error| error.is::<Misuse>()) {
        let verdict = Verdict {
            every_handoff_went_to_the_head: judged.is_ok(),
            reason: judged.as_ref().err().map(|error| format!("{error:#}")),
            report: judged.as_ref().ok().map(|judged| &judged.report),
        };
        say(&serde_json::to_string(&verdict)?)?;
        return Ok(ExitCode::from(if judged.is_ok() {
            0
        } else {
            super::FAILED
        }));
    }
    say(&in_words(&judged?))?;
    Ok(ExitCode::SUCCESS)
}

fn judge(path: &Path) -> anyhow::Result<Judged> {
    let file = File::open(path)
        .map_err(|error| Misuse(format!("cannot read {}: {error}", path.display())))?;
    let steps = read(BufReader::new(file))?;
    let report =
        replay::replay(Instant::now(), &steps).context("the record and the rules differ")?;
    Ok(Judged {
        report,
        workers_changed: workers_changed(&steps),
    })
}

/// Returns whether a worker joined or left while connections came in.
fn workers_changed(steps: &[Step]) -> bool {
    let is_accept = |step: &Step| matches!(step.input, Input::Accepted { .. });
    let first = steps.iter().position(is_accept).unwrap_or(steps.len());
    let last = steps.iter().rposition(is_accept).unwrap_or(first);
    steps.get(first..last).into_iter().flatten().any(|step| {
        matches!(
            step.input,
            Input::Joined { .. } | Input::Draining(_) | Input::WorkerGone(_)
        )
    })
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Reads all steps. All of them are held in memory: some hundred bytes a connection.
fn read(record: impl BufRead) -> anyhow::Result<Vec<Step>> {
    let (mut steps, mut end) = (Vec::new(), None);
    for (line, number) in record.lines().zip(1..) {
        let line = line.context("read the record")?;
        if end.is_some() {
            bail!("the record is damaged: line {number} stands behind its end");
        }
        match serde_json::from_str(&line) {
            Ok(step) => steps.push(step),
            Err(error) => match serde_json::from_str::<End>(&line) {
                Ok(last) => end = Some(last.dropped),
                // A line that was cut off is what a kill leaves behind.
                Err(_) if error.is_eof() => break,
                Err(_) => bail!("line {number} is no step of a record: {error}"),
            },
        }
    }
    match end {
        Some(0) => Ok(steps),
        Some(dropped) => bail!(
            "the record is incomplete: {dropped} steps were dropped, as the disk was too slow"
        ),
        None => bail!("the record is incomplete: it has no end, so maitred was killed or runs yet"),
    }
}

fn in_words(judged: &Judged) -> String {
    let Report {
        handoffs,
        accepted,
        spread,
        ..
    } = &judged.report;
    if *handoffs == 0 {
        return format!(
            "no handoff to judge: {accepted} connections were accepted by the master, whose \
             workers may have accepted for themselves (--policy shared or kernel)"
        );
    }
    let workers = judged.report.per_worker.iter();
    let shares: Vec<String> = workers
        .map(|(worker, share)| format!("{worker} {}", share.released))
        .collect();
    let spread = if judged.workers_changed {
        "workers came and went".to_owned()
    } else {
        format!("spread {:.1} %", spread * 100.0)
    };
    let shares = shares.join(", ");
    format!(
        "every handoff went to the worker whose turn it was: {handoffs} handoffs, {accepted} \
         connections, per worker {shares} ({spread})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers take two connections each: what the dispatcher writes down.
    fn record() -> String {
        let mut lines = vec![
            r#"{"server_opened":{"server":1,"policy":"rr","pending_max":9}}|"#.to_owned(),
            r#"{"joined":{"worker":1,"slot":0,"window":4}}|"#.to_owned(),
            r#"{"joined":{"worker":2,"slot":1,"window":4}}|"#.to_owned(),
            r#"{"listening":{"worker":1,"server":1}}|{"resume_accept":1}"#.to_owned(),
            r#"{"listening":{"worker":2,"server":1}}|"#.to_owned(),
        ];
        for number in 0..4 {
            let worker = number % 2 + 1;
            lines.push(format!(
                r#"{{"accepted":{{"connection":{number},"server":1,"client":null}}}}|{{"hand_off":{{"handoff":{number},"connection":{number},"worker":{worker},"server":1}}}}"#
            ));
            lines.push(format!(
                r#"{{"acked":{{"worker":{worker},"handoff":{number}}}}}|{{"release":{{"connection":{number},"worker":{worker}}}}}"#
            ));
        }
        let steps = lines.iter().map(|line| {
            let (input, effects) = line.split_once('|').unwrap();
            format!("{{\"at_micros\":1,\"input\":{input},\"effects\":[{effects}]}}\n")
        });
        steps.collect()
    }

    const END: &str = "{\"end\":true,\"dropped\":0}\n";

    fn judge_text(text: &str) -> anyhow::Result<Judged> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        std::fs::write(&path, text).unwrap();
        judge(&path)
    }

    #[test]
    fn a_true_record_is_praised_in_one_line() {
        let judged = judge_text(&(record() + END)).unwrap();
        assert_eq!(
            in_words(&judged),
            "every handoff went to the worker whose turn it was: 4 handoffs, 4 connections, per worker \
             w1 2, w2 2 (spread 0.0 %)"
        );
    }

    #[test]
    fn shares_are_not_compared_when_workers_came_and_went() {
        let gone = r#"{"at_micros":1,"input":{"worker_gone":9},"effects":[]}"#;
        let lines = record();
        let last = lines.rfind(r#"{"at_micros":1,"input":{"accepted"#);
        let (before, after) = lines.split_at(last.unwrap());
        let judged = judge_text(&format!("{before}{gone}\n{after}{END}")).unwrap();
        assert!(in_words(&judged).ends_with("(workers came and went)"));
    }

    #[test]
    fn a_record_that_deviates_is_refused() {
        let wrong = record().replace(
            r#""connection":2,"worker":1,"server":1"#,
            r#""connection":2,"worker":2,"server":1"#,
        );
        let error = judge_text(&(wrong + END)).unwrap_err();
        assert!(format!("{error:#}").contains("expected"), "{error:#}");
    }

    #[test]
    fn a_record_that_is_incomplete_proves_nothing() {
        let record = record();
        for (text, reason) in [
            (record.clone(), "no end"),
            (record[..record.len() - 9].to_owned(), "no end"),
            (String::new(), "no end"),
            (record.clone() + "{\"end\":true,\"dropped\":3}\n", "3 steps"),
            (END.to_owned() + &record, "behind its end"),
            ("nonsense\n".to_owned() + &record, "line 1"),
        ] {
            let error = judge_text(&text).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
            assert!(!error.is::<Misuse>());
        }
    }

    #[test]
    fn a_file_that_is_missing_is_a_mistake_of_the_user() {
        let error = judge(Path::new("/no/such/record")).unwrap_err();
        assert!(error.is::<Misuse>(), "{error:#}");
    }
}
