//! The shape of files: how they begin, how long they are, what they must not leave behind.

use super::Problems;
use super::code;
use super::tree::Tree;

/// A file that is longer holds two ideas; the model codebases regret every one of theirs.
const LINES_MAX: usize = 400;
/// An example is read in one go.
const EXAMPLE_LINES_MAX: usize = 100;

/// Put together here, or this very file would be in breach.
const TO_BE_DONE: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

fn is_example(path: &str) -> bool {
    let folders = ["examples/src/", "examples/tests/"];
    path.starts_with("examples/") && !folders.iter().any(|folder| path.starts_with(folder))
}

pub(crate) fn every_file_opens_with_its_purpose(tree: &Tree) -> Problems {
    tree.sources()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| {
            format!(
                "{}:1: says not what it is for. Open it with a `//!` comment: purpose, the one \
                 idea, what is absent on purpose",
                source.path
            )
        })
        .collect()
}

pub(crate) fn no_file_is_too_long(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    // A list of cases may be long, whether it stands at the end of the file or beside it.
    for source in tree.sources().filter(|source| !source.is_test_module) {
        let without_tests = code::without_tests(source.text);
        let kept = without_tests.lines().zip(source.text.lines());
        let lines = kept.filter(|(kept, line)| kept == line).count();
        let (max, fix) = if is_example(source.path) {
            (EXAMPLE_LINES_MAX, "show one idea and leave the others out")
        } else {
            (LINES_MAX, "give its second idea a file of its own")
        };
        if lines > max {
            let path = source.path;
            problems.push(format!(
                "{path}: {lines} lines without tests, at most {max}: {fix}"
            ));
        }
    }
    problems
}

pub(crate) fn no_test_is_left_out(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    for source in tree.sources() {
        let stripped = code::strip(source.text);
        for (line, number) in stripped.lines().zip(1..) {
            for attribute in ["#[ignore", "#[should_panic"] {
                if line.trim_start().starts_with(attribute) {
                    problems.push(format!(
                        "{}:{number}: {attribute}] hides what is wrong. Assert the present \
                         behaviour and name the issue, or take MAITRED_LONG for long tests",
                        source.path
                    ));
                }
            }
        }
    }
    problems
}

pub(crate) fn what_is_to_be_done_has_an_issue(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    let read = |path: &str| {
        let endings = [
            ".rs", ".js", ".mjs", ".cjs", ".toml", ".html", ".css", ".sh", "/run",
        ];
        endings.iter().any(|ending| path.ends_with(ending))
    };
    for (path, text) in tree.files().filter(|(path, _)| read(path)) {
        for (line, number) in text.lines().zip(1..) {
            if let Some(word) = to_be_done_without_issue(line) {
                problems.push(format!(
                    "{path}:{number}: {word} without an issue will be forgotten. Write \
                     {}(#123), or do it now",
                    TO_BE_DONE[0]
                ));
            }
        }
    }
    problems
}

fn to_be_done_without_issue(line: &str) -> Option<&'static str> {
    let word = TO_BE_DONE
        .into_iter()
        .find(|word| code::words(line).any(|(_, found)| found == *word))?;
    let issue = line.split_once(&format!("{word}(#"));
    let has_issue = issue.is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    (!has_issue).then_some(word)
}
