//! The standard verbs on suppliers: what is ours to say about them. That the verbs work at all is
//! tested where `crud()` is.

use http::Method;
use serde_json::json;

use crate::apps;

const SUPPLIERS: &str = "/api/example/suppliers";

#[tokio::test(flavor = "multi_thread")]
async fn a_supplier_is_created_changed_deleted_and_restored_with_its_events() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let input = json!({ "name": "Feed & Seed", "note": "by phone" });
        let created = app.post(SUPPLIERS).token(&tenant.staff_token).json(&input).send().await.expect(201);
        let path = created.header("location").to_owned();
        assert!(path.starts_with("/api/example/suppliers/sup_"), "{path}");
        assert_eq!(created.data()["orderLimit"], json!(null), "nobody has approved it yet");

        let update =
            app.request(Method::PATCH, &path).token(&tenant.staff_token).header("if-match", created.header("etag"));
        let updated = update.json(&json!({ "note": "by mail" })).send().await.expect(200).data();
        assert_eq!((&updated["name"], &updated["note"]), (&json!("Feed & Seed"), &json!("by mail")));

        app.request(Method::DELETE, &path).token(&tenant.staff_token).send().await.expect(204);
        app.get(&path).token(&tenant.viewer_token).send().await.expect(404);
        app.post(&format!("{path}/restore")).token(&tenant.admin_token).send().await.expect(200);

        app.relay().await;
        let events = app.get("/api/events").token(&tenant.staff_token).send().await.expect(200).data();
        let events = events["items"].as_array().expect("a page").iter();
        let kinds: Vec<&str> = events.map(|event| event["type"].as_str().unwrap_or_default()).collect();
        let expected = ["created", "updated", "deleted", "restored"].map(|verb| format!("example.supplier.{verb}"));
        assert_eq!(kinds, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_until_its_supplier_is_deleted() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let create = |token: &str| app.post(SUPPLIERS).token(token).json(&json!({ "name": "Feed & Seed" })).send();
        let first = create(&tenant.staff_token).await.expect(201);
        assert_eq!(create(&tenant.staff_token).await.expect(409).code(), "example.supplier_name_taken");
        create(&other.staff_token).await.expect(201);
        app.request(Method::DELETE, first.header("location")).token(&tenant.staff_token).send().await.expect(204);
        create(&tenant.staff_token).await.expect(201);
        let restore = format!("{}/restore", first.header("location"));
        let refused = app.post(&restore).token(&tenant.admin_token).send().await.expect(409);
        assert_eq!(refused.code(), "example.supplier_name_taken");
    }
}
