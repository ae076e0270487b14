//! How often the control API may ask something of the dispatch thread.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The shortest pause between two questions. Nobody notices it; and an answer takes some ten
/// microseconds, so that it keeps the dispatch thread free for nearly all of its time.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// How many times as long as the last answer took the pause is at least: with a thousand
/// workers an answer takes a while, and still at most a twentieth of the time goes into it.
const PAUSE_FACTOR: u32 = 20;

/// Lets one question through at a time, and then none for a moment.
#[derive(Debug, Default)]
pub(crate) struct Tempo {
    next: Option<Instant>,
    /// How long the last answer took that was waited for.
    took: Duration,
}

impl Tempo {
    /// Waits until the next question may be asked.
    ///
    /// The pause after it begins now, and not with its answer: who asks may leave before that,
    /// again and again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: who leaves before its turn does not use it up.
    pub(crate) async fn turn(&mut self) {
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
        let pause = PAUSE.max(self.took.saturating_mul(PAUSE_FACTOR));
        self.next = Some(Instant::now() + pause);
    }

    /// Notes how long an answer took.
    pub(crate) fn note(&mut self, took: Duration) {
        self.took = took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_answers_make_long_pauses() {
        let mut tempo = Tempo::default();
        let began = Instant::now();
        tempo.turn().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        tempo.note(Duration::from_millis(1));
        tempo.turn().await;
        assert_eq!(began.elapsed(), PAUSE);
        // The answer to this one is never noted; its client has left.
        tempo.turn().await;
        assert_eq!(began.elapsed(), PAUSE + Duration::from_millis(20));
    }
}
