//! The progress bar: on a terminal, and only of a load that takes a while.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::options::Length;

/// A load that is over sooner needs no bar, which would only flicker.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows how far the load has come.
#[derive(Debug)]
pub(super) struct Progress {
    length: Length,
    is_wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// No bar yet, and never one if it `is_wanted` nowhere.
    pub(super) fn new(length: Length, is_wanted: bool) -> Self {
        Self {
            length,
            is_wanted,
            bar: None,
        }
    }

    /// Shows how far it is after `elapsed`, with so many `requests` ended.
    pub(super) fn show(&mut self, elapsed: Duration, requests: u64) {
        if !self.is_wanted || elapsed < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(self.length));
        bar.set_position(match self.length {
            Length::Time(_) => elapsed.as_secs(),
            Length::Amount(_) => requests,
        });
        bar.set_message(format!("{requests} requests"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(length: Length) -> ProgressBar {
    let (length, style) = match length {
        Length::Time(time) => (time.as_secs(), "{bar:40} {pos}/{len} s, {msg}"),
        Length::Amount(amount) => (amount, "{bar:40} {percent} %, {msg}, {eta} to go"),
    };
    let style = ProgressStyle::with_template(style).expect("the template is sound");
    ProgressBar::new(length).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bar_only_where_and_when_it_is_wanted() {
        let length = Length::Amount(10);
        let mut elsewhere = Progress::new(length, false);
        elsewhere.show(PATIENCE * 2, 5);
        assert!(elsewhere.bar.is_none());
        let mut on_terminal = Progress::new(length, true);
        on_terminal.show(PATIENCE / 2, 5);
        assert!(on_terminal.bar.is_none());
        on_terminal.show(PATIENCE, 5);
        assert_eq!(on_terminal.bar.as_ref().unwrap().position(), 5);
    }

    #[test]
    fn the_templates_are_sound() {
        for length in [Length::Amount(10), Length::Time(PATIENCE)] {
            let bar = bar(length);
            assert!(!bar.is_finished());
        }
    }
}
