//! The writer's rule, against a model of how a Node worker reads.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::line::{Carries, Line};
use super::super::writer::Writer;
use crate::{ChannelError, HandoffId};

/// What libuv reads at a time.
const READ: usize = 65_536;

/// A line of `len` bytes; with a descriptor if it has a handoff.
fn line(number: u64, len: usize, handoff: Option<u64>) -> Line {
    let carries = handoff.map_or(Carries::Nothing, |handoff| Carries::Connection {
        seq: number,
        handoff: HandoffId(handoff),
        server: super::SERVER,
    });
    Line {
        bytes: vec![b'x'; len],
        number,
        carries,
    }
}

/// A piece of what is in the channel.
struct Piece {
    len: usize,
    descriptor: Option<u64>,
}

/// The channel and a Node worker at its end, as measured.
#[derive(Default)]
struct Model {
    channel: VecDeque<Piece>,
    /// The lines that were written: where each ends in the stream, and its descriptor.
    lines: VecDeque<(usize, Option<u64>)>,
    read: usize,
    written: usize,
    /// The one descriptor that Node remembers.
    remembered: Option<u64>,
    /// Which descriptor each line was given, and its own.
    given: Vec<(Option<u64>, u64)>,
    acks: usize,
}

impl Model {
    fn write(&mut self, len: usize, descriptor: Option<u64>) {
        self.written += len;
        self.channel.push_back(Piece { len, descriptor });
    }

    fn end_line(&mut self, descriptor: Option<u64>) {
        self.lines.push_back((self.written, descriptor));
    }

    /// One read: plain pieces are joined, and it stops after a piece with a descriptor.
    fn turn(&mut self) {
        let mut room = READ;
        while let Some(piece) = self.channel.front_mut() {
            let taken = piece.len.min(room);
            piece.len -= taken;
            room -= taken;
            self.read += taken;
            // It comes with the piece's first byte, and only with that.
            let brought = piece.descriptor.take();
            let whole = piece.len == 0;
            if whole {
                self.channel.pop_front();
            }
            self.remembered = brought.or(self.remembered);
            if brought.is_some() || room == 0 {
                break;
            }
        }
        while self.lines.front().is_some_and(|(end, _)| *end <= self.read) {
            if let Some((_, Some(own))) = self.lines.pop_front() {
                self.given.push((self.remembered.take(), own));
                self.acks += 1;
            }
        }
    }
}

/// Writes as much of a line as `pieces` allow, each one sendmsg; returns whether it is done.
fn write(
    writer: &mut Writer,
    model: &mut Model,
    line: &Line,
    unacked: &mut usize,
    pieces: &mut dyn Iterator<Item = usize>,
) -> bool {
    for most in pieces {
        let part = match writer.next(line, *unacked) {
            Ok(part) => part,
            Err(ChannelError::AwaitingAck) => return false,
            Err(error) => panic!("{error}"),
        };
        let len = part.bytes.len().min(most);
        let own = line.handoff().map(|handoff| handoff.0);
        model.write(len, own.filter(|_| part.with_descriptor));
        *unacked += usize::from(part.with_descriptor);
        if writer.wrote(line, len) {
            model.end_line(own);
            return true;
        }
    }
    false
}

#[derive(Clone, Debug)]
enum Step {
    Plain(usize),
    Descriptor(usize),
    Turn,
    Hear,
}

fn any_step() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![1..300_usize, 65_300..65_700_usize, 1..140_000_usize];
    let with_descriptor = prop_oneof![9 => 100..150_usize, 1 => 1500..5000_usize];
    prop_oneof![
        2 => plain.prop_map(Step::Plain),
        3 => with_descriptor.prop_map(Step::Descriptor),
        1 => Just(Step::Turn),
        1 => Just(Step::Hear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn every_line_is_given_its_own_descriptor(
        steps in vec(any_step(), 1..40),
        pieces in vec(prop_oneof![500..3000_usize, 30_000..90_000_usize], 1..10),
    ) {
        let (mut writer, mut model, mut unacked) = (Writer::default(), Model::default(), 0);
        let mut pieces = pieces.iter().copied().cycle();
        let mut sent = 0;
        for (number, step) in (0_u64..).zip(steps) {
            let line = match step {
                Step::Plain(len) => line(number, len, None),
                Step::Descriptor(len) => line(number, len, Some(number)),
                Step::Turn => {
                    model.turn();
                    continue;
                }
                Step::Hear => {
                    unacked -= std::mem::take(&mut model.acks);
                    continue;
                }
            };
            sent += usize::from(line.descriptor());
            // A short line goes whole or not at all.
            let whole = &mut std::iter::repeat(usize::MAX);
            loop {
                let sizes: &mut dyn Iterator<Item = usize> =
                    if line.len() < 2048 { whole } else { &mut pieces.by_ref().take(3) };
                if write(&mut writer, &mut model, &line, &mut unacked, sizes) {
                    break;
                }
                model.turn();
                unacked -= std::mem::take(&mut model.acks);
            }
        }
        while !model.channel.is_empty() {
            model.turn();
        }
        prop_assert_eq!(model.given.len(), sent);
        for (given, own) in model.given {
            prop_assert_eq!(given, Some(own));
        }
    }
}

/// Sends plain bytes and two lines with descriptors after them; returns whether the second
/// was let through beside the first.
fn two_after(plain: usize, len: usize) -> bool {
    let mut writer = Writer::default();
    assert!(writer.wrote(&line(0, plain, None), plain));
    let first = line(1, len, Some(1));
    assert!(
        writer.next(&first, 0).unwrap().with_descriptor,
        "a lone one is always fine"
    );
    assert!(writer.wrote(&first, len));
    let second = line(2, len, Some(2));
    let outcome = writer.next(&second, 1).map(drop);
    assert!(writer.next(&second, 0).is_ok(), "the ack lets it through");
    outcome.is_ok()
}

#[test]
fn after_a_run_of_plain_bytes_lines_with_descriptors_go_one_by_one() {
    assert!(two_after(1, 130));
    assert!(two_after(65_405, 130));
    for plain in 65_406..=65_535 {
        assert!(!two_after(plain, 130), "{plain}");
    }
    // Here a cut is possible too, if the worker has read some of it already.
    assert!(!two_after(65_536, 130));
    assert!(!two_after(1_000_000, 130));
}

#[test]
fn the_model_loses_a_descriptor_where_node_does() {
    // Without the writer: that the model is no better than Node is what makes it a test.
    for (plain, lost) in [
        (65_405, false),
        (65_406, true),
        (65_535, true),
        (65_536, false),
    ] {
        let mut model = Model::default();
        model.write(plain, None);
        model.end_line(None);
        for own in [1, 2] {
            model.write(131, Some(own));
            model.end_line(Some(own));
        }
        for _ in 0..4 {
            model.turn();
        }
        let own: Vec<_> = model
            .given
            .iter()
            .filter(|(given, own)| *given == Some(*own))
            .collect();
        assert_eq!(own.len(), if lost { 0 } else { 2 }, "{plain}");
    }
}

#[test]
fn a_barrier_waits_for_those_before_it() {
    let mut writer = Writer::default();
    let first = line(0, 130, Some(1));
    assert!(writer.next(&first, 0).is_ok());
    assert!(writer.wrote(&first, 130));
    assert!(writer.wrote(&line(1, 70_000, None), 70_000));
    let second = line(2, 130, Some(2));
    assert!(matches!(
        writer.next(&second, 1),
        Err(ChannelError::AwaitingAck)
    ));
    // Plain lines pass meanwhile.
    assert!(writer.next(&line(3, 10, None), 1).is_ok());
}

#[test]
fn a_line_that_was_begun_is_finished_without_its_descriptor() {
    let mut writer = Writer::default();
    let long = line(0, 5000, Some(1));
    assert!(writer.next(&long, 0).unwrap().with_descriptor);
    assert!(!writer.wrote(&long, 3000));
    let rest = writer.next(&long, 1).unwrap();
    assert_eq!((rest.bytes.len(), rest.with_descriptor), (2000, false));
    assert!(writer.wrote(&long, 2000));
    // Its last piece came alone, and would be joined to the next line.
    let next = writer.next(&line(1, 130, Some(2)), 1).map(drop);
    assert!(matches!(next, Err(ChannelError::AwaitingAck)));
}
