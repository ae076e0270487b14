//! The `Date` header field (RFC 9110, 5.6.7), written once a second.

use std::{
    cell::RefCell,
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

/// Length of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
const LENGTH: usize = 29;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A second since 1970, and its text.
struct Cached {
    second: u64,
    text: [u8; LENGTH],
}

thread_local! {
    // Per thread, so that answering needs no lock shared by all connections.
    static CACHED: RefCell<Cached> = const { RefCell::new(Cached { second: u64::MAX, text: [0; LENGTH] }) };
}

/// Appends the present date.
pub(super) fn push_now(out: &mut Vec<u8>) {
    // A clock before 1970 is wrong anyway; the date is then at least well-formed.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    CACHED.with_borrow_mut(|cached| {
        if cached.second != now {
            cached.second = now;
            cached.text = write(now);
        }
        out.extend_from_slice(&cached.text);
    });
}

/// The text for a second since 1970.
fn write(second: u64) -> [u8; LENGTH] {
    let (days, time) = (second / SECONDS_A_DAY, second % SECONDS_A_DAY);
    let (year, month, day) = civil(days);
    let mut text = [b' '; LENGTH];
    // It fits until the year 9999; after that the date is cut, not the program.
    let _ = write!(
        &mut text[..],
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        WEEKDAYS[(days % 7) as usize],
        MONTHS[month],
        time / 3600,
        time / 60 % 60,
        time % 60,
    );
    text
}

/// Year, month (0 is January) and day of a day since 1970, in the Gregorian calendar.
///
/// Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the
/// last of its year and every month's first day follows from one division.
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_that_everyone_else_writes() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(str::from_utf8(&write(second)).unwrap(), text);
        }
    }
}
