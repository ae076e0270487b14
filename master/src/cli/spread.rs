//! `maitred policy` and `maitred weigh`: how connections are spread, while they come.

use std::process::ExitCode;

use clap::{Args, value_parser};
use maitred::{PolicyName, WEIGHT_MAX};

use super::Misuse;
use super::ask::{Form, route_to, subject, subject_or_only_app};
use crate::control::api::{PolicyRequest, Respread, Weighed, WeightRequest, route};
use crate::control::client::Client;
use crate::control::name::Subject;
use crate::control::refusal::Refusal;

/// Change how an app's connections are spread, while they come.
///
/// Nothing is lost by it. Under `rr`, `least-connections`, `sticky` and `weighted` the master
/// accepts, under `shared` the workers: one cannot be changed for the other.
#[derive(Debug, Args)]
#[command(override_usage = "maitred policy [OPTIONS] [APP] <POLICY>")]
pub(crate) struct PolicyArguments {
    /// The app's name or `all`, which may be left out if there is only one; then `rr`,
    /// `least-connections`, `sticky`, or `weighted`
    #[arg(required = true, num_args = 1..=2, value_name = "APP> <POLICY")]
    words: Vec<String>,

    #[command(flatten)]
    form: Form,
}

/// Give one worker another share of the connections, under the policy `weighted`.
///
/// Whoever follows the worker in its slot has that share, too.
#[derive(Debug, Args)]
pub(crate) struct WeighArguments {
    /// The worker's slot
    slot: u32,

    /// Its share, in relation to the other workers' weights, which are 1 at first; with 0 it gets
    /// only what no other has room for
    #[arg(value_parser = value_parser!(u32).range(..=i64::from(WEIGHT_MAX)))]
    weight: u32,

    #[command(flatten)]
    form: Form,
}

impl PolicyArguments {
    fn read(&self) -> Result<(Option<Subject>, PolicyName), Misuse> {
        let (app, policy) = match self.words.as_slice() {
            [policy] => (None, policy),
            [app, policy] => (Some(subject(app).map_err(Misuse)?), policy),
            // clap lets nothing else through.
            _ => return Err(Misuse("give an app and a policy".into())),
        };
        let policy = policy.parse::<PolicyName>();
        Ok((app, policy.map_err(|error| Misuse(error.to_string()))?))
    }
}

/// Changes the policy.
///
/// # Errors
///
/// [`Misuse`], and those of asking.
pub(super) fn policy(arguments: &PolicyArguments) -> anyhow::Result<ExitCode> {
    let (app, policy) = arguments.read()?;
    let ask = |client: Client| -> Result<Respread, Refusal> {
        let app = subject_or_only_app(&client, app)?;
        client.post(&route_to(route::POLICY, &app), &PolicyRequest { policy })
    };
    let respread = Client::new().and_then(ask);
    arguments.form.tell(respread, in_words)?;
    Ok(ExitCode::SUCCESS)
}

/// Changes a weight.
///
/// # Errors
///
/// Those of asking.
pub(super) fn weigh(arguments: &WeighArguments) -> anyhow::Result<ExitCode> {
    let (slot, weight) = (Subject::Slot(arguments.slot), arguments.weight);
    let ask = |client: Client| -> Result<Weighed, Refusal> {
        client.post(&route_to(route::WEIGHT, &slot), &WeightRequest { weight })
    };
    let weighed = Client::new().and_then(ask);
    arguments.form.tell(weighed, |weighed| {
        let Weighed {
            name,
            slot,
            from,
            to,
        } = weighed;
        format!("{name}: slot {slot} weighs {to}, it had {from}")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn in_words(respread: &Respread) -> String {
    let rows = respread.policies.iter();
    let lines: Vec<String> = rows
        .map(|row| format!("{}: {}, it was {}", row.name, row.to, row.from))
        .collect();
    lines.join("\n")
}
