//! Times as people type them: `30s`, `500ms`, `2m`, `1h`; a plain number means seconds.

use std::time::Duration;

/// Longest time that is understood: a day. Whoever wants more has most likely mistaken the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a time.
///
/// # Errors
///
/// What would have been right.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wanted = || "give a time such as 500ms, 30s, 2m or 1h, at most 24h".to_owned();
    let end_of_number = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end_of_number);
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let millis = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        _ => None,
    };
    millis
        .and_then(|millis| number.checked_mul(millis))
        .map(Duration::from_millis)
        .filter(|time| *time <= LONGEST)
        .ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("0", 0),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "25h",
            "1 s",
            "99999999999999999999",
            "18446744073709551615h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
