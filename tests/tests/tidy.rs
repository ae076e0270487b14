//! Keeps the promises that no compiler checks: shape, layers, names, documents.
//!
//! A rule is a function from the files of the repository to what is wrong with them, so each
//! is shown to fail in `tidy/broken.rs` on files that break it. Every message says what to do.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

#[path = "tidy/broken.rs"]
mod broken;
#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/tree.rs"]
mod tree;

use tree::Tree;

/// What a rule found: one line for each problem.
type Problems = Vec<String>;

fn check(rule: fn(&Tree) -> Problems) {
    let problems = rule(&Tree::of_the_repository());
    assert!(
        problems.is_empty(),
        "{} found:\n{}\n",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn every_file_opens_with_its_purpose() {
    check(shape::every_file_opens_with_its_purpose);
}

#[test]
fn no_file_is_too_long() {
    check(shape::no_file_is_too_long);
}

#[test]
fn no_test_is_left_out() {
    check(shape::no_test_is_left_out);
}

#[test]
fn what_is_to_be_done_has_an_issue() {
    check(shape::what_is_to_be_done_has_an_issue);
}

#[test]
fn pure_code_does_no_io() {
    check(layers::pure_code_does_no_io);
}

#[test]
fn one_file_names_the_encoding() {
    check(layers::one_file_names_the_encoding);
}

#[test]
fn two_files_are_unsafe() {
    check(layers::two_files_are_unsafe);
}

#[test]
fn the_master_library_knows_no_worker_library() {
    check(layers::the_master_library_knows_no_worker_library);
}

#[test]
fn the_command_line_speaks_the_control_api_only() {
    check(layers::the_command_line_speaks_the_control_api_only);
}

#[test]
fn packages_depend_in_one_direction() {
    check(layers::packages_depend_in_one_direction);
}

#[test]
fn packages_take_the_workspace_lints() {
    check(layers::packages_take_the_workspace_lints);
}

#[test]
fn one_word_per_thing() {
    check(names::one_word_per_thing);
}

#[test]
fn every_wire_message_is_documented() {
    check(documents::every_wire_message_is_documented);
}

#[test]
fn the_readme_names_a_file_for_each_step() {
    check(documents::the_readme_names_a_file_for_each_step);
}

#[test]
fn every_invariant_names_its_test() {
    check(documents::every_invariant_names_its_test);
}

#[test]
fn links_lead_somewhere() {
    check(documents::links_lead_somewhere);
}

#[test]
fn every_parity_row_names_its_test() {
    check(documents::every_parity_row_names_its_test);
}

#[test]
fn every_parity_row_is_tagged() {
    check(documents::every_parity_row_is_tagged);
}

#[test]
fn every_promise_names_its_test() {
    check(documents::every_promise_names_its_test);
}
