//! Who takes turns, in the form in which the program reads it.
//!
//! ```text
//! which half counts │ gap │ count │ members ... │ count │ members ...
//!                           └────── half 0 ─────┘ └────── half 1 ───┘
//! ```
//!
//! The value of a map is written byte by byte while processors read it. So a new list goes
//! into the half that does not count, and only then is one bit changed, which is either the
//! old one or the new one at any moment. A processor that stood still between its two looks
//! while the list was changed twice could still read a mixture. It would choose a listener
//! that has just left, and what lands there the master accepts itself.

/// Listeners that can take turns at an address: as many as there can be workers.
pub(super) const MEMBERS_MAX: i32 = 1024;

/// The number of the master's own listener, where clients wait while nobody takes turns.
pub(super) const LOBBY: i32 = 0;

/// Words of one half: the count, then the members.
const HALF: usize = 1 + MEMBERS_MAX as usize;

/// The same in bytes, for the program.
pub(super) const HALF_BYTES: i32 = HALF as i32 * size_of::<u32>() as i32;

/// Words before the first half.
const HEAD: usize = 2;

/// Bytes of the whole.
pub(super) const BYTES: usize = (HEAD + 2 * HALF) * size_of::<u32>();

/// The table as it is in the kernel.
#[derive(Debug)]
pub(super) struct Table {
    words: Vec<u32>,
}

impl Table {
    /// Returns a table in which nobody takes turns.
    pub(super) fn empty() -> Self {
        Self {
            words: vec![0; HEAD + 2 * HALF],
        }
    }

    /// Returns the two values that are to be written, one after the other, so that these
    /// members take turns in this order. More than [`MEMBERS_MAX`] do not fit.
    pub(super) fn become_list(&mut self, members: &[u32]) -> [Vec<u8>; 2] {
        debug_assert!(
            members.len() < HALF,
            "numbers are given out up to the bound"
        );
        let next = 1 - self.words[0];
        let begin = HEAD + next as usize * HALF;
        let half = &mut self.words[begin..begin + HALF];
        half.fill(0);
        let taken = members.iter().take(HALF - 1);
        half[0] = taken.len() as u32;
        for (word, member) in half[1..].iter_mut().zip(taken) {
            *word = *member;
        }
        let prepared = self.bytes();
        self.words[0] = next;
        [prepared, self.bytes()]
    }

    fn bytes(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> Vec<u32> {
        let (words, _) = bytes.as_chunks();
        words.iter().map(|word| u32::from_ne_bytes(*word)).collect()
    }

    /// Reads as the program does.
    fn read(bytes: &[u8]) -> Vec<u32> {
        let words = words(bytes);
        let half = &words[HEAD + words[0] as usize * HALF..];
        half[1..=half[0] as usize].to_vec()
    }

    #[test]
    fn a_new_list_counts_only_with_the_second_write() {
        let mut table = Table::empty();
        let mut before = Vec::new();
        for members in [&[1, 2, 3][..], &[1, 3], &[], &[7]] {
            let [prepared, switched] = table.become_list(members);
            assert_eq!((prepared.len(), switched.len()), (BYTES, BYTES));
            assert_eq!(read(&prepared), before);
            assert_eq!(read(&switched), members);
            let changed = words(&prepared);
            let changed = changed
                .iter()
                .zip(words(&switched))
                .filter(|(a, b)| **a != *b);
            assert_eq!(changed.count(), 1, "the second write changes one word");
            before = members.to_vec();
        }
    }
}
