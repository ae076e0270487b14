//! Reloads of managed puppets: who counts as ready, and what is reported.

use maitred::{Event, Outcome, ReloadWish};

use crate::stage::{Stage, impatient, play, settings};

const ANY_PORT: &str = "tcp 127.0.0.1:0";

const WISH: ReloadWish = ReloadWish {
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
