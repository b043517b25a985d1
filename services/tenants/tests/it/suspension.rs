use std::sync::Arc;

use serde_json::json;

use crate::{CURRENT, Superadmin, WHY, apps, events, everything, path};

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenants_people_are_kept_out_until_it_is_activated() {
    for app in apps().await {
        let (platform, tenant) = (app.tenant("platform").await, app.tenant("farm").await);
        let superadmin = Superadmin::inside(&app, &platform);
        let tokens = [&tenant.viewer_token, &tenant.staff_token, &tenant.admin_token];
        for token in tokens {
            app.get(CURRENT).token(token).send().await.expect(200);
        }
        let (suspend, activate) = (format!("{}/suspend", path(tenant.id)), format!("{}/activate", path(tenant.id)));
        let body = json!({ "reason": " unpaid since March " });
        let suspended = superadmin.post(&app, &suspend, &body).send().await.expect(200);
        let shown = suspended.json();
        assert_eq!(
            (&shown["state"], &shown["isActive"], suspended.header("etag")),
            (&json!("suspended"), &json!(false), "\"v2\"")
        );
        for token in tokens {
            assert_eq!(app.get(CURRENT).token(token).send().await.expect(403).code(), "tenants.suspended");
        }
        app.get(CURRENT).token(&platform.viewer_token).send().await.expect(200);
        let again = superadmin.post(&app, &suspend, &json!({ "reason": "and again" })).send().await.expect(200);
        assert_eq!((again.json(), again.header("etag")), (shown, "\"v2\""));
        let active = superadmin.post(&app, &activate, &json!({ "reason": "paid" })).send().await.expect(200);
        assert_eq!((&active.json()["isActive"], active.header("etag")), (&json!(true), "\"v3\""));
        superadmin.post(&app, &activate, &json!({ "reason": "paid twice" })).send().await.expect(200);
        for token in tokens {
            app.get(CURRENT).token(token).send().await.expect(200);
        }
        let told = events(&app, &tenant).await;
        let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
        assert_eq!(kinds, ["tenants.tenant.suspended", "tenants.tenant.activated"]);
        assert_eq!(told[0]["data"], json!({ "reason": "unpaid since March", "slug": tenant.slug }));
        assert_eq!(told[1]["data"], json!({ "reason": "paid", "slug": tenant.slug }));
        for (event, version) in told.iter().zip([2, 3]) {
            assert_eq!((&event["actor"], &event["reason"]), (&json!(superadmin.actor), &json!(WHY)));
            assert_eq!((&event["subject"], &event["subjectVersion"]), (&json!(tenant.id), &json!(version)));
        }
        assert!(superadmin.actor.starts_with("superadmin:usr_"));
        assert!(events(&app, &platform).await.is_empty(), "the log is that of the tenant that it happened to");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_goes_on_working_in_a_tenant_after_suspending_it() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let superadmin = Superadmin::inside(&app, &tenant);
        superadmin.suspend(&app, tenant.id).await;
        let shown = app.get(CURRENT).token(&superadmin.token).send().await.expect(200).json();
        assert_eq!(shown["isActive"], json!(false));
        let activate = format!("{}/activate", path(tenant.id));
        superadmin.post(&app, &activate, &json!({ "reason": "looked after" })).send().await.expect(200);
        app.get(CURRENT).token(&tenant.viewer_token).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_suspend_at_once_leave_one_event() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let superadmin = Arc::new(Superadmin::inside(&app, &tenant));
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let (app, superadmin) = (app.clone(), superadmin.clone());
                let suspend = format!("{}/suspend", path(tenant.id));
                tokio::spawn(async move {
                    let body = json!({ "reason": format!("reason {number}") });
                    superadmin.post(&app, &suspend, &body).send().await.expect(200).header("etag").to_owned()
                })
            })
            .collect();
        for racer in racers {
            assert_eq!(racer.await.expect("an answer"), "\"v2\"");
        }
        let activate = format!("{}/activate", path(tenant.id));
        superadmin.post(&app, &activate, &json!({ "reason": "paid" })).send().await.expect(200);
        assert_eq!(events(&app, &tenant).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_suspends_and_a_superadmin_says_why_twice() {
    for app in apps().await {
        let (platform, tenant) = (app.tenant("platform").await, app.tenant("farm").await);
        let superadmin = Superadmin::inside(&app, &platform);
        let before = everything(&app, &tenant).await;
        let body = json!({ "reason": "because" });
        for verb in ["suspend", "activate"] {
            let to = format!("{}/{verb}", path(tenant.id));
            for token in [&tenant.viewer_token, &tenant.staff_token, &tenant.admin_token, &platform.admin_token] {
                app.post(&to).token(token).json(&body).send().await.expect(403);
            }
            app.post(&to).json(&body).send().await.expect(401);
            let silent = app.post(&to).token(&superadmin.token).json(&body).send().await.expect(400);
            assert_eq!(silent.code(), "request.reason_required");
            let unknown = format!("{}/{verb}", path(kernel::TenantId::new()));
            let unknown = superadmin.post(&app, &unknown, &body).send().await.expect(404);
            assert_eq!(unknown.code(), "tenants.not_found");
        }
        assert_eq!(everything(&app, &tenant).await, before);
    }
}
