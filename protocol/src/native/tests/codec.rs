//! Laws of the codec: for all messages, and for all bytes.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::Encoded;
use super::super::codec::{self, FRAME_MAX, MESSAGES_PER_FRAME, encode};
use super::{any, bytes_of, decode};
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
        // What decodes by chance must be messages and nothing else.
        for message in decode_all::<WorkerToMaster>(&frame).unwrap_or_default() {
            prop_assert_eq!(decode::<WorkerToMaster>(&bytes_of(&message)).unwrap(), message);
        }
        for message in decode_all::<MasterToWorker>(&frame).unwrap_or_default() {
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
        let _: Result<VecDeque<WorkerToMaster>, ChannelError> = decode_all(&frame);
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
    fn messages_of_one_frame_arrive_in_their_order(
        messages in vec(any::master_to_worker(), 1..=MESSAGES_PER_FRAME),
    ) {
        let mut frame = Encoded::default();
        for message in &messages {
            frame.push(message).unwrap();
        }
        prop_assert_eq!(decode_all::<MasterToWorker>(&bytes_of_all(&messages)).unwrap(), messages);
    }

    #[test]
    fn one_message_more_than_a_frame_holds_is_refused(message in any::worker_to_master()) {
        let mut frame = Encoded::default();
        for _ in 0..MESSAGES_PER_FRAME {
            frame.push(&message).unwrap();
        }
        let before = frame.len();
        let full = matches!(frame.push(&message), Err(ChannelError::FrameTooLong { .. }));
        prop_assert!(full && frame.len() == before);
        let too_many = vec![message; MESSAGES_PER_FRAME + 1];
        let decoded = decode_all::<WorkerToMaster>(&bytes_of_all(&too_many));
        let refused = matches!(decoded, Err(ChannelError::Malformed { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn bytes_after_a_message_that_are_none_are_refused(message in any::master_to_worker()) {
        let mut frame = bytes_of(&message);
        frame.push(200);
        let decoded = decode_all::<MasterToWorker>(&frame);
        let refused = matches!(decoded, Err(ChannelError::Malformed { .. }));
        prop_assert!(refused);
    }
}

fn decode_all<M: DeserializeOwned>(frame: &[u8]) -> Result<VecDeque<M>, ChannelError> {
    let mut messages = VecDeque::new();
    codec::decode(frame, &mut messages).map(|()| messages)
}

fn bytes_of_all<M: Serialize>(messages: &[M]) -> Vec<u8> {
    messages.iter().flat_map(bytes_of).collect()
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
