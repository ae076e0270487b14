//! The routes about how connections are spread.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::api::{PolicyRequest, Respread, WeightRequest};
use super::refusal::Refusal;
use super::routes::{About, Shared, answer, find, read, refuse};
use super::steward::Steward;

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
