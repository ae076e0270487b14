//! `--policy`: the first of those that were asked for that this machine can have.

use maitred::{KernelError, PolicyName, try_kernel_policy};

use super::Misuse;

/// Chooses a policy, and says on standard error which could not be had.
///
/// # Errors
///
/// Why none of them can be had.
pub(super) fn choose(wanted: &[PolicyName]) -> Result<PolicyName, Misuse> {
    let mut refused = Vec::new();
    for policy in wanted {
        match try_to_have(*policy) {
            Ok(()) => {
                for (other, reason) in &refused {
                    let notice = format!("policy `{policy}` is used and not `{other}`: {reason}");
                    super::complain(&notice);
                }
                return Ok(*policy);
            }
            Err(reason) => refused.push((policy, reason)),
        }
    }
    let reasons: Vec<String> = refused
        .iter()
        .map(|(_, reason)| reason.to_string())
        .collect();
    Err(Misuse(format!(
        "{}. To fall back on another policy, name it as well: --policy kernel,rr",
        reasons.join("; ")
    )))
}

fn try_to_have(policy: PolicyName) -> Result<(), KernelError> {
    if policy == PolicyName::Kernel {
        try_kernel_policy()
    } else {
        Ok(())
    }
}
