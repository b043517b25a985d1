use std::sync::Arc;

use http::Method;
use serde_json::json;

use crate::{CURRENT, apps, events, everything};

#[tokio::test(flavor = "multi_thread")]
async fn every_member_sees_the_organisation() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        for token in [&tenant.viewer_token, &tenant.staff_token, &tenant.admin_token] {
            let answer = app.get(CURRENT).token(token).send().await.expect(200);
            assert_eq!(answer.header("etag"), "\"v1\"");
            let wanted = json!({
                "id": tenant.id, "name": "farm", "slug": tenant.slug, "plan": "free", "isActive": true,
                "timeZone": "UTC", "currency": "EUR",
                "createdAt": "2026-11-21T08:00:00.000000Z", "updatedAt": "2026-11-21T08:00:00.000000Z",
            });
            assert_eq!(answer.json(), wanted);
            let again = app.get(CURRENT).token(token).header("if-none-match", "\"v1\"").send().await.expect(304);
            assert!(again.body.is_empty());
        }
        app.get(CURRENT).send().await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_changes_it_and_the_log_tells_from_what_to_what() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let untouched = everything(&app, &other).await;
        app.clock().shift(1_000_000);
        let patch = |body| app.request(Method::PATCH, CURRENT).token(&tenant.admin_token).json(&body).send();
        let changed = patch(json!({ "name": " Green Farm ", "timeZone": "Europe/Copenhagen", "currency": "DKK" }))
            .await
            .expect(200);
        assert_eq!(changed.header("etag"), "\"v2\"");
        let shown = changed.json();
        assert_eq!(
            (&shown["name"], &shown["timeZone"], &shown["currency"], &shown["slug"]),
            (&json!("Green Farm"), &json!("Europe/Copenhagen"), &json!("DKK"), &json!(tenant.slug))
        );
        assert_eq!(shown["updatedAt"], "2026-11-21T08:00:01.000000Z");
        let read = app.get(CURRENT).token(&tenant.viewer_token).send().await.expect(200);
        assert_eq!(read.json(), shown);
        // Said again, said in part, and nothing said: nothing to do.
        for same in [json!({ "name": "Green Farm", "currency": "DKK" }), json!({}), json!({ "name": null })] {
            let answer = patch(same).await.expect(200);
            assert_eq!((answer.json(), answer.header("etag")), (shown.clone(), "\"v2\""));
        }
        let told = events(&app, &tenant).await;
        assert_eq!(told.len(), 1, "{told:?}");
        let wanted = json!({ "changed": {
            "name": { "from": "farm", "to": "Green Farm" },
            "timeZone": { "from": "UTC", "to": "Europe/Copenhagen" },
            "currency": { "from": "EUR", "to": "DKK" },
        }});
        assert_eq!((&told[0]["type"], &told[0]["data"]), (&json!("tenants.tenant.updated"), &wanted));
        assert_eq!((&told[0]["subject"], &told[0]["subjectVersion"]), (&json!(tenant.id), &json!(2)));
        assert_eq!(told[0]["actor"], json!(tenant.admin));
        assert_eq!(everything(&app, &other).await, untouched);
        app.relay().await;
        let staff = app.get("/api/events?type=tenants.tenant.updated").token(&tenant.staff_token).send().await;
        assert_eq!(staff.expect(200).json()["items"], json!([]), "the audit trail is for administrators");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_and_staff_may_not_change_it() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let before = everything(&app, &tenant).await;
        for token in [&tenant.viewer_token, &tenant.staff_token] {
            let request = app.request(Method::PATCH, CURRENT).token(token).json(&json!({ "name": "Mine" }));
            assert_eq!(request.send().await.expect(403).code(), "request.forbidden");
        }
        assert_eq!(everything(&app, &tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_read_the_same_version_one_is_refused() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let (app, token) = (app.clone(), tenant.admin_token.clone());
                tokio::spawn(async move {
                    let request = app.request(Method::PATCH, CURRENT).token(&token).header("if-match", "\"v1\"");
                    request.json(&json!({ "name": format!("Name {number}") })).send().await
                })
            })
            .collect();
        let mut statuses = Vec::new();
        for racer in racers {
            let answer = racer.await.expect("an answer");
            if answer.status == 412 {
                assert_eq!(answer.code(), "request.version_mismatch");
            }
            statuses.push(answer.status.as_u16());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
        assert_eq!(events(&app, &tenant).await.len(), 1, "a refused change leaves no event");
        let stale = app.request(Method::PATCH, CURRENT).token(&tenant.admin_token).header("if-match", "\"v1\"");
        stale.json(&json!({})).send().await.expect(412);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_a_version_all_happen_one_after_the_other() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let (app, token) = (app.clone(), tenant.admin_token.clone());
                tokio::spawn(async move {
                    let request = app.request(Method::PATCH, CURRENT).token(&token);
                    request.json(&json!({ "name": format!("Name {number}") })).send().await.expect(200);
                })
            })
            .collect();
        for racer in racers {
            racer.await.expect("changed");
        }
        let told = events(&app, &tenant).await;
        let mut before = json!("farm");
        for (event, version) in told.iter().zip(2..) {
            assert_eq!(
                (&event["subjectVersion"], &event["data"]["changed"]["name"]["from"]),
                (&json!(version), &before)
            );
            before = event["data"]["changed"]["name"]["to"].clone();
        }
        assert_eq!(told.len(), 8);
        let shown = app.get(CURRENT).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!((&shown.json()["name"], shown.header("etag")), (&before, "\"v9\""));
    }
}
