//! A message of the master's program, made ready for a Node worker.
//!
//! To check a long one takes milliseconds. That needs nothing of the channel, so whoever sends
//! it has it done where it may take its time; what is left for the channel's owner is to give
//! the line its place among the others.

use super::line;
use super::word;
use crate::ChannelError;
use crate::message::UserMessage;

/// A user's message, known to be JSON, and on one line.
#[derive(Debug)]
pub struct UserLine {
    /// `None` if Node would take it for its own.
    text: Option<Vec<u8>>,
}

impl UserLine {
    /// Checks a message.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Malformed`] if it is not JSON. A worker that gets such a line crashes.
    pub fn new(message: &UserMessage) -> Result<Self, ChannelError> {
        // Node swallows these as well. Some of them would make the worker crash.
        let is_nodes = word::is_internal(&message.json)?;
        let text = (!is_nodes).then(|| line::on_one_line(&message.json));
        Ok(Self { text })
    }

    /// Returns how many bytes of the channel it takes, but for its newline.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no JSON value is empty")]
    pub fn len(&self) -> usize {
        self.text.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn into_text(self) -> Option<Vec<u8>> {
        self.text
    }
}
