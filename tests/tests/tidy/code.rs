//! Just enough of Rust's grammar to tell code from comments, texts and tests.
//!
//! The code is known to be formatted (another step checks that), which allows short cuts: an
//! item ends at the first `}` or `;` that stands as deep as the item began.

/// Returns the code with comments and the insides of texts as spaces; lines stay lines.
pub(crate) fn strip(text: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (len, kept) = token(rest, first, stripped.chars().next_back());
        for (place, character) in rest[..len].char_indices() {
            let visible = place < kept || character == '\n';
            stripped.push(if visible { character } else { ' ' });
        }
        rest = &rest[len..];
    }
    stripped
}

/// Returns the length of the token at the start of `rest`, and how much of it is code.
fn token(rest: &str, first: char, before: Option<char>) -> (usize, usize) {
    let in_word = before.is_some_and(is_word);
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), 0);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), 0);
    }
    if !in_word && let Some(len) = raw_text(rest) {
        return (len, 0);
    }
    match first {
        '"' => (quoted(rest, '"'), 0),
        // A lifetime has no closing quote right after its first character or escape.
        '\'' if rest[1..].starts_with('\\') => (quoted(rest, '\''), 0),
        '\'' if rest.chars().nth(2) == Some('\'') => (quoted(rest, '\''), 0),
        _ => (first.len_utf8(), first.len_utf8()),
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut place = 0;
    while place < rest.len() {
        if rest[place..].starts_with("/*") {
            depth += 1;
            place += 2;
        } else if rest[place..].starts_with("*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                break;
            }
        } else {
            place += rest[place..].chars().next().map_or(1, char::len_utf8);
        }
    }
    place
}

fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let open = rest.len() - after.len() + hashes + 1;
    let inside = rest[open..].find(&close)?;
    Some(open + inside + close.len())
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (place, character) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return place + 1;
        }
    }
    rest.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Returns the text with every item behind `#[cfg(test)]` as empty lines.
pub(crate) fn without_tests(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let depth = indent(line);
            kept.push('\n');
            for line in lines.by_ref() {
                kept.push('\n');
                if indent(line) == depth && (line.ends_with('}') || line.ends_with(';')) {
                    break;
                }
            }
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Returns the modules that `text` declares behind `#[cfg(test)]` and keeps in other files.
pub(crate) fn test_only_modules(text: &str) -> Vec<&str> {
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]"
            && let Some(item) = lines.find(|line| !line.starts_with("#["))
            && let Some((_, name)) = item.rsplit_once("mod ")
            && let Some(name) = name.strip_suffix(';')
        {
            found.push(name);
        }
    }
    found
}

/// Returns every identifier of stripped code with the number of its line.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().zip(1..).flat_map(|(line, number)| {
        line.split(|character| !is_word(character))
            .filter(|word| !word.is_empty())
            .map(move |word| (number, word))
    })
}

/// Returns the first names below `root` that stripped code uses: `io` and `fmt` for `std` in
/// `use std::{fmt, io::Read}`, with the number of the line of `root`.
pub(crate) fn names_below<'a>(code: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let start = format!("{root}::");
    let mut found = Vec::new();
    for (place, _) in code.match_indices(&start) {
        if code[..place].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let line = code[..place].matches('\n').count() + 1;
        let below = &code[place + start.len()..];
        match below.strip_prefix('{') {
            Some(list) => found.extend(list_heads(list).into_iter().map(|name| (line, name))),
            None => found.push((line, head(below))),
        }
    }
    found
}

/// Returns the first name of each item in a list that has just been opened.
fn list_heads(list: &str) -> Vec<&str> {
    let mut depth = 1;
    let mut begin = 0;
    let mut heads = Vec::new();
    for (place, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && character == ',') {
            heads.push(head(list[begin..place].trim_start()));
            begin = place + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn head(path: &str) -> &str {
    path.split(|character| !is_word(character))
        .next()
        .unwrap_or("")
}
