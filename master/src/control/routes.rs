//! What each route does.
//!
//! A handler gets its request whole (`whole_request` has read it), looks up what it is about, asks the
//! steward and answers. Every refusal of a request that can be read is JSON, whoever refuses;
//! only hyper speaks before that, to garbage (400) and to a head that is too long (431), and
//! its answers are empty.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::api::{
    AppRow, Apps, Changed, Pong, ReloadRequest, ScaleRequest, Scaled, State as Stage, Workers,
    route,
};
use super::guard;
use super::name::Subject;
use super::refusal::{Kind, Refusal, RefusalAnswer};
use super::roster::{List, Roster};
use super::spread;
use super::steward::{App, Change, Steward, Whom};
use super::stream;
use super::tempo::Tempo;

/// Acts that clients may wait for at the same time. Half of all clients: the other half
/// remains for questions, which are answered at once.
const ACTS_MAX: usize = 32;

/// Most event streams at once: some people and some tools for each, and a quarter of all
/// clients, so that streams alone never fill the places.
pub(crate) const STREAMS_MAX: usize = 16;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Office<S> {
    pub(super) steward: Arc<S>,
    pub(super) roster: Roster<S>,
    pub(super) streams: Arc<Semaphore>,
    acts: Semaphore,
    tempo: Mutex<Tempo>,
    since: Instant,
}

impl<S: Steward> Office<S> {
    /// Makes what the handlers share.
    pub(crate) fn new(steward: Arc<S>) -> Arc<Self> {
        Arc::new(Self {
            roster: Roster::new(steward.clone()),
            steward,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            acts: Semaphore::new(ACTS_MAX),
            tempo: Mutex::default(),
            since: Instant::now(),
        })
    }

    /// Lets a client act, or tells it that too many wait already.
    pub(super) async fn act(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let too_many = || format!("{ACTS_MAX} commands are waited for already; try again later");
        let permit = self.acts.try_acquire();
        let permit = permit.map_err(|_| Refusal::new(Kind::Busy, too_many()))?;
        self.tempo.lock().await.turn().await;
        Ok(permit)
    }

    /// Looks at what the workers use, so that the next list can tell what they used lately.
    pub(super) async fn sample(&self) {
        // If the master does not answer, whoever asks is told so.
        self.roster.list().await.map(drop).unwrap_or_default();
    }

    pub(super) async fn change(&self, subject: &str, change: Change) -> Result<Response, Refusal> {
        let _permit = self.act().await?;
        let list = self.roster.list().await?;
        let mut changed = Vec::new();
        for whom in find(&list, subject)? {
            changed.push(self.steward.change(change, &whom).await?);
        }
        Ok(answer(&Changed { changed }))
    }
}

pub(super) type Shared<S> = State<Arc<Office<S>>>;

/// Makes all routes. Each request has to pass `guard.rs` first, whatever its route.
pub(crate) fn router<S: Steward>(office: Arc<Office<S>>) -> Router {
    Router::new()
        .route(route::PING, get(ping::<S>))
        .route(route::APPS, get(apps::<S>))
        .route(route::WORKERS, get(workers::<S>))
        .route(route::EVENTS, get(stream::events::<S>))
        .route(route::SCALE, post(scale::<S>))
        .route(route::CANARY, post(spread::canary::<S>))
        .route(route::PROMOTE, post(spread::promote::<S>))
        .route(route::WITHDRAW, post(spread::withdraw::<S>))
        .route(route::POLICY, post(spread::policy::<S>))
        .route(route::WEIGHT, post(spread::weight::<S>))
        .route(route::RELOAD, post(reload::<S>))
        .route(route::RESTART, post(restart::<S>))
        .route(route::STOP, post(stop::<S>))
        .route(route::RESET, post(reset::<S>))
        .route(route::KILL, post(kill::<S>))
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(guard::admit))
        .with_state(office)
}

async fn ping<S: Steward>(State(office): Shared<S>) -> Response {
    let uptime = office.since.elapsed().as_millis();
    answer(&Pong {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
    })
}

async fn apps<S: Steward>(State(office): Shared<S>) -> Result<Response, Refusal> {
    let list = office.roster.list().await?;
    let apps = list.apps.iter().map(app_row).collect();
    Ok(answer(&Apps { apps }))
}

fn app_row(app: &App) -> AppRow {
    let listening = app
        .places
        .iter()
        .filter(|place| place.state == Stage::Listening);
    AppRow {
        name: app.name.clone(),
        wanted: app.wanted,
        listening: u32::try_from(listening.count()).unwrap_or(u32::MAX),
        policy: app.policy.to_string(),
        accept_errors: app.accept_errors.clone(),
    }
}

async fn workers<S: Steward>(State(office): Shared<S>) -> Result<Response, Refusal> {
    let list = office.roster.list().await?;
    Ok(answer(&Workers {
        workers: list.rows.clone(),
        apps: list.apps.iter().map(app_row).collect(),
    }))
}

async fn scale<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request: ScaleRequest = read(&body, r#"{"to": "3"}, or "+1", "-1", "max""#)?;
    let _permit = office.act().await?;
    let list = office.roster.list().await?;
    let mut scaled = Vec::new();
    for whom in find(&list, &subject)? {
        if let Some(slot) = whom.slot {
            let wrong = format!("slot {slot} is one worker; scale its app, {}", whom.app);
            return Err(refuse(wrong));
        }
        scaled.push(office.steward.scale(&whom.app, request.to).await?);
    }
    Ok(answer(&Scaled { scaled }))
}

async fn reload<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = read_or_default(&body, r#"{"parallel": 1}"#)?;
    let ReloadRequest {
        parallel,
        allow_listen_change,
    } = request;
    if parallel == 0 {
        return Err(refuse(
            "a reload of 0 workers at once never ends; give 1 or more".into(),
        ));
    }
    let change = Change::Reload {
        parallel,
        allow_listen_change,
    };
    office.change(&subject, change).await
}

async fn restart<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let Nothing {} = read_or_default(&body, "nothing")?;
    office.change(&subject, Change::Restart).await
}

async fn stop<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let Nothing {} = read_or_default(&body, "nothing")?;
    office.change(&subject, Change::Stop).await
}

async fn reset<S: Steward>(
    State(office): Shared<S>,
    About(subject): About,
    body: Bytes,
) -> Result<Response, Refusal> {
    let Nothing {} = read_or_default(&body, "nothing")?;
    office.change(&subject, Change::Reset).await
}

async fn kill<S: Steward>(State(office): Shared<S>, body: Bytes) -> Result<Response, Refusal> {
    let Nothing {} = read_or_default(&body, "nothing")?;
    let _permit = office.act().await?;
    Ok(answer(&office.steward.kill().await?))
}

async fn no_such_route(uri: Uri) -> Refusal {
    let routes = [route::PING, route::APPS, route::WORKERS, route::EVENTS];
    let known = routes.join(", ");
    let path: String = uri.path().chars().take(SHOWN_MAX).collect();
    Refusal::new(
        Kind::NoSuchRoute,
        format!(
            "there is no {path}; GET {known}; POST {} and so on",
            route::SCALE
        ),
    )
}

/// Longest path that a refusal repeats, in characters.
const SHOWN_MAX: usize = 100;

async fn wrong_method() -> Refusal {
    Refusal::new(
        Kind::WrongMethod,
        "questions are GET, everything that acts is POST",
    )
}

/// What a command is about, as it stands in the path.
pub(super) struct About(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for About {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(subject)| Self(subject))
            .map_err(|error| refuse(error.body_text()))
    }
}

/// Finds what a command is about.
pub(super) fn find(list: &List, subject: &str) -> Result<Vec<Whom>, Refusal> {
    let whole = |app: &App| Whom {
        app: app.name.clone(),
        slot: None,
    };
    match subject.parse().map_err(refuse)? {
        Subject::All => Ok(list.apps.iter().map(whole).collect()),
        Subject::App(name) => match list.apps.iter().find(|app| app.name == name) {
            Some(app) => Ok(vec![whole(app)]),
            None => Err(no_such_app(list, name.as_str())),
        },
        Subject::Slot(slot) => {
            let has_it = |app: &&App| app.places.iter().any(|place| place.slot == slot);
            let app = list
                .apps
                .iter()
                .find(has_it)
                .ok_or_else(|| no_such_worker(slot))?;
            let slot = Some(slot);
            Ok(vec![Whom { slot, ..whole(app) }])
        }
    }
}

fn no_such_app(list: &List, name: &str) -> Refusal {
    let names: Vec<&str> = list.apps.iter().map(|app| app.name.as_str()).collect();
    let known = match names.as_slice() {
        [] => "there is none at all".into(),
        [one] => format!("there is only {one}"),
        several => format!("there are {}", several.join(", ")),
    };
    Refusal::new(Kind::NoSuchApp, format!("no app is called {name}; {known}"))
}

fn no_such_worker(slot: u32) -> Refusal {
    let message = format!("no worker has slot {slot}; maitred ls shows which there are");
    Refusal::new(Kind::NoSuchWorker, message)
}

pub(super) fn refuse(message: String) -> Refusal {
    Refusal::new(Kind::BadRequest, message)
}

/// The body of a request that has nothing to say: none, or `{}`.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) fn read<T: DeserializeOwned>(body: &[u8], wanted: &str) -> Result<T, Refusal> {
    // What kind of content it claims to be does not matter: curl -d says it is a form.
    serde_json::from_slice(body)
        .map_err(|error| refuse(format!("the body is wrong: {error}; send {wanted}")))
}

pub(super) fn read_or_default<T: DeserializeOwned + Default>(
    body: &[u8],
    wanted: &str,
) -> Result<T, Refusal> {
    if body.is_empty() {
        Ok(T::default())
    } else {
        read(body, wanted)
    }
}

pub(super) fn answer(value: &impl Serialize) -> Response {
    respond(StatusCode::OK, value)
}

fn respond(status: StatusCode, value: &impl Serialize) -> Response {
    // Only named fields and JSON values, which can always be written.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    // So that a shell's prompt after curl begins on a line of its own.
    body.push(b'\n');
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, Body::from(body)).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        respond(status, &RefusalAnswer { error: self })
    }
}
