//! Reloads of managed puppets: who counts as ready, and what is reported.

use std::time::Duration;

use maitred::{Event, Limits, Outcome, ReloadError, ReloadWish, Settings, WorkerState};

use crate::stage::{Stage, impatient, play, settings};

const ANY_PORT: &str = "tcp 127.0.0.1:0";

const WISH: ReloadWish = ReloadWish {
    only: None,
    parallel: 1,
    allow_listen_change: false,
};

#[test]
fn a_reload_reports_only_what_it_has_sent_away_itself() {
    play(|| async {
        let mut stage = Stage::new(settings().limits(impatient()));
        stage.cluster.scale(2).await.unwrap();
        let both = [stage.newcomer().await, stage.newcomer().await];
        for puppet in &both {
            stage.ask(puppet, ANY_PORT, "bound ").await;
            stage.tell(puppet, "deaf").await;
        }
        // The one drains since fewer are wanted, and the other for the reload.
        stage.cluster.scale(1).await.unwrap();
        let cluster = stage.cluster.clone();
        let serve = async {
            let new = stage.newcomer().await;
            stage.ask(&new, ANY_PORT, "bound ").await;
        };
        let (report, ()) = tokio::join!(cluster.reload(WISH), serve);
        let report = report.unwrap();
        let (replaced, cut) = (&report.replaced[..], &report.cut[..]);
        assert_eq!((replaced.len(), cut.len()), (1, 1), "{report:?}");
        assert_eq!(replaced[0].old, Some(cut[0].worker));
        // What happened to each is told all the same.
        for puppet in &both {
            let is_its = |event: &Event| {
                let is_cut = event.name() == "cut_at_deadline";
                is_cut && event.process().is_some_and(|(id, _)| id == puppet.id())
            };
            stage.until(is_its).await;
        }
        stage.end(Outcome::Done).await;
    });
}

/// Settings for puppets that have little time to say that they are ready.
fn waiting() -> Settings {
    let limits = Limits {
        listen_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    settings().limits(limits).wait_ready(true)
}

/// One managed puppet that listens and has said that it is ready.
async fn one_ready(settings: Settings) -> Stage {
    let mut stage = Stage::new(settings);
    stage.cluster.scale(1).await.unwrap();
    let first = stage.newcomer().await;
    stage.ask(&first, ANY_PORT, "bound ").await;
    assert!(!stage.names().contains(&"ready"));
    // The word goes to whoever listens to messages, too.
    stage.ask(&first, "echo ready", "ready").await;
    stage.until(|event| event.name() == "ready").await;
    stage
}

#[test]
fn one_that_listens_and_does_not_say_that_it_is_ready_is_told_of() {
    play(|| async {
        let mut stage = Stage::new(waiting());
        stage.cluster.scale(1).await.unwrap();
        let worker = stage.newcomer().await;
        stage.ask(&worker, ANY_PORT, "bound ").await;
        let told = stage.until(|event| event.name() == "not_listening").await;
        assert!(matches!(told, Event::NotListening { listens: true, .. }));
        // It may yet say so.
        stage.ask(&worker, "echo ready", "ready").await;
        stage.until(|event| event.name() == "ready").await;
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn one_that_says_later_that_it_is_ready_takes_over_then() {
    play(|| async {
        let mut stage = one_ready(settings().wait_ready(true)).await;
        let old = stage
            .cluster
            .workers()
            .await
            .unwrap()
            .pop_first()
            .unwrap()
            .1;
        let cluster = stage.cluster.clone();
        let serve = async {
            let new = stage.newcomer().await;
            stage.ask(&new, ANY_PORT, "bound ").await;
            // Commands are carried out in order, so what it led to would be there by now.
            let listens = stage.cluster.workers().await.unwrap().len();
            assert_eq!((listens, old.state()), (2, WorkerState::Listening));
            stage.tell(&new, "echo ready").await;
        };
        let (report, ()) = tokio::join!(cluster.reload(WISH), serve);
        assert_eq!(report.unwrap().replaced.len(), 1);
        assert!(old.is_dead());
        stage.end(Outcome::Done).await;
    });
}

#[test]
fn one_that_listens_and_never_says_that_it_is_ready_fails_the_reload() {
    play(|| async {
        let mut stage = one_ready(waiting()).await;
        let old = stage
            .cluster
            .workers()
            .await
            .unwrap()
            .pop_first()
            .unwrap()
            .1;
        let cluster = stage.cluster.clone();
        let serve = async {
            let new = stage.newcomer().await;
            stage.ask(&new, ANY_PORT, "bound ").await;
        };
        let (report, ()) = tokio::join!(cluster.reload(WISH), serve);
        let Err(ReloadError::Failed {
            reason, replaced, ..
        }) = report
        else {
            panic!("{report:?} is no failure");
        };
        let expected = "new worker 2 (slot 0) did not say that it is ready within 2s \
                        (--listen-timeout, --wait-ready)";
        assert_eq!((&reason[..], &replaced[..]), (expected, &[][..]));
        assert_eq!(old.state(), WorkerState::Listening);
        stage.end(Outcome::Done).await;
    });
}
