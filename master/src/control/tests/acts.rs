//! What is asked for is what is done, once, and nobody waits for a client that has left.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{Stage, request, until};
use crate::control::api::{Apps, Workers};
use crate::control::tempo::PAUSE;

#[test]
fn every_route_does_what_it_says() {
    let stage = Stage::new();
    for (route, body, act) in [
        ("shop/scale", r#"{"to":"+1"}"#, "scale shop to +1"),
        ("blog/scale", r#"{"to":3}"#, "scale blog to 3"),
        (
            "shop/reload",
            "",
            "Reload { parallel: 1, allow_listen_change: false } shop None",
        ),
        (
            "1/reload",
            r#"{"parallel":2}"#,
            "Reload { parallel: 2, allow_listen_change: false } shop Some(1)",
        ),
        (
            "blog/policy",
            r#"{"policy":"least-connections"}"#,
            "spread blog by least-connections",
        ),
        (
            "shop/canary",
            r#"{"percent":5}"#,
            "Canary { workers: 1, percent: 5 } shop None",
        ),
        ("shop/promote", "", "Promote shop None"),
        ("shop/withdraw", "", "Withdraw shop None"),
        ("2/weight", r#"{"weight":0}"#, "weigh 2 of blog with 0"),
        ("shop/stop", "{}", "Stop shop None"),
        ("2/reset", "", "Reset blog Some(2)"),
    ] {
        let (status, answer) = stage.ask("POST", &format!("/v1/apps/{route}"), body);
        assert_eq!(status, 200, "{route}: {answer}");
        assert_eq!(stage.fake.acts().last().unwrap(), act);
    }
    let (status, answer) = stage.ask("POST", "/v1/apps/all/stop", "");
    assert_eq!(status, 200);
    assert_eq!(answer["changed"][0]["name"], "shop");
    assert_eq!(
        answer["changed"][1],
        json!({"name": "blog", "slot": null, "workers": 2, "cut": 0, "what_was_cut": []})
    );
    let (status, answer) = stage.ask("POST", "/v1/kill", "");
    assert_eq!((status, &answer["cut"]), (200, &json!(false)));
}

/// Asserts that a request is refused so, in words that name what is wrong or right.
fn refuses(stage: &Stage, request: &str, body: &str, refusal: &str, word: &str) {
    let (method, route) = request.split_once(' ').unwrap();
    let (status, answer) = stage.ask(method, route, body);
    let error = &answer["error"];
    let found = format!("{status} {}", error["kind"].as_str().unwrap());
    assert_eq!(found, refusal, "{request} {body}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(word), "{request} {body}: {message}");
    assert_eq!(stage.fake.acts(), [""; 0]);
}

#[test]
fn what_is_not_there_is_named() {
    let stage = Stage::new();
    let refuses = |request, refusal, word| refuses(&stage, request, "", refusal, word);
    refuses("GET /", "404 no_such_route", "/v1/workers");
    refuses("GET /v1/apps/shop/scale", "405 wrong_method", "POST");
    refuses("POST /v1/ping", "405 wrong_method", "GET");
    refuses("POST /v1/apps/nope/stop", "404 no_such_app", "shop, blog");
    refuses("POST /v1/apps/7/stop", "404 no_such_worker", "slot 7");
    refuses(
        "POST /v1/apps/a%20b/stop",
        "400 bad_request",
        "other characters",
    );
    refuses("POST /v1/apps/%ff/stop", "400 bad_request", "UTF-8");
}

#[test]
fn a_body_that_makes_no_sense_is_refused_with_one_that_would() {
    let stage = Stage::new();
    let refuses = |act: &str, body, word| {
        let request = format!("POST /v1/apps/{act}");
        refuses(&stage, &request, body, "400 bad_request", word);
    };
    refuses("shop/stop", "[", "send nothing");
    refuses("shop/stop", r#"{"now":1}"#, "`now`");
    refuses("shop/scale", "", r#"{"to": "3"}"#);
    refuses("shop/scale", r#"{"to":"0"}"#, "1 to 1024");
    refuses("1/scale", r#"{"to":"1"}"#, "its app, shop");
    refuses("shop/canary", r#"{"percent":100}"#, "1 to 99");
    refuses("shop/policy", r#"{"policy":"best"}"#, "`sticky`");
    refuses("1/policy", r#"{"policy":"rr"}"#, "its app, shop");
    refuses("shop/weight", r#"{"weight":3}"#, "the slot of one");
    refuses("all/weight", r#"{"weight":3}"#, "the slot of one");
    refuses("1/weight", "", r#"{"weight": 3}"#);
    refuses("shop/reload", r#"{"parallel":0}"#, "1 or more");
    refuses("shop/reload", r#"{"parallel":-1}"#, "u32");
}

#[test]
fn the_lists_show_what_there_is() {
    let stage = Stage::new();
    let client = stage.client();
    let apps: Apps = client.get("/v1/apps").unwrap();
    let apps: Vec<_> = apps
        .apps
        .iter()
        .map(|app| (app.name.as_str(), app.wanted, app.listening))
        .collect();
    assert_eq!(apps, [("shop", 2, 2), ("blog", 1, 1)]);
    let Workers { workers, apps } = client.get("/v1/workers").unwrap();
    let failed: Vec<_> = apps
        .iter()
        .map(|app| &app.accept_errors["EMFILE"])
        .collect();
    assert_eq!(failed, [&3, &3]);
    let slots: Vec<_> = workers
        .iter()
        .map(|row| (row.slot, row.name.as_str()))
        .collect();
    assert_eq!(slots, [(0, "shop"), (1, "shop"), (2, "blog")]);
    assert!(
        workers
            .iter()
            .all(|row| row.memory_bytes > Some(0) && row.cpu_percent.is_some())
    );
    let told = workers
        .iter()
        .map(|row| (row.requests, row.loop_delay_micros, row.heap_bytes));
    assert!(told.eq([(7, Some(1500), Some(1 << 20)); 3]));
}

#[test]
fn whoever_acts_sees_what_came_of_it() {
    let stage = Stage::new();
    stage.ask("GET", "/v1/apps", "");
    stage.fake.apps.lock().unwrap()[0].wanted = 9;
    stage.ask("POST", "/v1/apps/shop/reset", "");
    assert_eq!(stage.ask("GET", "/v1/apps", "").1["apps"][0]["wanted"], 9);
}

#[test]
fn however_often_clients_ask_the_master_is_asked_rarely() {
    let stage = Stage::new();
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    // Half of them leave before they have their answer.
                    drop(stage.connect(&request("GET", "/v1/apps", "")));
                    assert_eq!(stage.ask("GET", "/v1/workers", "").0, 200);
                }
            });
        }
    });
    let lists = stage.fake.lists.load(Ordering::SeqCst);
    let most = began.elapsed().as_millis() / PAUSE.as_millis() + 1;
    assert!(lists as u128 <= most, "{lists} lists, {most} allowed");
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_nothing_behind() {
    let stage = Stage::new();
    for round in 0..100 {
        let stream = stage.connect(&request("POST", "/v1/apps/shop/restart", ""));
        until("the restart waits", || stage.fake.waiting() == 1);
        drop(stream);
        until("nobody waits any more", || stage.fake.waiting() == 0);
        assert_eq!(stage.fake.acts().len(), round + 1);
    }
    stage.fake.gate.add_permits(1);
    assert_eq!(stage.ask("POST", "/v1/apps/shop/restart", "").0, 200);
}

#[test]
fn acts_that_wait_leave_places_for_questions() {
    let stage = Stage::new();
    let restart = request("POST", "/v1/apps/shop/restart", "");
    let waiting: Vec<_> = (0..32).map(|_| stage.connect(&restart)).collect();
    until("all wait", || stage.fake.waiting() == waiting.len());
    let (status, answer) = stage.ask("POST", "/v1/apps/shop/stop", "");
    assert_eq!((status, &answer["error"]["kind"]), (409, &json!("busy")));
    let _silent: Vec<_> = (0..64).map(|_| stage.connect(b"")).collect();
    stage.assert_serves();
    assert_eq!(stage.ask("GET", "/v1/workers", "").0, 200);
    stage.fake.gate.add_permits(waiting.len());
    for stream in waiting {
        let (status, answer) = super::stage::answer(stream);
        assert_eq!((status, &answer["changed"][0]["workers"]), (200, &json!(2)));
    }
}

#[test]
fn the_last_answer_is_written_before_the_end() {
    let mut stage = Stage::new();
    let restart = stage.connect(&request("POST", "/v1/apps/shop/restart", ""));
    let _silent: Vec<_> = (0..32).map(|_| stage.connect(b"")).collect();
    until("the restart waits", || stage.fake.waiting() == 1);
    let server = stage.server.take().unwrap();
    let began = Instant::now();
    let ending = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(server.end());
    });
    stage.fake.gate.add_permits(1);
    assert_eq!(super::stage::answer(restart).0, 200);
    ending.join().unwrap();
    assert!(!stage.socket().exists());
    assert!(began.elapsed() < Duration::from_secs(10));
    let again = std::os::unix::net::UnixStream::connect(stage.socket());
    assert_eq!(
        again.map(drop).unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
}

#[test]
fn the_client_passes_a_refusal_on_as_it_came() {
    let stage = Stage::new();
    let refused = stage
        .client()
        .post::<Value>("/v1/apps/nope/stop", &json!({}));
    let refusal = refused.unwrap_err();
    assert_eq!(
        (refusal.exit_code, refusal.message.contains("nope")),
        (3, true)
    );
}
