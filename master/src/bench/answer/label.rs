//! The worker that an answer names in `x-worker-id`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name that is kept; the rest is cut off. Ours are numbers of at most 20 digits.
const LENGTH_MAX: usize = 24;

/// A worker's name, kept in place: one comes with every answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::bench) struct Label {
    length: u8,
    bytes: [u8; LENGTH_MAX],
}

impl Label {
    /// Takes over what a header says.
    ///
    /// It is shown on terminals, so whatever is not a plain visible character becomes `?`.
    pub(in crate::bench) fn new(value: &[u8]) -> Self {
        let mut bytes = [0; LENGTH_MAX];
        let mut length = 0;
        for (kept, byte) in bytes.iter_mut().zip(value) {
            *kept = if byte.is_ascii_graphic() { *byte } else { b'?' };
            length += 1;
        }
        Self { length, bytes }
    }

    /// Returns the name.
    pub(in crate::bench) fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.length)];
        str::from_utf8(bytes).expect("only ASCII is kept")
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Label {
    /// As a number if it is one, which is how the master's events name workers.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str().parse::<u64>() {
            Ok(number) => serializer.serialize_u64(number),
            Err(_) => serializer.serialize_str(self.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Number(number) => Self::new(number.to_string().as_bytes()),
            Written::Text(text) => Self::new(text.as_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_a_number() {
        for (value, json) in [("7", "7"), ("blue", "\"blue\""), ("", "\"\"")] {
            let label = Label::new(value.as_bytes());
            assert_eq!(serde_json::to_string(&label).unwrap(), json);
            assert_eq!(serde_json::from_str::<Label>(json).unwrap(), label);
        }
    }

    #[test]
    fn a_name_is_cut_and_cannot_command_the_terminal() {
        assert_eq!(Label::new(b"\x1b[31mred\xff").as_str(), "?[31mred?");
        assert_eq!(Label::new(&[b'a'; 99]).as_str(), "a".repeat(LENGTH_MAX));
    }
}
