//! The keys of the QC webhook: making, listing, rotating and revoking them. For what is posted under one
//! see `qc_webhook`.

use http::Method;
use inventory::Inventory;
use serde_json::{Value, json};
use store::{Engine, Vault};

use crate::laboratory::{DAY, KEYS, Key, Post, SECOND, app_on, apps, batch, events, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let made = app.post(KEYS).token(&tenant.admin_token).header("idempotency-key", "k");
        let made = made.json(&json!({ "name": " Line 2 " })).send().await.expect(201);
        let key = Key::of(&made.data());
        assert!(key.id.starts_with("qck_") && key.secret.starts_with("whsec_") && key.secret.len() == 50);
        assert_eq!((made.header("cache-control"), made.header("etag")), ("no-store", "\"v1\""));
        assert_eq!((made.header("location"), &made.data()["name"]), (key.path().as_str(), &json!("Line 2")));
        // A repeated request gets the answer without it.
        let again = app.post(KEYS).token(&tenant.admin_token).header("idempotency-key", "k");
        let again = again.json(&json!({ "name": " Line 2 " })).send().await.expect(201);
        assert_eq!((&again.data()["id"], &again.data()["secret"]), (&json!(key.id), &Value::Null));
        let listed = app.get(KEYS).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(listed.data()["items"].as_array().expect("items").len(), 1);
        assert_eq!(
            (&listed.data()["items"][0]["id"], &listed.data()["items"][0]["version"]),
            (&json!(key.id), &json!(1))
        );
        let secret = key.secret.trim_start_matches("whsec_");
        assert!(!listed.text().contains(secret));
        assert!(!app.dump().await.iter().any(|row| row.contains(secret)));
        assert_eq!(events(&app, &tenant, "inventory.qc_key.created").await[0]["subject"], key.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tenants_administrators_manage_its_keys() {
    for (app, _) in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("rival").await);
        let key = Key::make(&app, &tenant).await;
        let before = app.digest(&tenant).await;
        for token in [&tenant.staff_token, &tenant.viewer_token] {
            app.get(KEYS).token(token).send().await.expect(403);
            app.post(KEYS).token(token).json(&json!({ "name": "x" })).send().await.expect(403);
            app.post(&format!("{}/rotate", key.path())).token(token).send().await.expect(403);
            app.request(Method::DELETE, &key.path()).token(token).send().await.expect(403);
        }
        app.post(&format!("{}/rotate", key.path())).token(&other.admin_token).send().await.expect(404);
        app.request(Method::DELETE, &key.path()).token(&other.admin_token).send().await.expect(404);
        for body in
            [json!({}), json!({ "name": "" }), json!({ "name": "x".repeat(101) }), json!({ "name": "x", "id": "y" })]
        {
            app.post(KEYS).token(&tenant.admin_token).json(&body).send().await.expect(400);
        }
        let stale = app.post(&format!("{}/rotate", key.path())).token(&tenant.admin_token).header("if-match", "\"v7\"");
        stale.send().await.expect(412);
        let stale = app.request(Method::DELETE, &key.path()).token(&tenant.admin_token).header("if-match", "\"v7\"");
        stale.send().await.expect(412);
        assert_eq!(app.digest(&tenant).await, before);
        // The keys are not items, whatever the path looks like.
        app.request(Method::PUT, KEYS).token(&tenant.admin_token).json(&json!({})).send().await.expect(405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_twenty_keys_at_most() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let first = Key::make(&app, &tenant).await;
        for _ in 1..20 {
            Key::make(&app, &tenant).await;
        }
        let more = async || app.post(KEYS).token(&tenant.admin_token).json(&json!({ "name": "x" })).send().await;
        assert_eq!(more().await.expect(409).code(), "inventory.too_many_qc_keys");
        app.request(Method::DELETE, &first.path()).token(&tenant.admin_token).send().await.expect(200);
        more().await.expect(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_both_secrets_are_taken_for_a_day() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let (first, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let rotate = async || {
            let path = format!("{}/rotate", first.path());
            Key::of(&app.post(&path).token(&tenant.admin_token).send().await.expect(200).data())
        };
        let mut number = 0;
        let mut takes = async |key: &Key| {
            number += 1;
            let body = json!({ "batchId": batch, "result": "passed" });
            let answer = Post::new(&app, key, &format!("msg_{number}"), &body).send(&app).await;
            assert!([200, 401].contains(&answer.status.as_u16()), "{}", answer.text());
            answer.status == 200
        };
        let second = rotate().await;
        assert_eq!((&second.id, second.secret == first.secret), (&first.id, false));
        assert!(takes(&first).await && takes(&second).await);
        app.clock().shift(DAY - SECOND);
        assert!(takes(&first).await && takes(&second).await);
        app.clock().shift(SECOND);
        assert!(!takes(&first).await, "its day is over");
        assert!(takes(&second).await);
        // Rotating twice drops what leaked at once.
        let third = rotate().await;
        let fourth = rotate().await;
        assert!(!takes(&second).await && takes(&third).await && takes(&fourth).await);
        assert_eq!(events(&app, &tenant, "inventory.qc_key.rotated").await.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_nobodys_at_once() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let (key, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let rotated = app.post(&format!("{}/rotate", key.path())).token(&tenant.admin_token).send().await.expect(200);
        let rotated = Key::of(&rotated.data());
        let body = json!({ "batchId": batch, "result": "failed" });
        let sound = Post::new(&app, &rotated, "msg_1", &body);
        sound.send(&app).await.expect(200);
        let revoked = app.request(Method::DELETE, &key.path()).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(revoked.data(), Value::Null);
        let before = app.digest(&tenant).await;
        // Not even what it had said before is repeated.
        for post in [&sound, &Post::new(&app, &rotated, "msg_2", &body), &Post::new(&app, &key, "msg_3", &body)] {
            assert_eq!(post.send(&app).await.expect(401).code(), "inventory.invalid_signature");
        }
        app.request(Method::DELETE, &key.path()).token(&tenant.admin_token).send().await.expect(404);
        app.post(&format!("{}/rotate", key.path())).token(&tenant.admin_token).send().await.expect(404);
        let listed = app.get(KEYS).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(listed.data()["items"], json!([]));
        assert_eq!(app.digest(&tenant).await, before);
        assert_eq!(events(&app, &tenant, "inventory.qc_key.revoked").await.len(), 1);
        assert_eq!(read(&app, &tenant, &batch).await["qcState"], "failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_vault_nothing_is_taken_and_rotating_helps() {
    for engine in testkit::engines() {
        let closed = Inventory::default();
        let (app, _) = app_on(engine, closed.clone()).await;
        let tenant = app.tenant("farm").await;
        let refused = app.post(KEYS).token(&tenant.admin_token).json(&json!({ "name": "x" })).send().await.expect(503);
        assert_eq!(refused.code(), "inventory.not_opened");
        let nobody = Key { id: "qck_00000000000000000000000001".to_owned(), secret: "whsec_AAAA".to_owned() };
        Post::new(&app, &nobody, "msg_1", &json!({})).send(&app).await.expect(503);
        closed.open(Vault::new(&[9; 32])).expect("opened once");
        assert!(closed.open(Vault::new(&[9; 32])).is_err());
        let key = Key::make(&app, &tenant).await;
        let damaged = match engine {
            Engine::Sqlite => "UPDATE inventory_qc_key SET secret_sealed = x'0102'",
            Engine::Postgres => r"UPDATE inventory_qc_key SET secret_sealed = '\x0102'",
        };
        app.execute(damaged).await;
        let post = |key: &Key| Post::new(&app, key, "msg_1", &json!({ "batchCode": "x", "result": "passed" }));
        post(&key).send(&app).await.expect(500);
        let rotated = app.post(&format!("{}/rotate", key.path())).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(rotated.data()["oldSecretUntil"], Value::Null);
        post(&Key::of(&rotated.data())).send(&app).await.expect(404);
    }
}
