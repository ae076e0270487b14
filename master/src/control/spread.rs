//! The routes about how connections are spread.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use maitred::INSTANCES_MAX;

use super::api::{CanaryRequest, PolicyRequest, Respread, WeightRequest};
use super::refusal::{Kind, Refusal};
use super::routes::{About, Nothing, Office, Shared, answer, find, read, read_or_default, refuse};
use super::steward::{Change, Steward};

pub(super) async fn policy<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request: PolicyRequest = read(&body, r#"{"policy": "rr"}"#)?;
    let _permit = office.act().await?;
    let list = office.roster.list().await?;
    let mut policies = Vec::new();
    for whom in find(&list, &subject)? {
        if let Some(slot) = whom.slot {
            let app = whom.app;
            let wrong = format!("slot {slot} is one worker; change the policy of its app, {app}");
            return Err(refuse(wrong));
        }
        policies.push(
            office
                .steward
                .change_policy(&whom.app, request.policy)
                .await?,
        );
    }
    Ok(answer(&Respread { policies }))
}

pub(super) async fn weight<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let WeightRequest { weight } = read(&body, r#"{"weight": 3}"#)?;
    let _permit = office.act().await?;
    let list = office.roster.list().await?;
    let found = find(&list, &subject)?;
    let [whom] = found.as_slice() else {
        return Err(refuse("give the slot of one worker".into()));
    };
    let Some(slot) = whom.slot else {
        let wrong = format!(
            "{} is an app; give the slot of one of its workers",
            whom.app
        );
        return Err(refuse(wrong));
    };
    Ok(answer(
        &office.steward.weigh(&whom.app, slot, weight).await?,
    ))
}

pub(super) async fn canary<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request: CanaryRequest = read(&body, r#"{"percent": 5}"#)?;
    let CanaryRequest { percent, workers } = request;
    if !(1..=99).contains(&percent) || !(1..=INSTANCES_MAX).contains(&workers) {
        return Err(refuse(format!(
            "give a percentage from 1 to 99, and 1 to {INSTANCES_MAX} workers"
        )));
    }
    office
        .change(&subject, Change::Canary { workers, percent })
        .await
}

pub(super) async fn promote<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let Nothing {} = read_or_default(&body, "nothing")?;
    whole(office, subject, Change::Promote).await
}

pub(super) async fn withdraw<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let Nothing {} = read_or_default(&body, "nothing")?;
    whole(office, subject, Change::Withdraw).await
}

/// Makes a change that has several steps, all of them, even if the client leaves meanwhile.
async fn whole<S: Steward>(
    office: Arc<Office<S>>,
    subject: String,
    change: Change,
) -> Result<Response, Refusal> {
    let changing = tokio::spawn(async move { office.change(&subject, change).await });
    let broken = |_| Refusal::new(Kind::Failed, "it was broken off");
    changing.await.map_err(broken)?
}
