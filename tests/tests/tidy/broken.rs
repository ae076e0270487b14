//! Each rule fails on what breaks it, and passes what only looks like it.

use super::tree::Tree;
use super::{Problems, code, documents, layers, names, shape};

/// Asserts that the rule finds exactly these places, each `path` or `path:line`.
fn finds(rule: fn(&Tree) -> Problems, files: &[(&str, &str)], places: &[&str]) {
    let problems = rule(&Tree::of(files));
    let matches = problems.len() == places.len()
        && problems
            .iter()
            .zip(places)
            .all(|(problem, place)| problem.starts_with(&format!("{place}: ")));
    assert!(matches, "expected {places:?}, found {problems:#?}");
}

#[test]
fn a_file_without_purpose() {
    let files = [
        ("a/src/fine.rs", "//! Counts.\n"),
        ("a/src/mute.rs", "use std::fmt;\n"),
        ("examples/examples/mute.rs", "// You will learn…\n"),
    ];
    let places = ["a/src/mute.rs:1", "examples/examples/mute.rs:1"];
    finds(shape::every_file_opens_with_its_purpose, &files, &places);
}

#[test]
fn a_file_that_is_too_long() {
    let code = "//! Counts.\n".to_string() + &"fn f() {}\n".repeat(399);
    let long = code.clone() + "fn f() {}\n";
    let tests = "#[cfg(test)]\nmod tests {\n".to_string() + &"    fn f() {}\n".repeat(9) + "}\n";
    let tested = code.clone() + &tests;
    let example = "//! You will learn…\n".to_string() + &"fn f() {}\n".repeat(100);
    let files = [
        ("a/src/fine.rs", code.as_str()),
        ("a/src/lib.rs", "#[cfg(test)]\nmod cases;\n"),
        ("a/src/cases.rs", &long),
        ("a/src/long.rs", &long),
        ("a/src/tested.rs", &tested),
        ("examples/examples/long.rs", &example),
    ];
    let places = ["a/src/long.rs", "examples/examples/long.rs"];
    finds(shape::no_file_is_too_long, &files, &places);
}

#[test]
fn a_test_that_is_left_out() {
    let text = "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n#[should_panic]\nfn g() {}\n";
    let places = ["tests/tests/a.rs:2", "tests/tests/a.rs:4"];
    finds(
        shape::no_test_is_left_out,
        &[("tests/tests/a.rs", text)],
        &places,
    );
}

#[test]
fn work_without_an_issue() {
    let word = concat!("TO", "DO");
    let text = format!("//! {word}: later\n// {word}(#12): later\n// {word}(#): later\n");
    let places = ["a/src/a.rs:1", "a/src/a.rs:3"];
    let files = [("a/src/a.rs", text.as_str()), ("docs/a.md", &text)];
    finds(shape::what_is_to_be_done_has_an_issue, &files, &places);
}

#[test]
fn pure_code_with_io() {
    let text = "\
use std::{collections::BTreeMap, io::{self, Read}, time::Instant};
use tokio::time;
fn f() { let now = Instant::now(); std::env::var(\"A\"); }
// std::fs in a comment
fn operand(io: u8, text: &'static str) { text == \"std::os\"; SystemTime::now(); }
#[cfg(test)]
mod tests {
    use std::thread;
}
";
    let path = "master/core/src/a.rs";
    let place = |line| format!("{path}:{line}");
    let places = [place(2), place(1), place(3), place(3), place(5)];
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let shell = ("master/src/shell/a.rs", text);
    finds(
        layers::pure_code_does_no_io,
        &[(path, text), shell],
        &places,
    );

    let session = [("worker/src/session.rs", "use nix::sys;\n")];
    finds(
        layers::pure_code_does_no_io,
        &session,
        &["worker/src/session.rs:1"],
    );
}

#[test]
fn pure_code_whose_tests_have_a_file() {
    let files = [
        (
            "master/core/src/a.rs",
            "#[cfg(test)]\nmod laws;\nmod law;\n",
        ),
        ("master/core/src/a/laws.rs", "use std::thread;\n"),
        ("master/core/src/a/laws/house.rs", "use std::thread;\n"),
        ("master/core/src/a/law.rs", "use std::thread;\n"),
    ];
    finds(
        layers::pure_code_does_no_io,
        &files,
        &["master/core/src/a/law.rs:1"],
    );
}

#[test]
fn an_encoding_named_elsewhere() {
    let files = [
        ("protocol/src/native/codec.rs", "use bincode::config;\n"),
        ("protocol/src/native/mod.rs", "//! bincode inside.\n"),
        ("worker/src/a.rs", "\nfn f() { bincode::encode() }\n"),
    ];
    let places = ["worker/src/a.rs:2"];
    finds(layers::one_file_names_the_encoding, &files, &places);
}

#[test]
fn unsafe_code_elsewhere() {
    let files = [
        ("protocol/src/fd.rs", "unsafe {}\n"),
        ("master/src/kernel/bpf.rs", "unsafe {}\n"),
        ("worker/src/a.rs", "#![expect(unsafe_code)]\nunsafe {}\n"),
    ];
    finds(layers::two_files_are_unsafe, &files, &["worker/src/a.rs:2"]);
}

#[test]
fn a_master_that_knows_workers() {
    let text = "use maitred_worker::listen;\n";
    let files = [
        ("master/src/demo/mod.rs", text),
        ("master/src/shell/a.rs", text),
        ("examples/examples/a.rs", text),
    ];
    finds(
        layers::the_master_library_knows_no_worker_library,
        &files,
        &["master/src/shell/a.rs:1"],
    );
}

#[test]
fn a_command_that_reaches_into_the_shell() {
    let text = "\
use maitred::{Cluster, shell::process};
use crate::shell::listeners;
fn f(shell: Shell) { generate(shell); }
fn g() { shell::process::spawn(); }
";
    let path = "master/src/cli/a.rs";
    finds(
        layers::the_command_line_speaks_the_control_api_only,
        &[(path, text), ("master/src/daemon.rs", text)],
        &[
            "master/src/cli/a.rs:1",
            "master/src/cli/a.rs:2",
            "master/src/cli/a.rs:4",
        ],
    );
}

#[test]
fn a_package_that_depends_on_the_wrong_side() {
    let files = [
        (
            "worker/Cargo.toml",
            "[dependencies]\nmaitred-protocol.workspace = true\nmaitred.workspace = true\n",
        ),
        (
            "protocol/Cargo.toml",
            "[dev-dependencies]\nmaitred-worker = { workspace = true }\n",
        ),
    ];
    let places = ["protocol/Cargo.toml:2", "worker/Cargo.toml:3"];
    finds(layers::packages_depend_in_one_direction, &files, &places);
}

#[test]
fn a_package_without_lints() {
    let files = [
        (
            "a/Cargo.toml",
            "[package]\n\n[lints]\nworkspace = true\n\n[dependencies]\n",
        ),
        ("b/Cargo.toml", "[package]\n"),
    ];
    let places = ["b/Cargo.toml"];
    finds(layers::packages_take_the_workspace_lints, &files, &places);
}

#[test]
fn a_name_that_is_not_in_the_glossary() {
    let text = "\
struct FreeList { count: usize }
fn send_nack() {}
let mut free_list = ready;
pub conn: usize,
fn connect(unconnected: u8) { let child: Child = with_graceful_shutdown(hyper_util::rt()); }
// fn helper() {}
";
    let places = [
        "a/src/a.rs:1",
        "a/src/a.rs:2",
        "a/src/a.rs:3",
        "a/src/a.rs:4",
    ];
    finds(names::one_word_per_thing, &[("a/src/a.rs", text)], &places);
}

#[test]
fn a_message_without_description() {
    let code = "\
pub enum MasterToWorker {
    /// Greets.
    Welcome(Welcome),
    Drain {
        grace: Duration,
    },
}

pub enum WorkerToMaster {
    Ready,
}
";
    let description = "\
## To the worker (`MasterToWorker`)
| message |
|---|
| `Welcome` |
| `Drain` |
## To the master (`WorkerToMaster`)
| `Ready` |
";
    let tree = |description| {
        [
            ("protocol/src/message.rs", code),
            ("docs/protocol.md", description),
        ]
    };
    let rule = documents::every_wire_message_is_documented;
    finds(rule, &tree(description), &[]);
    let without = description.replace("| `Drain` |\n", "");
    finds(rule, &tree(&without), &["docs/protocol.md"]);
    let stale = description.replace("| `Ready` |\n", "| `Ready` |\n| `Gone` |\n");
    finds(rule, &tree(&stale), &["docs/protocol.md"]);
}

#[test]
fn a_step_without_its_file() {
    let steps = [
        "accept", "queue", "schedule", "hand off", "take", "ack", "release",
    ];
    let readme: String = steps
        .map(|step| format!("| {step} | [a](a.rs) |\n"))
        .concat();
    let rule = documents::the_readme_names_a_file_for_each_step;
    let check = |readme: &str, places: &[&str]| {
        finds(rule, &[("README.md", readme), ("a.rs", "//! A.\n")], places);
    };
    check(&readme, &[]);
    check(&readme.replace("| ack |", "| back |"), &["README.md"]);
    check(&readme.replacen("a.rs", "b.rs", 1), &["README.md"]);
}

#[test]
fn an_invariant_without_its_test() {
    let page = "**Invariant: a.** [`holds`](a.rs)\n\n".repeat(6);
    let rule = documents::every_invariant_names_its_test;
    let check = |page: &str, places: &[&str]| {
        finds(
            rule,
            &[("ARCHITECTURE.md", page), ("a.rs", "fn holds() {}")],
            places,
        );
    };
    check(&page, &[]);
    check(&page.replacen("holds", "held", 1), &["ARCHITECTURE.md"]);
    check(&page.replacen("Invariant", "Hope", 1), &["ARCHITECTURE.md"]);
}

#[test]
fn a_link_that_leads_nowhere() {
    let readme = "[a](docs/a.md) [b](docs/a.md#part) [c](https://example.org/x) [d](#part)\n\
                  [e](docs/gone.md), [f](src/)\n";
    let files = [
        ("README.md", readme),
        ("docs/a.md", "[up](../README.md) [here](b.md)\n"),
        ("src/a.rs", ""),
    ];
    let places = ["README.md:2", "docs/a.md:1"];
    finds(documents::links_lead_somewhere, &files, &places);
}

#[test]
fn comments_and_texts_are_not_code() {
    let text = r##"let a = "x // y"; /* b /* c */ d */ let e = 'f'; fn g<'h>(i: &'h str) {}
let j = r#"k " l"#; // m
let n = '\''; let o = "\" p"; let q = b"r";"##;
    let stripped = code::strip(text);
    let words: Vec<&str> = code::words(&stripped).map(|(_, word)| word).collect();
    let expected = "let a let e fn g h i h str let j let n let o let q b";
    assert_eq!(words.join(" "), expected);
}

#[test]
fn a_behaviour_that_no_test_shows() {
    let page = "\
| # | for | Node's test | what | shown by |
|---|---|---|---|---|
| 1 | a b | a | does | [`it_does`](../tests/a.rs); [`it_does_so_too`](../tests/a.rs) |
| 2 | a | b | does | Does not apply: it cannot. |
| 3 | b | c | does | [`it_did`](../tests/a.rs) |
| S4 | c | d | does | somehow |
| 5 | a b | e | does | [`it`](../tests/a.rs) |
";
    let tests = "\
#[test]
fn it_does() { it() }

fn it() {}

#[tokio::test(start_paused = true)]
async fn it_does_so_too() {}
";
    let files = [("docs/node-parity.md", page), ("tests/a.rs", tests)];
    let places = [5, 6, 7].map(|line| format!("docs/node-parity.md:{line}"));
    let places = places.each_ref().map(String::as_str);
    finds(documents::every_parity_row_names_its_test, &files, &places);
    let places = ["docs/node-parity.md:6"];
    finds(documents::every_parity_row_is_tagged, &files, &places);
}

#[test]
fn a_promise_that_no_test_shows() {
    let page = "\
| # | promise | shown by |
|---|---|---|
| 1 | a | [`it_is_kept`](../tests/a.rs) |
| 2 | b | Does not apply: it cannot. |
| 3 | c | [`it_was_kept`](../tests/a.rs) |
";
    let tests = "#[test]\nfn it_is_kept() {}\n";
    let files = [("docs/guarantee.md", page), ("tests/a.rs", tests)];
    let places = ["docs/guarantee.md:4", "docs/guarantee.md:5"];
    finds(documents::every_promise_names_its_test, &files, &places);
}
