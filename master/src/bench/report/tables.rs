//! The tables that people read; their columns are those of autocannon.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use super::{Report, Totals, WorkerShare};
use crate::bench::outcome::Outcome;

/// Returns the report as people read it.
pub(in crate::bench) fn tables(report: &Report) -> String {
    let mut parts = vec![
        latency(report).to_string(),
        rates(report).to_string(),
        format!(
            "Req/sec and bytes/sec are counted once a second (samples: {}).\n",
            report.samples
        ),
        outcomes(&report.totals).to_string(),
    ];
    if !report.workers.is_empty() {
        parts.push(workers(report).to_string());
        parts.extend(spread(&report.workers));
    }
    parts.push(String::new());
    parts.extend(remarks(report));
    parts.push(summary(report));
    parts.join("\n")
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn latency(report: &Report) -> Table {
    let of = &report.latency_ms;
    let mut table = table(["Stat", "2.5%", "50%", "97.5%", "99%", "Avg", "Stdev", "Max"]);
    let figures = [
        of.p2_5,
        of.p50,
        of.p97_5,
        of.p99,
        of.average,
        of.deviation,
        of.max,
    ];
    let cells = figures.map(|millis| format!("{} ms", short(millis)));
    table.add_row([String::from("Latency")].into_iter().chain(cells));
    table
}

fn rates(report: &Report) -> Table {
    let mut table = table(["Stat", "1%", "2.5%", "50%", "97.5%", "Avg", "Stdev", "Min"]);
    let plain: fn(f64) -> String = short;
    for (name, of, show) in [
        ("Req/sec", &report.requests_per_second, plain),
        ("Bytes/sec", &report.bytes_per_second, bytes),
    ] {
        let figures = [
            of.p1,
            of.p2_5,
            of.p50,
            of.p97_5,
            of.average,
            of.deviation,
            of.min,
        ];
        table.add_row([name.to_owned()].into_iter().chain(figures.map(show)));
    }
    table
}

fn outcomes(totals: &Totals) -> Table {
    let mut table = Table::new();
    let headings = Outcome::ALL.map(Outcome::heading);
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header(["Requests"].into_iter().chain(headings));
    let counts = Outcome::ALL.map(|outcome| totals.count(outcome));
    let cells = [totals.requests].into_iter().chain(counts);
    table.add_row(cells.map(|count| count.to_string()));
    table
}

fn workers(report: &Report) -> Table {
    let mut table = table(["Worker", "Requests", "Share", "Connections", "Share"]);
    let sum = |count: fn(&WorkerShare) -> u64| report.workers.iter().map(count).sum::<u64>();
    let requests = sum(|share| share.requests);
    let connections = sum(|share| share.connections);
    for share in &report.workers {
        table.add_row([
            share.worker.clone(),
            share.requests.to_string(),
            percent(share.requests, requests),
            share.connections.to_string(),
            percent(share.connections, connections),
        ]);
    }
    table
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// How uneven the workers' shares are, if there are several.
fn spread(workers: &[WorkerShare]) -> Option<String> {
    if workers.len() < 2 {
        return None;
    }
    let spread = |count: fn(&WorkerShare) -> u64| {
        let counts = || workers.iter().map(count);
        let mean = counts().sum::<u64>() as f64 / workers.len() as f64;
        let width = counts().max().unwrap_or(0) - counts().min().unwrap_or(0);
        100.0 * width as f64 / mean.max(1.0)
    };
    Some(format!(
        "Spread over {} workers, (most - least) / mean: requests {:.1} %, connections {:.1} %.",
        workers.len(),
        spread(|share| share.requests),
        spread(|share| share.connections),
    ))
}

/// What is worth a sentence, since no table has it.
fn remarks(report: &Report) -> Vec<String> {
    let totals = &report.totals;
    let classes = [
        ("1xx", totals.status_1xx),
        ("2xx", totals.status_2xx),
        ("3xx", totals.status_3xx),
        ("4xx", totals.status_4xx),
        ("5xx", totals.status_5xx),
    ];
    let seen = classes.iter().filter(|(_, count)| *count > 0);
    let seen: Vec<_> = seen
        .map(|(class, count)| format!("{class} {count}"))
        .collect();
    let mut remarks = Vec::new();
    if totals.ok > totals.status_2xx {
        remarks.push(format!("Not all answers were 2xx: {}.", seen.join(", ")));
    }
    if totals.announced > 0 {
        remarks.push(format!(
            "{} of the closed were sent behind an answer that turned out to be the last.",
            totals.announced
        ));
    }
    if totals.closed_idle > 0 {
        remarks.push(format!(
            "{} connections were closed while they lay idle, which costs no request.",
            totals.closed_idle
        ));
    }
    if report.other_workers > 0 {
        let count = report.other_workers;
        remarks.push(format!("{count} answers came from yet other workers."));
    }
    if let Some(reason) = &report.first_reason {
        remarks.push(format!("The first error: {reason}."));
    }
    if totals.unfinished > 0 {
        let count = totals.unfinished;
        remarks.push(format!("{count} requests were given up without an answer."));
    }
    if report.interrupted {
        remarks.push("Interrupted: these are the figures until then.".to_owned());
    }
    remarks
}

fn summary(report: &Report) -> String {
    let totals = &report.totals;
    format!(
        "{} requests over {} connections in {:.2} s, {} read, {} written\n",
        short(totals.requests as f64),
        totals.connections,
        report.elapsed_seconds,
        bytes(totals.received_bytes as f64),
        bytes(totals.sent_bytes as f64),
    )
}

/// Three digits of what is small, all digits of what is large, without idle zeros.
fn short(figure: f64) -> String {
    let text = match figure {
        _ if figure >= 100.0 => return format!("{figure:.0}"),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ if figure >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn bytes(figure: f64) -> String {
    const KILO: f64 = 1000.0;
    let mut figure = figure;
    for unit in ["B", "kB", "MB", "GB"] {
        if figure < KILO {
            return format!("{} {unit}", short(figure));
        }
        figure /= KILO;
    }
    format!("{} TB", short(figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (figure, text) in [
            (0.0, "0"),
            (0.0004, "0"),
            (0.0205, "0.021"),
            (0.25, "0.25"),
            (1.0, "1"),
            (9.876, "9.88"),
            (12.345, "12.3"),
            (100.0, "100"),
            (20623.4, "20623"),
        ] {
            assert_eq!(short(figure), text);
        }
        for (figure, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "1 kB"),
            (26_130_000.0, "26.1 MB"),
            (3e12, "3 TB"),
            (3e15, "3000 TB"),
        ] {
            assert_eq!(bytes(figure), text);
        }
    }

    #[test]
    fn an_uneven_spread_is_told() {
        let share = |worker: &str, requests, connections| WorkerShare {
            worker: worker.to_owned(),
            requests,
            connections,
        };
        assert_eq!(spread(&[share("1", 5, 1)]), None);
        let told = spread(&[share("1", 90, 5), share("2", 110, 5)]).unwrap();
        assert!(
            told.ends_with("requests 20.0 %, connections 0.0 %."),
            "{told}"
        );
    }
}
