//! Lines come out as they went in, however the stream is cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::framing::{Framing, READ};
use crate::ChannelError;

fn drain(framing: &mut Framing, lines: &mut Vec<Vec<u8>>) -> Result<(), ChannelError> {
    while let Some(len) = framing.next_len()? {
        let line = framing.take(len);
        assert_eq!(line.len(), len);
        lines.push(line);
    }
    Ok(())
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if byte == b'\n' { b' ' } else { byte });
    prop_oneof![
        8 => vec(byte, 0..200),
        1 => (READ - 2..3 * READ).prop_map(|len| vec![b'x'; len]),
    ]
}

proptest! {
    #[test]
    fn any_cut_of_the_stream_gives_the_same_lines(
        lines in vec(any_line(), 0..12),
        cuts in vec(1..=READ, 1..20),
    ) {
        let stream: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        let mut framing = Framing::new(4 * READ);
        let (mut rest, mut came) = (&stream[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (read, later) = rest.split_at(rest.len().min(*cut));
            framing.push(read);
            drain(&mut framing, &mut came).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(came, lines);
    }
}

#[test]
fn the_longest_line_passes_and_one_byte_more_does_not() {
    let max = 100;
    for (len, passes) in [(max, true), (max + 1, false)] {
        let mut framing = Framing::new(max);
        framing.push(&vec![b'x'; len]);
        // Without its newline it is judged as well.
        assert_eq!(framing.next_len().is_ok(), passes);
        if passes {
            framing.push(b"\n");
            assert_eq!(framing.next_len().unwrap(), Some(len));
        }
    }
}

#[test]
fn what_is_kept_is_bounded_and_given_back() {
    let max = 5 * READ;
    let mut framing = Framing::new(max);
    let read = vec![b'x'; READ];
    for _ in 0..5 {
        framing.push(&read);
        assert_eq!(framing.next_len().unwrap(), None);
        assert!(framing.capacity() <= max + READ);
    }
    framing.push(b"\nabc");
    assert_eq!(framing.next_len().unwrap(), Some(max));
    assert_eq!(framing.take(max).len(), max);
    assert!(framing.capacity() <= READ);
    framing.push(b"d\n");
    assert_eq!(framing.next_len().unwrap(), Some(4));
    assert_eq!(framing.take(4), b"abcd");
}
