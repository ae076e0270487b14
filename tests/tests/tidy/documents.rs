//! Documents keep up with the code: messages are described, links lead somewhere.

use super::Problems;
use super::tree::Tree;

const MESSAGES: &str = "protocol/src/message.rs";
const DESCRIPTION: &str = "docs/protocol.md";

/// The tables of the description have the very messages of the code, in their order, since
/// the order is part of the wire format.
pub(crate) fn every_wire_message_is_documented(tree: &Tree) -> Problems {
    let code = tree.text(MESSAGES).unwrap_or("");
    let description = tree.text(DESCRIPTION).unwrap_or("");
    let mut problems = Problems::new();
    for direction in ["MasterToWorker", "WorkerToMaster"] {
        let variants = variants(code, direction);
        if variants.is_empty() {
            problems.push(format!("{MESSAGES}: `pub enum {direction}` is not there"));
        }
        let rows = rows(description, direction);
        if rows != variants {
            problems.push(format!(
                "{DESCRIPTION}: the table under the heading with `{direction}` has {rows:?}, and \
                 {MESSAGES} has {variants:?}. Give each message one row, in that order"
            ));
        }
    }
    problems
}

fn variants<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    code.lines()
        .skip_while(|line| *line != format!("pub enum {name} {{"))
        .skip(1)
        .take_while(|line| *line != "}")
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next())
        .collect()
}

/// Returns the names in the first column of the table under the heading that names `name`.
fn rows<'a>(description: &'a str, name: &str) -> Vec<&'a str> {
    description
        .lines()
        .skip_while(|line| !(line.starts_with('#') && line.contains(name)))
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect()
}

/// A connection's journey, in the order in which the README's table has it.
const JOURNEY: [&str; 7] = [
    "accept", "queue", "schedule", "hand off", "take", "ack", "release",
];

/// The README leads from each step of a connection's journey to the one file that does it.
/// That such files stay short is another rule's business, which holds for all.
pub(crate) fn the_readme_names_a_file_for_each_step(tree: &Tree) -> Problems {
    let readme = tree.text("README.md").unwrap_or("");
    let mut problems = Problems::new();
    for step in JOURNEY {
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| {step} |")));
        let files: Vec<&str> = row.into_iter().flat_map(links).collect();
        let is_file = |file: &&str| file.ends_with(".rs") && tree.text(file).is_some();
        if files.len() != 1 || !files.iter().all(is_file) {
            problems.push(format!(
                "README.md: the table of ideas and files has {files:?} for the step `{step}`. \
                 Begin a row with `| {step} |` and link to the one file that does it"
            ));
        }
    }
    problems
}

/// An invariant that no test guards is a hope.
pub(crate) fn every_invariant_names_its_test(tree: &Tree) -> Problems {
    const PAGE: &str = "ARCHITECTURE.md";
    /// Fewer would mean that the page was forgotten.
    const INVARIANTS_MIN: usize = 6;
    let page = tree.text(PAGE).unwrap_or("");
    let invariants: Vec<&str> = page
        .split("\n\n")
        .filter(|paragraph| paragraph.trim_start().starts_with("**Invariant:"))
        .collect();
    let mut problems = Problems::new();
    if invariants.len() < INVARIANTS_MIN {
        let found = invariants.len();
        problems.push(format!(
            "{PAGE}: {found} paragraphs begin with `**Invariant:`, and at least \
             {INVARIANTS_MIN} should"
        ));
    }
    for invariant in invariants {
        if !invariant
            .split("[`")
            .skip(1)
            .any(|link| is_test(tree, link))
        {
            let first = invariant.trim_start().lines().next().unwrap_or("");
            problems.push(format!(
                "{PAGE}: «{first}» links to no test of that name. Write [`the_test`](its/file.rs)"
            ));
        }
    }
    problems
}

/// Tells whether the rest of a link, after its opening, names a function of the file it leads to.
fn is_test(tree: &Tree, link: &str) -> bool {
    let Some((name, rest)) = link.split_once("`](") else {
        return false;
    };
    let file = rest.split(')').next().unwrap_or("");
    let code = tree.text(file).unwrap_or("");
    code.contains(&format!("fn {name}("))
}

pub(crate) fn links_lead_somewhere(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".md")) {
        for (line, number) in text.lines().zip(1..) {
            for target in links(line) {
                let file = target.split('#').next().unwrap_or("");
                if !file.is_empty() && !tree.has(&resolve(path, file)) {
                    problems.push(format!(
                        "{path}:{number}: links to `{target}`, which does not exist. Correct the \
                         link, or write the file"
                    ));
                }
            }
        }
    }
    problems
}

/// Returns the targets of the form `](target)` that are files of this repository.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.trim())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// Returns the path from the root that `link` means in the document at `path`.
fn resolve(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = match path.rsplit_once('/') {
        Some((folder, _)) if !link.starts_with('/') => folder.split('/').collect(),
        _ => Vec::new(),
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

const PARITY: &str = "docs/node-parity.md";
const GUARANTEE: &str = "docs/guarantee.md";

/// How a row of the parity table begins that needs no test.
const EXCUSES: [&str; 1] = ["Does not apply: "];

/// Whose behaviour a row of the parity table is.
const TAGS: [&str; 3] = ["a", "b", "a b"];

/// Each of Node's behaviours is shown by a test that exists, or excused in words.
pub(crate) fn every_parity_row_names_its_test(tree: &Tree) -> Problems {
    rows_without_a_test(tree, PARITY, &EXCUSES)
}

/// Each of Node's behaviours says for which kind of worker it means something.
pub(crate) fn every_parity_row_is_tagged(tree: &Tree) -> Problems {
    let mut problems = Problems::new();
    for (line, number) in tree.text(PARITY).unwrap_or("").lines().zip(1..) {
        let tag = line.split(" | ").nth(1).unwrap_or("");
        if shown_by(line).is_some() && !TAGS.contains(&tag) {
            problems.push(format!(
                "{PARITY}:{number}: `{tag}` is no tag. Write one of {TAGS:?} behind the number"
            ));
        }
    }
    problems
}

/// Each promise is shown by a test that exists. There is no excuse for one that is not.
pub(crate) fn every_promise_names_its_test(tree: &Tree) -> Problems {
    rows_without_a_test(tree, GUARANTEE, &[])
}

fn rows_without_a_test(tree: &Tree, page: &str, excuses: &[&str]) -> Problems {
    let mut problems = Problems::new();
    for (line, number) in tree.text(page).unwrap_or("").lines().zip(1..) {
        let Some(shown) = shown_by(line) else {
            continue;
        };
        let excused = excuses.iter().any(|excuse| shown.starts_with(excuse));
        let mut named = shown.split("[`").skip(1).peekable();
        if !excused && named.peek().is_none() {
            problems.push(format!(
                "{page}:{number}: names no test. Write [`the_test`](../its/file.rs), or begin \
                 with one of {excuses:?}"
            ));
        }
        for link in named.filter(|link| !leads_to_a_test(tree, page, link)) {
            let name = link.split('`').next().unwrap_or("");
            problems.push(format!(
                "{page}:{number}: there is no test `{name}` in the file that it links to"
            ));
        }
    }
    problems
}

/// Returns the last column of a row of a numbered table, without heading and rule.
fn shown_by(line: &str) -> Option<&str> {
    let row = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let (number, rest) = row.split_once(" | ")?;
    let (_, shown) = rest.rsplit_once(" | ")?;
    number.chars().any(|c| c.is_ascii_digit()).then_some(shown)
}

/// Tells whether a link of a page, after its opening, leads to a test of that name.
fn leads_to_a_test(tree: &Tree, page: &str, link: &str) -> bool {
    let Some((name, rest)) = link.split_once("`](") else {
        return false;
    };
    let file = resolve(page, rest.split(')').next().unwrap_or(""));
    let code = tree.text(&file).unwrap_or("");
    let before = code.split_once(&format!("fn {name}("));
    // The line on which it begins may hold an `async`; the attributes stand above it.
    let above = before.and_then(|(before, _)| before.rsplit_once('\n'));
    let attributes = above.map_or("", |(above, _)| above).lines().rev();
    attributes
        .take_while(|line| line.trim_start().starts_with("#["))
        .any(|line| line.contains("test"))
}
