//! The files that the rules look at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::code;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 5] = ["target", "node_modules", "corpus", "artifacts", ".git"];

/// Files by their path from the root, with `/` between folders.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    /// Modules that exist in tests only, by their path without `.rs`.
    test_modules: BTreeSet<String>,
}

/// One Rust file.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
    /// Whether the whole file belongs to tests.
    pub(crate) is_test: bool,
    /// Whether it is a module of the product that exists in its tests only.
    pub(crate) is_test_module: bool,
}

impl Tree {
    pub(crate) fn of_the_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = BTreeMap::new();
        collect(root, "", &mut files);
        assert!(
            files.contains_key("Cargo.toml") && files.contains_key("protocol/src/lib.rs"),
            "the tree at {} is not the repository",
            root.display()
        );
        Self::new(files)
    }

    /// Returns a tree of the given files, for the tests of the rules.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |(path, text): &(&str, &str)| (path.to_string(), text.to_string());
        Self::new(files.iter().map(owned).collect())
    }

    fn new(files: BTreeMap<String, String>) -> Self {
        let mut test_modules = BTreeSet::new();
        for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".rs")) {
            let folder = module_folder(path);
            let names = code::test_only_modules(text);
            test_modules.extend(names.iter().map(|name| format!("{folder}/{name}")));
        }
        Self {
            files,
            test_modules,
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        self.files()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source {
                path,
                text,
                is_test: is_of_tests(path) || self.is_test_module(path),
                is_test_module: self.is_test_module(path),
            })
    }

    fn is_test_module(&self, path: &str) -> bool {
        let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let below = |test: &String| {
            module
                .strip_prefix(test.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.test_modules.iter().any(below)
    }
}

/// Returns whether cargo takes the file for a test or a benchmark.
fn is_of_tests(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.contains("/benches/")
}

impl Source<'_> {
    /// Returns the code that is part of the product: no comments, no texts, no tests.
    /// Lines keep their numbers.
    pub(crate) fn product_code(&self) -> String {
        if self.is_test {
            return String::new();
        }
        code::strip(&code::without_tests(self.text))
    }
}

/// Returns the folder in which the modules that this file declares lie.
fn module_folder(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_string(),
        _ => path.trim_end_matches(".rs").to_string(),
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            // What is not text (an image) has no rule to keep, but it can be linked to.
            files.insert(path, text);
        } else {
            files.insert(path, String::new());
        }
    }
}
