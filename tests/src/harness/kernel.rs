//! Policy `kernel`, and machines on which it cannot be had.

use std::io::{Write, stderr};

use maitred::{PolicyName, try_kernel_policy};

use super::Launch;

/// How to ask for it.
pub const KERNEL: [&str; 2] = ["--policy", "kernel"];

/// Adds the policy; `None` if it cannot be had, after having checked that this is well told.
///
/// # Panics
///
/// If it is not.
#[must_use]
pub fn kernel(launch: Launch) -> Option<Launch> {
    let launch = launch.with(KERNEL);
    let Err(error) = try_kernel_policy() else {
        return Some(launch);
    };
    // Past the test runner, which keeps what tests print to itself.
    let notice = "policy `kernel` cannot be had here: the refusal is what is tested";
    writeln!(stderr(), "{notice}").unwrap_or_default();
    assert_refused(launch, &[&error.to_string()]);
    None
}

/// Returns how a listener can be held: by the master, by all workers, and by each worker if that
/// can be had here.
#[must_use]
pub fn holdings() -> Vec<PolicyName> {
    let mut policies = vec![PolicyName::Rr, PolicyName::Shared];
    if try_kernel_policy().is_ok() {
        policies.push(PolicyName::Kernel);
    }
    policies
}

/// Asserts that a cluster does not start, as its policy cannot be had, and says why and what
/// to do.
///
/// # Panics
///
/// If it starts, or does not say so.
pub fn assert_refused(launch: Launch, why: &[&str]) {
    let finished = launch.finish();
    let story = finished.log.story();
    assert_eq!(finished.code, Some(2), "{story}");
    for word in why.iter().chain(&["--policy kernel,rr"]) {
        assert!(story.contains(word), "{story}");
    }
    assert!(finished.log.named("fork").is_empty(), "{story}");
}
