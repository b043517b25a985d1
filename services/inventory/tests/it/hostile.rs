//! Input that nobody should send: a clear problem, and nothing changed.

use http::Method;
use serde_json::json;

use crate::{ITEMS, apps, item};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bodies_are_named_and_change_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        item(&app, &tenant, "A").await;
        let before = app.digest(&tenant).await;
        let long = "x".repeat(201);
        let large = format!("{{\"sku\":\"B\",\"name\":\"{}\"}}", "x".repeat(1 << 20));
        let bodies: [(&str, u16, &str); 15] = [
            ("", 400, "request.invalid_body"),
            ("{", 400, "request.invalid_body"),
            ("[]", 400, "request.invalid_body"),
            ("{} {}", 400, "request.invalid_body"),
            (r#"{"sku":"B"}"#, 400, "request.invalid_body"),
            (r#"{"sku":"B","name":7}"#, 400, "request.invalid_body"),
            (r#"{"sku":"B","name":""}"#, 400, "request.invalid_body"),
            (r#"{"sku":"B","name":"a\u0000b"}"#, 400, "request.invalid_body"),
            (&format!(r#"{{"sku":"B","name":"{long}"}}"#), 400, "request.invalid_body"),
            (r#"{"sku":"B","name":"b","tenantId":"ten_0"}"#, 400, "request.invalid_body"),
            (r#"{"sku":"B","name":"b","name":"c"}"#, 400, "request.invalid_body"),
            (r#"{"sku":"B","name":"b","lowStockLevel":-1}"#, 400, "request.invalid_body"),
            (r#"{"sku":"B","name":"b","lowStockLevel":1.5}"#, 400, "request.invalid_body"),
            (&large, 413, "request.too_large"),
            (r#"{"sku":"A","name":"taken"}"#, 409, "inventory.sku_taken"),
        ];
        for (body, status, code) in bodies {
            let request = app.post(ITEMS).token(&tenant.staff_token).header("content-type", "application/json");
            let answer = request.bytes(body).send().await.expect(status);
            let shown: String = body.chars().take(60).collect();
            assert_eq!(answer.code(), code, "{shown}");
            let plain = app.post(ITEMS).token(&tenant.staff_token).header("content-type", "application/json");
            let plain = plain.header("accept", "application/problem+json").bytes(body).send().await.expect(status);
            assert_eq!(plain.header("content-type"), "application/problem+json", "{shown}");
            assert!(plain.json()["requestId"].is_string(), "{shown}");
        }
        let text = app.post(ITEMS).token(&tenant.staff_token).header("content-type", "text/plain").bytes("{}");
        text.send().await.expect(415);
        assert_eq!(app.digest(&tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_targets_and_queries_are_refused() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let get = |path: String| app.get(&path).token(&tenant.admin_token).send();
        for query in [
            "limit=0",
            "limit=201",
            "limit=x",
            "limit=1&limit=2",
            "sort=tenantId",
            "sort=",
            "cursor=x",
            "unknown=1",
            "quantity=x",
            "includeDeleted=1",
            "createdAt=yesterday",
        ] {
            let answer = get(format!("{ITEMS}?{query}")).await.expect(400);
            assert!(answer.code().starts_with("request.invalid_"), "{query}: {}", answer.text());
        }
        for path in [
            "/api/inventory/1",
            "/api/inventory/usr_00000000000000000000000000",
            "/api/inventory/a%2fb",
            "/api//inventory",
            "/api/inventory/../x",
        ] {
            get(path.to_owned()).await.expect(400);
        }
        get("/api/inventory/itm_00000000000000000000000000".to_owned()).await.expect(404);
        get("/api/nothing".to_owned()).await.expect(404);
        let patch =
            app.request(Method::PATCH, ITEMS).token(&tenant.admin_token).json(&json!({})).send().await.expect(405);
        assert_eq!(patch.header("allow"), "GET, POST");
        for (name, value) in
            [("authorization", "Basic YTpi"), ("authorization", "Bearer"), ("authorization", "Bearer ptc_x")]
        {
            app.get(ITEMS).header(name, value).send().await.expect(401);
        }
        let key = "k".repeat(256);
        let request = app.post(ITEMS).token(&tenant.admin_token).header("idempotency-key", &key);
        let refused = request.json(&json!({ "sku": "K", "name": "k" })).send().await.expect(400);
        assert_eq!(refused.code(), "request.invalid_idempotency_key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_ids_are_kept_when_they_are_sound_and_replaced_otherwise() {
    for app in apps().await {
        let answer =
            app.get("/api/nothing").header("x-request-id", "mine-1").header("x-correlation-id", "chain").send().await;
        assert_eq!((answer.header("x-request-id"), answer.header("x-correlation-id")), ("mine-1", "chain"));
        let long = "x".repeat(129);
        for wrong in ["has space", "\"quoted\"", long.as_str(), ""] {
            let answer = app.get("/api/nothing").header("x-request-id", wrong).send().await;
            assert_ne!(answer.header("x-request-id"), wrong);
            assert!(!answer.header("x-request-id").is_empty());
        }
    }
}
