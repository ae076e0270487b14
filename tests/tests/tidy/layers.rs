//! Who may use what: the layers that ARCHITECTURE.md describes.

use super::Problems;
use super::code;
use super::tree::Tree;

/// Code that is told facts and answers with orders, so that it can be simulated.
const PURE: [&str; 2] = ["master/core/src/", "worker/src/session"];
const IMPURE_CRATES: [&str; 5] = ["tokio", "nix", "rustix", "rand", "libc"];
const IMPURE_STD: [&str; 6] = ["io", "os", "fs", "env", "process", "thread"];

/// The parts of the binary that may use the worker library: its built-in demo worker.
const DEMO: [&str; 3] = ["master/src/demo", "master/src/main.rs", "master/src/cli/"];

/// Which of our packages each of our packages may depend on.
const MAY_DEPEND_ON: [(&str, &[&str]); 4] = [
    ("master/core", &[]),
    ("protocol", &["maitred-core"]),
    ("worker", &["maitred-core", "maitred-protocol"]),
    // The worker library is for the demo worker of the binary; the rule above guards the rest.
    (
        "master",
        &["maitred-core", "maitred-protocol", "maitred-worker"],
    ),
];

pub(crate) fn pure_code_does_no_io(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    let is_pure = |path: &str| PURE.iter().any(|pure| path.starts_with(pure));
    for source in tree.sources().filter(|source| is_pure(source.path)) {
        let code = source.product_code();
        let crates = code::words(&code).filter(|(_, word)| IMPURE_CRATES.contains(word));
        let modules = code::names_below(&code, "std")
            .into_iter()
            .filter(|(_, name)| IMPURE_STD.contains(name));
        let clocks = code::names_below(&code, "Instant")
            .into_iter()
            .filter(|(_, name)| *name == "now");
        let dates = code::words(&code).filter(|(_, word)| *word == "SystemTime");
        for (line, what) in crates.chain(modules).chain(clocks).chain(dates) {
            problems.push(format!(
                "{}:{line}: pure code uses `{what}`. Let the caller observe it and pass the \
                 fact in; time is an argument",
                source.path
            ));
        }
    }
    problems
}

pub(crate) fn one_file_names_the_encoding(tree: &Tree) -> Problems {
    only_in(
        tree,
        "bincode",
        &["protocol/src/native/codec.rs"],
        "call its functions; the encoding is to be replaceable in one file",
    )
}

/// Descriptors that cross process borders, and bpf(2) for policy `kernel`.
pub(crate) fn two_files_are_unsafe(tree: &Tree) -> Problems {
    only_in(
        tree,
        "unsafe",
        &["protocol/src/fd.rs", "master/src/kernel/bpf.rs"],
        "put a safe function there, with a SAFETY comment for each block",
    )
}

pub(crate) fn the_master_library_knows_no_worker_library(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    for source in tree.sources() {
        let is_library = source.path.starts_with("master/src/")
            && !DEMO.iter().any(|demo| source.path.starts_with(demo));
        if is_library {
            let fix = "only the binary's demo worker may; move what both sides need to protocol/";
            let code = source.product_code();
            problems.extend(uses(&source, &code, "maitred_worker", fix));
        }
    }
    problems
}

pub(crate) fn the_command_line_speaks_the_control_api_only(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    let is_cli = |path: &str| path.starts_with("master/src/cli");
    for source in tree.sources().filter(|source| is_cli(source.path)) {
        let code = source.product_code();
        let named = ["crate", "super", "maitred"]
            .into_iter()
            .flat_map(|root| code::names_below(&code, root))
            .filter(|(_, name)| *name == "shell")
            .map(|(line, _)| line);
        let direct = code::names_below(&code, "shell").into_iter();
        let mut lines: Vec<usize> = named.chain(direct.map(|(line, _)| line)).collect();
        lines.sort_unstable();
        lines.dedup();
        problems.extend(lines.into_iter().map(|line| {
            format!(
                "{}:{line}: a command reaches into shell/. Ask for it over the control API, or \
                 offer it in the library's public API",
                source.path
            )
        }));
    }
    problems
}

/// Tests are looked at too, since a test of the wrong side would tie the packages together.
pub(crate) fn packages_depend_in_one_direction(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    for (folder, allowed) in MAY_DEPEND_ON {
        let path = format!("{folder}/Cargo.toml");
        for (line, number) in tree.text(&path).unwrap_or("").lines().zip(1..) {
            let key = line.split(['.', '=', ' ']).next().unwrap_or("");
            let is_ours = key == "maitred" || key.starts_with("maitred-");
            if is_ours && !allowed.contains(&key) {
                problems.push(format!(
                    "{path}:{number}: {folder} depends on {key}. Move what both need to \
                     protocol/, or the test that needs both to tests/"
                ));
            }
        }
    }
    problems
}

pub(crate) fn packages_take_the_workspace_lints(tree: &Tree) -> Problems {
    tree.files()
        .filter(|(path, text)| path.ends_with("/Cargo.toml") && text.contains("[package]"))
        // Fuzz targets are a workspace of their own: they need another compiler.
        .filter(|(_, text)| !text.contains("\n[workspace]"))
        .filter(|(_, text)| !text.contains("\n[lints]\nworkspace = true\n"))
        .map(|(path, _)| {
            format!(
                "{path}: is checked by no lint. Add a section `[lints]` with `workspace = true`"
            )
        })
        .collect()
}

fn only_in(tree: &Tree, word: &str, homes: &[&str], fix: &str) -> Problems {
    let mut problems = Problems::new();
    for source in tree.sources() {
        if !homes.contains(&source.path) {
            // Tests are no exception here.
            let code = code::strip(source.text);
            let home = format!("the place for it is {}: {fix}", homes.join(", "));
            problems.extend(uses(&source, &code, word, &home));
        }
    }
    problems
}

fn uses(source: &super::tree::Source<'_>, code: &str, word: &str, fix: &str) -> Problems {
    code::words(code)
        .filter(|(_, found)| *found == word)
        .map(|(line, _)| format!("{}:{line}: uses `{word}`; {fix}", source.path))
        .collect()
}
