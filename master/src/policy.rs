//! How connections are spread, and how that is changed while they come.

use maitred_core::dispatch::PolicyName;
use maitred_core::id::SlotId;
use thiserror::Error;

use crate::cluster::Cluster;
use crate::launch::{Dialect, dialect};
use crate::settings::Settings;
use crate::shell::command::Command;

/// Highest weight of a worker: beside it, a weight of 1 is a millionth. Any percentage of as many
/// workers as there can be is a smaller number.
pub const WEIGHT_MAX: u32 = 1_000_000;

/// Why connections cannot be spread in that way.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The workers do not tell how many connections they have open.
    #[error("`{policy}` needs workers that report their open connections, and {reason}")]
    CannotReport {
        /// What was asked for.
        policy: PolicyName,
        /// Why they do not.
        reason: &'static str,
    },
    /// The one has the master accept, the other the workers.
    #[error(
        "{}, and {}: that cannot change while the listeners are open; start anew with \
         `--policy {to}`",
        who_accepts(*.from), who_accepts(*.to)
    )]
    OtherAcceptor {
        /// The policy there is.
        from: PolicyName,
        /// What was asked for.
        to: PolicyName,
    },
    /// There is no such slot.
    #[error("no worker has slot {}", .0.0)]
    NoSuchSlot(SlotId),
    /// The weight is out of its range.
    #[error("the weight is {0}, but must be between 0 and {WEIGHT_MAX}")]
    TooHeavy(u32),
    /// The master has ended.
    #[error("the master has ended")]
    Ended,
}

fn who_accepts(policy: PolicyName) -> String {
    let who = if policy.has_workers_accept() {
        "workers accept for themselves"
    } else {
        "the master accepts"
    };
    format!("under `{policy}` {who}")
}

impl Cluster {
    /// Returns how connections are spread.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Ended`].
    pub async fn policy(&self) -> Result<PolicyName, PolicyError> {
        let asked = self.inquire(Command::Policy);
        asked.await.map_err(|_| PolicyError::Ended)
    }

    /// Spreads connections in another way from now on; returns how it was before. What is in
    /// flight, and what waits in the master, is served as well: nothing is lost or refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], each with what is wrong; then all is as before.
    pub async fn change_policy(&self, policy: PolicyName) -> Result<PolicyName, PolicyError> {
        let asked = self.inquire(|reply| Command::ChangePolicy { policy, reply });
        asked.await.map_err(|_| PolicyError::Ended)?
    }

    /// Gives the worker of a slot, and whoever follows it there, this share of connections in
    /// relation to the others' weights, under [`PolicyName::Weighted`]. Each begins with 1; one
    /// with 0 gets only what nobody else has room for. Returns the weight before.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], each with what is wrong; then all is as before.
    pub async fn weigh(&self, slot: SlotId, weight: u32) -> Result<u32, PolicyError> {
        if weight > WEIGHT_MAX {
            return Err(PolicyError::TooHeavy(weight));
        }
        let asked = self.inquire(|reply| Command::Weigh {
            slot,
            weight,
            reply,
        });
        asked.await.map_err(|_| PolicyError::Ended)?
    }
}

/// Refuses a policy for which workers with these settings do not report what it needs.
pub(crate) fn check_reports(policy: PolicyName, settings: &Settings) -> Result<(), PolicyError> {
    let dialect = match (&settings.exec, settings.dialect) {
        (Some(exec), _) => dialect(settings, exec),
        (None, chosen) => chosen.unwrap_or(Dialect::Native),
    };
    let reason = match dialect {
        Dialect::Node if settings.preload.is_none() => {
            "Node programs do so only with maitred's preload, which these do not load"
        }
        Dialect::None => "programs that are not talked to (`--ipc none`) report nothing",
        Dialect::Node | Dialect::Native => return Ok(()),
    };
    if policy.needs_reports() {
        return Err(PolicyError::CannotReport { policy, reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_workers_that_report_are_counted_on() {
        let node = || Settings::new().exec("app.js");
        let plain = || Settings::new().exec("app").dialect(Dialect::None);
        let check = |policy, settings: Settings| check_reports(policy, &settings).is_ok();
        for policy in PolicyName::ALL {
            let needs = policy == PolicyName::LeastConnections;
            assert_eq!(check(policy, node()), !needs, "{policy}");
            assert_eq!(check(policy, plain()), !needs, "{policy}");
            assert!(check(policy, node().preload("/tmp")), "{policy}");
            assert!(check(policy, Settings::new().exec("app")), "{policy}");
            assert!(check(policy, Settings::new()), "{policy}");
        }
    }

    #[test]
    fn a_refusal_says_who_accepts_and_what_would_help() {
        let (from, to) = (PolicyName::Rr, PolicyName::Shared);
        assert_eq!(
            PolicyError::OtherAcceptor { from, to }.to_string(),
            "under `rr` the master accepts, and under `shared` workers accept for themselves: \
             that cannot change while the listeners are open; start anew with `--policy shared`"
        );
    }
}
