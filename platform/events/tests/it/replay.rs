//! Going back in the log, what may not, and what is kept of it.

use events::{Dispatcher, Kinds, ReplayReport, list, remove_expired, replay};

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use store::Purpose;

use crate::ground::{CHANGED, Failure, Notebook, grounds, settle, tally};

#[tokio::test]
async fn a_replay_delivers_again_what_comes_after_a_position() {
    for ground in grounds().await {
        let (tenant, other) = (ground.tenant("one").await, ground.tenant("two").await);
        let notebook = Notebook::new("again.notes");
        let known = [notebook.subscription()];
        let dispatcher = notebook.dispatcher(&ground);
        ground.record(tenant, &["a", "b"]).await;
        ground.record(other, &["c"]).await;
        notebook.fail("b", Failure::Error, 1);
        settle(&dispatcher).await;

        let counted = replay(&ground.store, &known, "again.notes", 1, None, true).await.expect("counts");
        assert_eq!(counted, ReplayReport { events: 2, horizon: 0, done: false });
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "again.notes").await, tally(&[("a", 1)]), "counting changes nothing");

        let one = replay(&ground.store, &known, "again.notes", 0, Some(tenant), false).await.expect("goes back");
        assert_eq!((one.events, one.done), (2, true));
        settle(&dispatcher).await;
        // What was set aside came again too, not twice.
        assert_eq!(ground.heard(tenant, "again.notes").await, tally(&[("a", 2), ("b", 1)]));
        assert_eq!(ground.heard(other, "again.notes").await, tally(&[("c", 1)]));
        assert!(list(&ground.store, &known).await.expect("lists")[0].streams.is_empty());

        replay(&ground.store, &known, "again.notes", 1, None, false).await.expect("goes back");
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "again.notes").await, tally(&[("a", 2), ("b", 2)]));
        assert_eq!(ground.heard(other, "again.notes").await, tally(&[("c", 2)]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_runs_notices_a_replay() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("live.again");
        let running = notebook.dispatcher(&ground).start();
        ground.record(tenant, &["a", "a", "a"]).await;
        let heard = async || ground.notes(tenant, "live.again").await.len();
        fixtures::eventually("all are applied", async || heard().await == 3).await;
        replay(&ground.store, &[notebook.subscription()], "live.again", 1, None, false).await.expect("goes back");
        fixtures::eventually("two are applied again", async || heard().await == 5).await;
        running.stop().await;
        assert_eq!(heard().await, 5);
    }
}

#[tokio::test]
async fn what_must_not_happen_twice_is_not_replayed() {
    for ground in grounds().await {
        let notebook = Notebook::new("once.notes");
        let known = [notebook.subscription().once()];
        settle(&Dispatcher::new(ground.store.clone(), known.to_vec())).await;
        for (name, from, code) in [
            ("once.notes", 0, "events.not_replayable"),
            ("nobody", 0, "events.subscription_unknown"),
            ("sink:nobody", 0, "events.subscription_unknown"),
        ] {
            let refused = replay(&ground.store, &known, name, from, None, false).await.expect_err("refused");
            assert_eq!(refused.code(), code, "{name}");
        }
        let again = [notebook.subscription()];
        let refused = replay(&ground.store, &again, "once.notes", -1, None, false).await.expect_err("refused");
        assert_eq!(refused.code(), "events.invalid_position");
    }
}

#[tokio::test]
async fn nothing_is_removed_that_somebody_has_not_had() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let (quick, slow) = (Notebook::new("keep.quick"), Notebook::new("keep.slow"));
        let both = Dispatcher::new(ground.store.clone(), vec![quick.subscription(), slow.subscription()]);
        ground.record(tenant, &["a", "bad", "b"]).await;
        quick.fail("bad", Failure::Error, 1);
        settle(&both).await;
        ground.record(tenant, &["c"]).await;
        settle(&quick.dispatcher(&ground)).await;
        ground.pass(40 * 24 * 3600);
        let kept = async || ground.events(tenant, CHANGED).await.into_iter().map(|event| event.subject);
        // Set aside at 2, and the slow one stands at 3.
        assert_eq!(remove_expired(&ground.store, &[(CHANGED, 41)]).await.expect("removes"), 0);
        assert_eq!(remove_expired(&ground.store, &[(CHANGED, 30)]).await.expect("removes"), 1);
        assert_eq!(kept().await.collect::<Vec<_>>(), ["bad", "b", "c"]);
        settle(&quick.dispatcher(&ground)).await;
        assert_eq!(remove_expired(&ground.store, &[(CHANGED, 30)]).await.expect("removes"), 2);
        assert_eq!(kept().await.collect::<Vec<_>>(), ["c"]);
        settle(&both).await;
        assert_eq!(remove_expired(&ground.store, &[(CHANGED, 30)]).await.expect("removes"), 1);
        assert_eq!(ground.heard(tenant, "keep.slow").await, tally(&[("a", 1), ("b", 1), ("bad", 1), ("c", 1)]));
        let report = replay(&ground.store, &[slow.subscription()], "keep.slow", 0, None, true).await.expect("counts");
        assert_eq!((report.events, report.horizon), (0, 4), "and a replay says what is missing");
        assert_eq!(slow.subscription().kinds, Kinds::Of(&[CHANGED]));
    }
}

#[tokio::test]
async fn a_replay_keeps_what_a_tenant_sets_aside_that_did_not_go_back() {
    for ground in grounds().await {
        let (one, late) = (ground.tenant("one").await, ground.tenant("late").await);
        let notebook = Notebook::new("race.notes");
        let known = [notebook.subscription()];
        notebook.fail("bad", Failure::Error, 1);
        ground.record(one, &["a"]).await;
        ground.record(late, &["b", "bad"]).await;
        settle(&notebook.dispatcher(&ground)).await;
        // As the replay sees it while the last of its events is under way: its cursor is not there yet.
        let behind = Query::update()
            .table("subscription_cursor")
            .value("position", 2i64)
            .and_where(Expr::col("tenant_id").eq(late))
            .take();
        let system = ground.store.system(Purpose::Dispatch).await.expect("opens");
        assert_eq!(system.execute(&behind).await.expect("moves it"), 1);
        system.commit().await.expect("commits");
        replay(&ground.store, &known, "race.notes", 2, None, false).await.expect("goes back");
        let listed = list(&ground.store, &known).await.expect("lists");
        assert_eq!(listed[0].streams.iter().map(|stream| stream.position).collect::<Vec<_>>(), [3]);
    }
}
