//! One word per thing: what we name ourselves is named by the glossary.
//!
//! Only names that are given here are looked at (after `fn`, `struct`, `let` …, and fields),
//! since those of other crates are not ours to choose.

use super::Problems;
use super::code;
use super::tree::Tree;

/// A word that must not stand in a name, and the one that should.
const INSTEAD: [(&str, &str); 14] = [
    ("free_list", "ready (the ready ring)"),
    ("nack", "reject"),
    ("outstanding", "in_flight"),
    ("graceful", "drain"),
    ("slave", "worker"),
    ("child_process", "worker"),
    ("worker_version", "generation"),
    ("job", "handoff"),
    ("conn", "connection"),
    ("cleanup", "reap, release or close"),
    ("ipc", "channel"),
    ("manager", "what it does"),
    ("helper", "what it does"),
    ("util", "what it does"),
];

const GIVES_A_NAME: [&str; 9] = [
    "fn", "struct", "enum", "trait", "type", "mod", "const", "static", "let",
];

pub(crate) fn one_word_per_thing(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    for source in tree.sources() {
        let code = code::strip(source.text);
        for (line, number) in code.lines().zip(1..) {
            for name in names_given(line) {
                if let Some((word, instead)) = banned(name) {
                    let path = source.path;
                    problems.push(format!(
                        "{path}:{number}: `{name}` says `{word}`; the glossary in \
                         protocol/src/lib.rs has another word: {instead}"
                    ));
                }
            }
        }
    }
    problems
}

/// Returns the names that a line of code gives.
fn names_given(line: &str) -> Vec<&str> {
    let words: Vec<&str> = code::words(line).map(|(_, word)| word).collect();
    let mut names: Vec<&str> = words
        .windows(2)
        .filter(|pair| GIVES_A_NAME.contains(&pair[0]))
        .map(|pair| pair[1])
        .collect();
    names.extend(
        words
            .windows(3)
            .filter(|three| three[..2] == ["let", "mut"])
            .map(|three| three[2]),
    );
    let field = line.trim().trim_start_matches("pub ");
    if let Some((name, rest)) = field.split_once(':')
        && !rest.starts_with(':')
        && code::words(name).count() == 1
    {
        names.push(name);
    }
    names
}

fn banned(name: &str) -> Option<(&'static str, &'static str)> {
    let parts = format!("_{}_", snake_case(name));
    INSTEAD
        .into_iter()
        .find(|(word, _)| parts.contains(&format!("_{word}_")))
}

/// Returns `FreeList` as `free_list`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before = '_';
    for character in name.chars() {
        if character.is_uppercase() && before.is_lowercase() {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
        before = character;
    }
    snake
}
