//! Messages to bytes and back: the only file that names bincode.
//!
//! bincode 2.0.1 is the last version that works (3.0.0 is a deliberate compile error) and is
//! no longer maintained; it stays behind these two functions so that another encoding
//! (postcard) would be a change to one file. What we found it needs, and what is done here:
//! a limit on decoding (without one, a 13-byte frame can ask for a terabyte and abort the
//! process), a length check on encoding (the limit does not apply there), and a look at the
//! bytes that follow a message (it leaves them alone): they are the next one.

use std::collections::VecDeque;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ChannelError;

/// Longest frame, in bytes.
///
/// Messages of the protocol itself take some tens of bytes; the rest is room for user
/// messages. Three such frames fill a socket's default buffer (212,992 bytes).
pub const FRAME_MAX: usize = 64 * 1024;

/// Most messages in one frame.
///
/// A frame with several saves a system call, and mostly a wake-up, for each but the first. What
/// that saves is nearly all saved at a handful; this is room for two workers' default windows.
pub const MESSAGES_PER_FRAME: usize = 8;

/// Most bytes that decoding one message may ask for.
///
/// bincode counts a number by its size in memory, and not by the bytes it takes in the frame,
/// so a limit of [`FRAME_MAX`] would refuse messages of that length. None holds 32 numbers
/// (texts and byte strings count by their bytes), and none is larger than eight bytes.
const DECODE_MAX: usize = FRAME_MAX + 32 * 8;

const CONFIGURATION: Configuration<LittleEndian, Varint, Limit<DECODE_MAX>> =
    bincode::config::standard().with_limit::<DECODE_MAX>();

/// Appends the encoded form of `message` to the frame in `bytes`.
///
/// # Errors
///
/// [`ChannelError::FrameTooLong`]; `bytes` is then as it was.
pub(crate) fn encode<M: Serialize>(message: &M, bytes: &mut Vec<u8>) -> Result<(), ChannelError> {
    let before = bytes.len();
    let result = append(message, bytes);
    if result.is_err() {
        bytes.truncate(before);
    }
    result
}

fn append<M: Serialize>(message: &M, bytes: &mut Vec<u8>) -> Result<(), ChannelError> {
    let malformed = |error: bincode::error::EncodeError| ChannelError::Malformed {
        len: 0,
        reason: error.to_string(),
    };
    bincode::serde::encode_into_std_write(message, bytes, CONFIGURATION).map_err(malformed)?;
    refuse_too_long(bytes.len())
}

fn refuse_too_long(len: usize) -> Result<(), ChannelError> {
    let max = FRAME_MAX;
    if len > max {
        return Err(ChannelError::FrameTooLong { len, max });
    }
    Ok(())
}

/// Appends the messages that `frame` consists of to `messages`.
///
/// # Errors
///
/// [`ChannelError::Malformed`] for anything that is not at least one message and at most
/// [`MESSAGES_PER_FRAME`]; [`ChannelError::FrameTooLong`]. `messages` may hold some by then.
pub(crate) fn decode<M: DeserializeOwned>(
    frame: &[u8],
    messages: &mut VecDeque<M>,
) -> Result<(), ChannelError> {
    let len = frame.len();
    refuse_too_long(len)?;
    let malformed = |reason: String| ChannelError::Malformed { len, reason };
    let (mut rest, mut count) = (frame, 0);
    // An empty frame is no message either, and the decoder says so.
    while count == 0 || !rest.is_empty() {
        if count == MESSAGES_PER_FRAME {
            return Err(malformed(format!("{} bytes are left over", rest.len())));
        }
        let (message, consumed) = bincode::serde::decode_from_slice(rest, CONFIGURATION)
            .map_err(|error| malformed(error.to_string()))?;
        messages.push_back(message);
        rest = &rest[consumed..];
        count += 1;
    }
    Ok(())
}
