//! `maitred ls`: the workers of a running master, one row each.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::ask::{self, Form};
use crate::control::api::{AppRow, Apps, WorkerRow, Workers, route};
use crate::control::client::Client;
use crate::control::name::Subject;
use crate::control::refusal::{Kind, Refusal};

/// List the workers of the running master.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    /// Only these: an app's name, `all`, or a worker's slot
    #[arg(value_parser = ask::subject)]
    app: Option<Subject>,

    #[command(flatten)]
    form: Form,
}

const HEADINGS: [&str; 12] = [
    "slot", "name", "worker", "pid", "gen", "state", "restarts", "uptime", "open", "taken", "cpu",
    "memory",
];

/// Columns behind the others, if there is a worker that tells: a program that is not Node's
/// has neither an event loop nor a heap.
const ENGINE_HEADINGS: [&str; 2] = ["delay", "heap"];

/// The columns whose entries are words; all others are figures, and end in one line.
const WORDS: [usize; 2] = [1, 5];

/// Stands where there is nothing to tell.
const NOTHING: &str = "-";

/// Lists the workers.
///
/// # Errors
///
/// Those of asking.
pub(super) fn run(arguments: &LsArguments) -> anyhow::Result<ExitCode> {
    let workers = Client::new().and_then(|client| list(&client, arguments.app.as_ref()));
    arguments
        .form
        .tell(workers, |workers| table(&workers.workers))?;
    Ok(ExitCode::SUCCESS)
}

fn list(client: &Client, subject: Option<&Subject>) -> Result<Workers, Refusal> {
    let Workers { mut workers, apps } = client.get(route::WORKERS)?;
    match subject {
        None | Some(Subject::All) => {}
        Some(Subject::Slot(slot)) => {
            workers.retain(|row| row.slot == *slot);
            if workers.is_empty() {
                let message = format!("no worker has slot {slot}");
                return Err(Refusal::new(Kind::NoSuchWorker, message));
            }
        }
        Some(Subject::App(name)) => {
            workers.retain(|row| row.name == *name);
            // An app without workers is an app all the same.
            let is_app = |apps: &[AppRow]| apps.iter().any(|app| app.name == *name);
            if workers.is_empty() && !is_app(&client.get::<Apps>(route::APPS)?.apps) {
                let message = format!("no app is called {name}");
                return Err(Refusal::new(Kind::NoSuchApp, message));
            }
        }
    }
    Ok(Workers { workers, apps })
}

fn table(rows: &[WorkerRow]) -> String {
    if rows.is_empty() {
        return "no workers".into();
    }
    let mut table = Table::new();
    let is_told = |row: &WorkerRow| row.loop_delay_micros.is_some() || row.heap_bytes.is_some();
    let engine = match rows.iter().any(is_told) {
        true => ENGINE_HEADINGS.len(),
        false => 0,
    };
    let headings = HEADINGS.iter().chain(&ENGINE_HEADINGS[..engine]);
    table.load_style(presets::NOTHING).set_header(headings);
    for (index, column) in table.column_iter_mut().enumerate() {
        // Two blanks between columns, and none before the first.
        column.set_padding((0, 2));
        if !WORDS.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(rows.iter().map(|row| {
        let engine = engine_cells(row).into_iter().take(engine);
        cells(row).into_iter().chain(engine)
    }));
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

fn cells(row: &WorkerRow) -> [String; 12] {
    let maybe = |value: Option<u32>| value.map_or(NOTHING.into(), |value| value.to_string());
    [
        row.slot.to_string(),
        row.name.to_string(),
        maybe(row.worker),
        maybe(row.pid),
        maybe(row.generation),
        row.state.name().into(),
        row.restarts.to_string(),
        row.uptime_ms.map_or(NOTHING.into(), uptime),
        row.open.to_string(),
        row.taken.to_string(),
        row.cpu_percent
            .map_or(NOTHING.into(), |percent| format!("{percent:.1}%")),
        row.memory_bytes.map_or(NOTHING.into(), memory),
    ]
}

fn engine_cells(row: &WorkerRow) -> [String; 2] {
    [
        row.loop_delay_micros.map_or(NOTHING.into(), delay),
        row.heap_bytes.map_or(NOTHING.into(), memory),
    ]
}

/// Returns a short span in milliseconds, and one of ten seconds and more as any other: then
/// the loop stood still.
fn delay(micros: u64) -> String {
    match micros / 1000 {
        milliseconds @ ..10_000 => format!("{milliseconds}ms"),
        milliseconds => uptime(milliseconds),
    }
}

/// Returns a span in its two largest units, as short as can be.
pub(crate) fn uptime(milliseconds: u64) -> String {
    let seconds = Duration::from_millis(milliseconds).as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        (_, _, _) => format!("{days}d{}h", hours % 24),
    }
}

/// Returns a size in the largest unit of which it has one, with one decimal.
fn memory(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, size)| bytes >= *size);
    unit.map_or_else(
        || format!("{bytes}B"),
        |(name, size)| {
            let tenths = u128::from(bytes) * 10 / u128::from(*size);
            format!("{}.{}{name}", tenths / 10, tenths % 10)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::State;

    fn row(slot: u32) -> WorkerRow {
        WorkerRow {
            slot,
            name: "shop".parse().unwrap(),
            worker: Some(slot + 8),
            pid: Some(4242),
            generation: Some(2),
            state: State::Listening,
            program: None,
            restarts: 1,
            uptime_ms: Some(61_000),
            open: 3,
            taken: 1234,
            cpu_percent: Some(12.34),
            memory_bytes: Some(3 * 1024 * 1024 + 512 * 1024),
            requests: 5678,
            loop_delay_micros: None,
            heap_bytes: None,
        }
    }

    #[test]
    fn one_row_a_worker_and_nothing_around_it() {
        let empty = WorkerRow {
            worker: None,
            pid: None,
            generation: None,
            state: State::Errored,
            restarts: 16,
            uptime_ms: None,
            open: 0,
            taken: 0,
            cpu_percent: None,
            memory_bytes: None,
            ..row(10)
        };
        let expected = "
slot  name  worker   pid  gen  state      restarts  uptime  open  taken    cpu  memory
   0  shop       8  4242    2  listening         1    1m1s     3   1234  12.3%  3.5MiB
  10  shop       -     -    -  errored          16       -     0      0      -       -";
        assert_eq!(format!("\n{}", table(&[row(0), empty])), expected);
        assert_eq!(table(&[]), "no workers");
    }

    #[test]
    fn what_only_node_workers_tell_has_columns_only_with_them() {
        let node = WorkerRow {
            loop_delay_micros: Some(12_900),
            heap_bytes: Some(20 << 20),
            ..row(1)
        };
        let expected = "
slot  name  worker   pid  gen  state      restarts  uptime  open  taken    cpu  memory  delay     heap
   0  shop       8  4242    2  listening         1    1m1s     3   1234  12.3%  3.5MiB      -        -
   1  shop       9  4242    2  listening         1    1m1s     3   1234  12.3%  3.5MiB   12ms  20.0MiB";
        assert_eq!(format!("\n{}", table(&[row(0), node])), expected);
        assert_eq!(delay(9_999_999), "9999ms");
        assert_eq!(delay(61_000_000), "1m1s");
    }

    #[test]
    fn spans_and_sizes_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3661, "1h1m"),
            (90_000, "1d1h"),
        ] {
            assert_eq!(uptime(seconds * 1000), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5KiB"),
            (1 << 31, "2.0GiB"),
        ] {
            assert_eq!(memory(bytes), text);
        }
    }
}
