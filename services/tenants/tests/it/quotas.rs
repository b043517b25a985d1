use std::sync::Arc;

use http::Method;
use kernel::TenantId;
use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

use crate::{Superadmin, apps, events, everything, path};

fn of(id: TenantId) -> String {
    format!("{}/quotas", path(id))
}

async fn replace(app: &TestApp, superadmin: &Superadmin, id: TenantId, quotas: Value) -> testkit::TestResponse {
    superadmin.request(app, Method::PUT, &of(id)).json(&json!({ "quotas": quotas })).send().await
}

async fn shown(app: &TestApp, tenant: &TestTenant) -> Value {
    app.get(&of(tenant.id)).token(&tenant.admin_token).send().await.expect(200).json()["quotas"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_replaces_all_quotas_and_the_administrator_reads_them() {
    for app in apps().await {
        let (platform, tenant) = (app.tenant("platform").await, app.tenant("farm").await);
        let superadmin = Superadmin::inside(&app, &platform);
        assert_eq!(shown(&app, &tenant).await, json!({}));
        let first = replace(&app, &superadmin, tenant.id, json!({ "users": 10, "storage.bytes": 0 })).await.expect(200);
        assert_eq!((first.header("etag"), &first.json()["quotas"]["users"]), ("\"v2\"", &json!(10)));
        let again = replace(&app, &superadmin, tenant.id, json!({ "storage.bytes": 0, "users": 10 })).await.expect(200);
        assert_eq!(again.header("etag"), "\"v2\"", "what is so already changes nothing");
        replace(&app, &superadmin, tenant.id, json!({ "users": 11, "seats": 3 })).await.expect(200);
        assert_eq!(shown(&app, &tenant).await, json!({ "seats": 3, "users": 11 }));
        app.get(&of(tenant.id)).token(&tenant.admin_token).header("if-none-match", "\"v3\"").send().await.expect(304);
        let by_superadmin = superadmin.request(&app, Method::GET, &of(tenant.id)).send().await.expect(200);
        assert_eq!(by_superadmin.json()["quotas"], json!({ "seats": 3, "users": 11 }));
        let told = events(&app, &tenant).await;
        let changed: Vec<&Value> = told.iter().map(|event| &event["data"]["changed"]).collect();
        let (from_nothing, to_nothing) = (json!({ "from": null, "to": 3 }), json!({ "from": 0, "to": null }));
        assert_eq!(changed.len(), 2);
        assert_eq!(*changed[0], json!({ "storage.bytes": { "from": null, "to": 0 }, "users": { "from": null, "to": 10 } }));
        assert_eq!((&changed[1]["seats"], &changed[1]["storage.bytes"]), (&from_nothing, &to_nothing));
        assert_eq!((&told[1]["type"], &told[1]["subjectVersion"]), (&json!("tenants.quota.changed"), &json!(3)));
        assert!(events(&app, &platform).await.is_empty(), "the log is that of the tenant that it happened to");
        replace(&app, &superadmin, tenant.id, json!({})).await.expect(200);
        assert_eq!(shown(&app, &tenant).await, json!({}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_replaced_only_at_the_version_that_is_named() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let superadmin = Superadmin::inside(&app, &tenant);
        let body = json!({ "quotas": { "users": 1 } });
        let put = |version: &'static str| superadmin.request(&app, Method::PUT, &of(tenant.id)).header("if-match", version);
        put("\"v1\"").json(&body).send().await.expect(200);
        let before = everything(&app, &tenant).await;
        let late = put("\"v1\"").json(&json!({ "quotas": {} })).send().await.expect(412);
        assert_eq!(late.code(), "request.version_mismatch");
        assert_eq!(everything(&app, &tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_replace_at_once_one_is_last_and_no_rows_are_mixed() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let superadmin = Arc::new(Superadmin::inside(&app, &tenant));
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let (app, superadmin, id) = (app.clone(), superadmin.clone(), tenant.id);
                let quotas = json!({ "users": number, format!("of-{number}"): number });
                tokio::spawn(async move { replace(&app, &superadmin, id, quotas).await.expect(200) })
            })
            .collect();
        for racer in racers {
            racer.await.expect("an answer");
        }
        let last = shown(&app, &tenant).await;
        let number = &last["users"];
        assert_eq!(last, json!({ "users": number, format!("of-{number}"): number }));
        assert_eq!(events(&app, &tenant).await.len(), 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_replaces_quotas_and_nonsense_changes_nothing() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let superadmin = Superadmin::inside(&app, &other);
        replace(&app, &superadmin, tenant.id, json!({ "users": 5 })).await.expect(200);
        let before = everything(&app, &tenant).await;
        for token in [&tenant.admin_token, &tenant.staff_token, &tenant.viewer_token, &other.admin_token] {
            let put = app.request(Method::PUT, &of(tenant.id)).token(token).json(&json!({ "quotas": {} }));
            put.send().await.expect(403);
        }
        for token in [&tenant.staff_token, &tenant.viewer_token] {
            app.get(&of(tenant.id)).token(token).send().await.expect(403);
        }
        for id in [tenant.id, TenantId::new()] {
            assert_eq!(app.get(&of(id)).token(&other.admin_token).send().await.expect(404).code(), "tenants.not_found");
        }
        app.get(&of(tenant.id)).send().await.expect(401);
        replace(&app, &superadmin, TenantId::new(), json!({})).await.expect(404);
        let many: Value = (0..101).map(|number| (format!("q{number}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
        for wrong in [
            json!(null),
            json!([]),
            json!({ "users": -1 }),
            json!({ "users": 9_000_000_000_000_001_i64 }),
            json!({ "users": 1.5 }),
            json!({ "users": "1" }),
            json!({ "users": null }),
            json!({ "": 1 }),
            json!({ "Users": 1 }),
            json!({ "users\u{0}": 1 }),
            json!({ "../x": 1 }),
            many,
        ] {
            let refused = replace(&app, &superadmin, tenant.id, wrong.clone()).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "request.invalid_body"), "{wrong}");
        }
        let superfluous = superadmin.request(&app, Method::PUT, &of(tenant.id)).json(&json!({ "quotas": {}, "x": 1 }));
        superfluous.send().await.expect(400);
        assert_eq!(everything(&app, &tenant).await, before);
    }
}
