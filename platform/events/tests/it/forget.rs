//! Forgetting what nobody runs any more, and what that lets go.

use events::{forget, list, remove_expired};
use fixtures::eventually;
use sea_orm::sea_query::Query;
use store::{Engine, Purpose};

use crate::ground::{CHANGED, Failure, Notebook, grounds, settle, tally};

#[tokio::test]
async fn what_is_forgotten_keeps_no_events_and_leaves_nothing() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let (kept, gone) = (Notebook::new("kept.notes"), Notebook::new("gone.notes"));
        gone.fail("bad", Failure::Error, 1_000);
        ground.record(tenant, &["a", "bad"]).await;
        settle(&gone.dispatcher(&ground)).await;
        settle(&kept.dispatcher(&ground)).await;
        ground.record(tenant, &["b"]).await;
        settle(&kept.dispatcher(&ground)).await;
        ground.pass(40 * 24 * 3600);
        assert_eq!(remove_expired(&ground.store, &[(CHANGED, 30)]).await.expect("removes"), 1, "what it had");

        let refused = forget(&ground.store, &["kept.notes"], "kept.notes").await.expect_err("in use");
        assert_eq!(refused.code(), "events.subscription_in_use");
        let unknown = forget(&ground.store, &["kept.notes"], "nobody").await.expect_err("there is none");
        assert_eq!(unknown.code(), "events.subscription_unknown");
        forget(&ground.store, &["kept.notes"], "gone.notes").await.expect("forgets");

        let names: Vec<String> =
            list(&ground.store, &[]).await.expect("lists").into_iter().map(|listed| listed.name).collect();
        assert_eq!(names, ["kept.notes"]);
        let system = ground.store.system_read(Purpose::Dispatch).await.expect("opens");
        for (table, rows) in [("subscription_cursor", 1), ("subscription_parked", 0)] {
            let left = system.rows(&Query::select().column("subscription").from(table).take()).await.expect("reads");
            assert_eq!(left.len(), rows, "{table}");
        }
        system.close().await.expect("closes");
        assert_eq!(remove_expired(&ground.store, &[(CHANGED, 30)]).await.expect("removes"), 2);
        assert_eq!(kept.given("b").len(), 1);
        assert_eq!(ground.heard(tenant, "kept.notes").await, tally(&[("a", 1), ("b", 1), ("bad", 1)]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_works_on_is_not_forgotten() {
    for ground in grounds().await {
        if ground.store.engine() == Engine::Sqlite {
            // One process only, which knows what it runs.
            continue;
        }
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("other.version");
        let running = notebook.dispatcher(&ground).start();
        ground.record(tenant, &["a"]).await;
        eventually("it is applied", async || !ground.notes(tenant, "other.version").await.is_empty()).await;
        let refused = forget(&ground.store, &[], "other.version").await.expect_err("it is held");
        assert_eq!(refused.code(), "events.subscription_in_use");
        running.stop().await;
        forget(&ground.store, &[], "other.version").await.expect("forgets");
    }
}
