use std::sync::Arc;

use serde_json::json;

use crate::{FLAGS, apps, events, listed, turn};

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_is_made_turned_and_listed_with_one_event_a_change() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        assert!(listed(&app, &tenant).await.is_empty());
        let on = turn(&app, &tenant, "qc.webhook", "enable").await.expect(200);
        assert_eq!((on.header("etag"), &on.json()["success"]), ("\"v1\"", &json!(true)));
        assert_eq!((&on.data()["key"], &on.data()["enabled"]), (&json!("qc.webhook"), &json!(true)));
        assert_eq!(turn(&app, &tenant, "qc.webhook", "enable").await.expect(200).data(), on.data());
        let off = turn(&app, &tenant, "qc.webhook", "disable").await.expect(200);
        assert_eq!((off.header("etag"), &off.data()["enabled"]), ("\"v2\"", &json!(false)));
        // A key may begin as off.
        turn(&app, &tenant, "ai.inference", "disable").await.expect(200);
        let flags = [("ai.inference".to_owned(), false), ("qc.webhook".to_owned(), false)];
        assert_eq!(listed(&app, &tenant).await, flags);
        assert!(listed(&app, &other).await.is_empty());
        let told: Vec<_> = events(&app, &tenant).await.into_iter().map(|event| event["data"].clone()).collect();
        assert_eq!(
            told,
            [
                json!({ "key": "qc.webhook", "enabled": true, "description": null }),
                json!({ "key": "qc.webhook", "enabled": false, "description": null }),
                json!({ "key": "ai.inference", "enabled": false, "description": null }),
            ]
        );
        assert!(events(&app, &other).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_turn_a_new_key_at_once_make_one_flag() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = Arc::new(app.tenant("farm").await);
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let (app, tenant) = (app.clone(), tenant.clone());
                tokio::spawn(async move { turn(&app, &tenant, "new", "enable").await.expect(200).data()["id"].clone() })
            })
            .collect();
        let mut ids = Vec::new();
        for racer in racers {
            ids.push(racer.await.expect("an answer"));
        }
        ids.dedup();
        assert_eq!((ids.len(), listed(&app, &tenant).await.len(), events(&app, &tenant).await.len()), (1, 1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_is_turned_only_at_the_version_that_is_named_and_a_repeat_changes_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let post = |verb: &str| app.post(&format!("{FLAGS}/new/{verb}")).token(&tenant.admin_token);
        let none = post("enable").header("if-match", "\"v1\"").send().await.expect(412);
        assert_eq!(none.code(), "request.version_mismatch");
        post("enable").header("idempotency-key", "one").send().await.expect(200);
        let again = post("enable").header("idempotency-key", "one").send().await.expect(200);
        assert_eq!(again.header("idempotency-replayed"), "true");
        let before = app.digest(&tenant).await;
        post("disable").header("if-match", "\"v7\"").send().await.expect(412);
        assert_eq!(app.digest(&tenant).await, before);
        post("disable").header("if-match", "\"v1\"").send().await.expect(200);
        assert_eq!(listed(&app, &tenant).await, [("new".to_owned(), false)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_an_administrator_turns_flags_and_nonsense_changes_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        turn(&app, &tenant, "known", "enable").await.expect(200);
        let before = app.digest(&tenant).await;
        for token in [&tenant.staff_token, &tenant.viewer_token] {
            app.get(FLAGS).token(token).send().await.expect(403);
            app.post(&format!("{FLAGS}/known/disable")).token(token).send().await.expect(403);
        }
        app.get(FLAGS).send().await.expect(401);
        for wrong in ["Known", "1st", "a%20b", "%01", "%C3%BC", "a:b", "a'b", &"x".repeat(101)] {
            let refused = turn(&app, &tenant, wrong, "enable").await.expect(400);
            assert_eq!(refused.code(), "request.invalid_path", "{wrong}");
        }
        turn(&app, &tenant, "known", "explode").await.expect(404);
        assert_eq!(app.digest(&tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_only_so_many_flags() {
    let app = testkit::TestApp::sqlite(vec![flags::service(vec![])]).await;
    let tenant = app.tenant("farm").await;
    for number in 0..500 {
        turn(&app, &tenant, &format!("f{number}"), "enable").await.expect(200);
    }
    let full = turn(&app, &tenant, "one-more", "enable").await.expect(409);
    assert_eq!(full.code(), "flags.too_many");
    turn(&app, &tenant, "f499", "disable").await.expect(200);
    assert_eq!(listed(&app, &tenant).await.len(), 500);
}
