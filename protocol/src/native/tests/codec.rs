//! Laws of the codec: for all messages, and for all bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::codec::{FRAME_MAX, decode, encode};
use super::{any, bytes_of};
use crate::ChannelError;
use crate::message::{
    ListenAddress, ListenOptions, MasterToWorker, QueryId, ServerQuery, UserMessage, WorkerToMaster,
};

proptest! {
    #[test]
    fn what_a_master_says_arrives_as_it_was(message in any::master_to_worker()) {
        prop_assert_eq!(decode::<MasterToWorker>(&bytes_of(&message)).unwrap(), message);
    }

    #[test]
    fn what_a_worker_says_arrives_as_it_was(message in any::worker_to_master()) {
        prop_assert_eq!(decode::<WorkerToMaster>(&bytes_of(&message)).unwrap(), message);
    }

    #[test]
    fn no_bytes_can_make_the_decoder_panic(frame in vec(any::<u8>(), 0..300)) {
        // What decodes by chance must be one message and nothing else.
        if let Ok(message) = decode::<WorkerToMaster>(&frame) {
            prop_assert_eq!(decode::<WorkerToMaster>(&bytes_of(&message)).unwrap(), message);
        }
        if let Ok(message) = decode::<MasterToWorker>(&frame) {
            prop_assert_eq!(decode::<MasterToWorker>(&bytes_of(&message)).unwrap(), message);
        }
    }

    #[test]
    fn a_damaged_message_is_refused_or_another_message(
        message in any::worker_to_master(),
        place in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut frame = bytes_of(&message);
        let place = place.index(frame.len());
        frame[place] = value;
        let _: Result<WorkerToMaster, ChannelError> = decode(&frame);
    }

    #[test]
    fn a_message_cut_short_is_refused(
        message in any::worker_to_master(),
        place in any::<prop::sample::Index>(),
    ) {
        let frame = bytes_of(&message);
        let cut = &frame[..place.index(frame.len())];
        let refused = matches!(decode::<WorkerToMaster>(cut), Err(ChannelError::Malformed { .. }));
        prop_assert!(refused, "{} bytes of {}", cut.len(), frame.len());
    }

    #[test]
    fn bytes_after_a_message_are_refused(
        message in any::master_to_worker(),
        rest in vec(any::<u8>(), 1..9),
    ) {
        let mut frame = bytes_of(&message);
        let left_over = rest.len();
        frame.extend(rest);
        match decode::<MasterToWorker>(&frame) {
            Err(ChannelError::Malformed { len, reason }) => {
                prop_assert_eq!(len, frame.len());
                prop_assert_eq!(reason, format!("{left_over} bytes are left over"));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

/// Returns a user message whose frame is `len` bytes long.
fn user_message_of(len: usize) -> MasterToWorker {
    // One byte names the message, three hold the length of a text this long.
    let json = "x".repeat(len - 4);
    MasterToWorker::User(UserMessage { json })
}

#[test]
fn a_frame_of_exactly_the_limit_passes() {
    let message = user_message_of(FRAME_MAX);
    let frame = bytes_of(&message);
    assert_eq!(frame.len(), FRAME_MAX);
    assert_eq!(decode::<MasterToWorker>(&frame).unwrap(), message);
}

#[test]
fn the_longest_query_passes() {
    let query = |len| {
        WorkerToMaster::QueryServer(ServerQuery {
            query: QueryId(u32::MAX),
            address: ListenAddress::Unix("/run/app.sock".into()),
            index: u32::MAX,
            options: ListenOptions {
                backlog: Some(u32::MAX),
                ..ListenOptions::default()
            },
            data: Some(vec![255; len]),
        })
    };
    let rest = bytes_of(&query(FRAME_MAX / 2)).len() - FRAME_MAX / 2;
    let message = query(FRAME_MAX - rest);
    let frame = bytes_of(&message);
    assert_eq!(frame.len(), FRAME_MAX);
    assert_eq!(decode::<WorkerToMaster>(&frame).unwrap(), message);
}

#[test]
fn one_byte_more_is_refused_when_it_is_encoded() {
    let mut bytes = Vec::new();
    let refused = encode(&user_message_of(FRAME_MAX + 1), &mut bytes);
    assert!(matches!(
        refused,
        Err(ChannelError::FrameTooLong { len, max }) if len == FRAME_MAX + 1 && max == FRAME_MAX
    ));
}

#[test]
fn one_byte_more_is_refused_when_it_is_decoded() {
    let refused = decode::<MasterToWorker>(&vec![0; FRAME_MAX + 1]);
    assert!(matches!(refused, Err(ChannelError::FrameTooLong { .. })));
}

/// `tests/hostile_worker.rs` measures the memory that such frames take.
#[test]
fn a_length_that_the_frame_does_not_hold_is_refused() {
    for exponent in 8..64 {
        // 253 announces eight bytes of length.
        let mut frame = vec![9, 253];
        frame.extend((1u64 << exponent).to_le_bytes());
        frame.extend(b"abc");
        assert_eq!(frame.len(), 13);
        assert!(matches!(
            decode::<WorkerToMaster>(&frame),
            Err(ChannelError::Malformed { len: 13, .. })
        ));
    }
}

#[test]
fn no_frame_at_all_is_no_message() {
    assert!(matches!(
        decode::<WorkerToMaster>(&[]),
        Err(ChannelError::Malformed { len: 0, .. })
    ));
}
