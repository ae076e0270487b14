//! Messages to bytes and back: the only file that names bincode.
//!
//! bincode 2.0.1 is the last version that works (3.0.0 is a deliberate compile error) and is
//! no longer maintained; it stays behind these two functions so that another encoding
//! (postcard) would be a change to one file. What we found it needs, and what is done here:
//! a limit on decoding (without one, a 13-byte frame can ask for a terabyte and abort the
//! process), a length check on encoding (the limit does not apply there), and a check that
//! no bytes are left over (it accepts trailing ones).

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ChannelError;

/// Longest frame, in bytes.
///
/// Messages of the protocol itself take some tens of bytes; the rest is room for user
/// messages. Three such frames fill a socket's default buffer (212,992 bytes).
pub const FRAME_MAX: usize = 64 * 1024;

/// Most bytes that decoding one frame may ask for.
///
/// bincode counts a number by its size in memory, and not by the bytes it takes in the frame,
/// so a limit of [`FRAME_MAX`] would refuse frames of that length. No message holds 32 numbers
/// (texts and byte strings count by their bytes), and none is larger than eight bytes.
const DECODE_MAX: usize = FRAME_MAX + 32 * 8;

const CONFIGURATION: Configuration<LittleEndian, Varint, Limit<DECODE_MAX>> =
    bincode::config::standard().with_limit::<DECODE_MAX>();

/// Appends the encoded form of `message` to `bytes`, which must be empty.
///
/// # Errors
///
/// [`ChannelError::FrameTooLong`]; `bytes` then holds nothing of use.
pub(crate) fn encode<M: Serialize>(message: &M, bytes: &mut Vec<u8>) -> Result<(), ChannelError> {
    debug_assert!(bytes.is_empty(), "one buffer holds one frame");
    let malformed = |error: bincode::error::EncodeError| ChannelError::Malformed {
        len: 0,
        reason: error.to_string(),
    };
    let len =
        bincode::serde::encode_into_std_write(message, bytes, CONFIGURATION).map_err(malformed)?;
    if len > FRAME_MAX {
        return Err(ChannelError::FrameTooLong {
            len,
            max: FRAME_MAX,
        });
    }
    Ok(())
}

/// Returns the one message that `frame` consists of.
///
/// # Errors
///
/// [`ChannelError::Malformed`] for anything that is not exactly one message;
/// [`ChannelError::FrameTooLong`].
pub(crate) fn decode<M: DeserializeOwned>(frame: &[u8]) -> Result<M, ChannelError> {
    let len = frame.len();
    if len > FRAME_MAX {
        return Err(ChannelError::FrameTooLong {
            len,
            max: FRAME_MAX,
        });
    }
    match bincode::serde::decode_from_slice(frame, CONFIGURATION) {
        Ok((message, consumed)) if consumed == len => Ok(message),
        Ok((_, consumed)) => {
            let reason = format!("{} bytes are left over", len - consumed);
            Err(ChannelError::Malformed { len, reason })
        }
        Err(error) => Err(ChannelError::Malformed {
            len,
            reason: error.to_string(),
        }),
    }
}
