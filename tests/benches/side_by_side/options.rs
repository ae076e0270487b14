//! What can be asked of `tests/bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures maitred beside what one would use instead, and writes a page with tables and plots.
#[derive(Debug, Parser)]
#[command(name = "tests/bench")]
pub(crate) struct Options {
    /// How often each case is measured; ratios are taken within a round
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// How long each load lasts, in seconds
    #[arg(short, long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,

    /// Only this scene; may be given several times
    #[arg(long = "scene", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(super::scenes::names()))]
    pub(crate) scenes: Vec<String>,

    /// Exit with 1 if a bound is crossed
    #[arg(long)]
    pub(crate) check: bool,

    /// Where the page and its plots go
    #[arg(long, value_name = "DIRECTORY", default_value = "target/bench")]
    pub(crate) out: PathBuf,

    /// Cargo says so to every benchmark
    #[arg(long, hide = true)]
    bench: bool,

    /// Count turns of a busy loop for so many milliseconds, and print them
    #[arg(long, hide = true)]
    pub(crate) spin: Option<u64>,
}

impl Options {
    pub(crate) fn wants(&self, scene: &str) -> bool {
        self.scenes.is_empty() || self.scenes.iter().any(|wanted| wanted == scene)
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
