//! The page: what was measured, in tables.

use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Stdio;

use super::bounds;
use super::options::Options;
use super::plot;
use super::samples::{Figures, Pick, Samples};
use super::scenes::{self, Scene};
use super::server::command;

/// The columns: their names, digits behind the point, and where they come from.
const COLUMNS: [(&str, usize, Pick); 9] = [
    ("CPU µs", 2, |figures| figures.cpu),
    ("of it front", 2, |figures| figures.front),
    ("a second", 0, |figures| figures.rate),
    ("p50 ms", 3, |figures| figures.p50),
    ("p99 ms", 3, |figures| figures.p99),
    ("p99.9 ms", 3, |figures| figures.p99_9),
    ("failed", 0, |figures| figures.failed),
    ("timeouts", 0, |figures| figures.timeouts),
    ("memory KiB", 0, |figures| figures.memory),
];

/// Writes the page and its plots.
///
/// # Errors
///
/// Those of writing files; a plot that cannot be drawn.
pub(crate) fn write(options: &Options, samples: &Samples) -> io::Result<()> {
    fs::create_dir_all(&options.out)?;
    let mut page = head(options);
    for scene in scenes::all()
        .iter()
        .filter(|scene| options.wants(scene.name))
    {
        page += &table(scene, samples);
        plot::draw(options, scene, samples)?;
    }
    page += &promises(options, samples);
    fs::write(options.out.join("results.md"), page)
}

fn head(options: &Options) -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Commit {}, {} with {processors} processors, {} rounds of {} s, medians.\n",
        told_by(&["git", "rev-parse", "--short", "HEAD"]),
        told_by(&["uname", "-sr"]),
        options.rounds,
        options.seconds,
    )
}

/// Returns the first line that a program prints.
fn told_by(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(Into::into).collect();
    let output = command(&words).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .next()
        .unwrap_or("?")
        .to_owned()
}

fn table(scene: &Scene, samples: &Samples) -> String {
    let mut table = format!("\n## {}\n\n{}\n\n", scene.name, scene.title);
    let shown: Vec<_> = COLUMNS
        .iter()
        .filter(|(_, _, pick)| is_told(scene, samples, *pick))
        .collect();
    let names = shown
        .iter()
        .map(|(name, _, _)| *name)
        .collect::<Vec<_>>()
        .join(" | ");
    let rules = "---:|".repeat(shown.len());
    // Writing to a string cannot fail.
    let _written = write!(table, "| | {names} |\n|---|{rules}\n");
    for case in &scene.cases {
        let cell = |(_, digits, pick): &&(&str, usize, Pick)| {
            let spread = samples.spread(scene.name, case.name, *pick)?;
            Some(format!("{:.*}", *digits, spread.median))
        };
        if let Some(cells) = shown.iter().map(cell).collect::<Option<Vec<_>>>() {
            table += &format!("| {} | {} |\n", case.name, cells.join(" | "));
        }
    }
    table
}

/// A column in which no case has anything is left out.
fn is_told(scene: &Scene, samples: &Samples, pick: Pick) -> bool {
    let told = |case| {
        samples
            .spread(scene.name, case, pick)
            .is_some_and(|spread| spread.max > 0.0)
    };
    scene.cases.iter().any(|case| told(case.name))
}

fn promises(options: &Options, samples: &Samples) -> String {
    let mut table = "\n## Ratios\n\nWithin each round; the median, and between what they lie.\n\n\
                     | scene | what | ratio | from | to | bound | kept |\n|---|---|---:|---:|---:|---|---|\n"
        .to_owned();
    for bound in bounds::all()
        .iter()
        .filter(|bound| options.wants(bound.scene))
    {
        let Some(ratio) = bound.ratio(samples) else {
            continue;
        };
        let kept = if bound.holds(ratio.median) {
            "yes"
        } else {
            "**no**"
        };
        table += &format!(
            "| {} | {} | {:.3} | {:.3} | {:.3} | {} | {kept} |\n",
            bound.scene,
            bound.what,
            ratio.median,
            ratio.min,
            ratio.max,
            bound.limit()
        );
    }
    table
}

/// What a case's bar shows: what the front took, and the rest.
pub(crate) fn bar(
    figures: &Samples,
    scene: &'static str,
    case: &'static str,
) -> Option<(f64, f64)> {
    let cpu = figures
        .spread(scene, case, |figures: &Figures| figures.cpu)?
        .median;
    let front = figures
        .spread(scene, case, |figures: &Figures| figures.front)?
        .median;
    (cpu > 0.0).then_some((front, cpu))
}
