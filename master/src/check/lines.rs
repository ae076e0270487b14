//! Goes through a record line by line, without holding it in memory.

use std::io::{self, BufRead};

/// Shows every line that may be JSON to `look`, with its number, until `look` has had enough.
///
/// Others are passed over: a master's events may share their file with its workers' output.
pub(super) fn each_line<T>(
    mut record: impl BufRead,
    mut look: impl FnMut(u64, &[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let (mut line, mut number) = (Vec::new(), 0);
    while record.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        if line.starts_with(b"{")
            && let Some(enough) = look(number, &line)
        {
            return Ok(Some(enough));
        }
        line.clear();
    }
    Ok(None)
}
