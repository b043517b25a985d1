use std::sync::Arc;

use serde_json::json;

use crate::{BELL, DOOR, apps, listed, open, shown, turn, turn_for_all, withdraw};

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_holds_for_the_next_request_and_for_nobody_else() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        open(&app, &tenant.staff_token).await.expect(200);
        for _ in 0..5 {
            turn(&app, &tenant, DOOR.key, "disable").await.expect(200);
            open(&app, &tenant.staff_token).await.expect(503);
            open(&app, &other.staff_token).await.expect(200);
            turn(&app, &tenant, DOOR.key, "enable").await.expect(200);
            open(&app, &tenant.staff_token).await.expect(200);
        }
        // Another key switches nothing of it.
        turn(&app, &tenant, "barn.doors", "disable").await.expect(200);
        turn(&app, &tenant, BELL.key, "disable").await.expect(200);
        open(&app, &tenant.staff_token).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_says_so_and_when_to_come_back() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        turn(&app, &tenant, DOOR.key, "disable").await.expect(200);
        let refused = open(&app, &tenant.staff_token).await.expect(503);
        assert_eq!((refused.header("retry-after"), refused.header("content-type")), ("30", "application/json"));
        let body = refused.json();
        assert_eq!((&body["success"], &body["data"]), (&json!(false), &json!(null)));
        assert_eq!(body["error"]["code"], json!("flags.feature_disabled"));
        assert_eq!(body["error"]["status"], json!(503));
        assert!(body["requestId"].is_string() && body["meta"]["durationMs"].is_number());
        let plain = app.post("/api/barn/door").token(&tenant.staff_token).header("accept", "application/problem+json");
        let plain = plain.send().await.expect(503);
        assert_eq!(plain.header("content-type"), "application/problem+json");
        assert_eq!((&plain.json()["code"], plain.header("retry-after")), (&json!("flags.feature_disabled"), "30"));
        // The document tells which operation stands behind which switch, and that it may answer so.
        let written = &app.document()["paths"]["/api/barn/door"]["post"];
        assert_eq!(written["x-feature"], json!(DOOR.key));
        assert!(written["responses"]["503"].is_object());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_turned_away_first_and_somebody_without_the_permission_last() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        turn(&app, &tenant, DOOR.key, "disable").await.expect(200);
        app.post("/api/barn/door").send().await.expect(401);
        open(&app, "nonsense").await.expect(401);
        open(&app, &tenant.viewer_token).await.expect(503);
        open(&app, &other.viewer_token).await.expect(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_operation_asks_for_the_tenant_that_it_finds_out() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        turn(&app, &tenant, BELL.key, "disable").await.expect(200);
        let ring = |of: kernel::TenantId| app.post(&format!("/api/barn/bell?tenant={of}"));
        let refused = ring(tenant.id).send().await.expect(503);
        assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("flags.feature_disabled", "30"));
        // Not for whoever happens to be signed in.
        ring(other.id).token(&tenant.staff_token).send().await.expect(200);
        ring(tenant.id).token(&other.staff_token).send().await.expect(503);
    }
}

/// Nothing can be read from a store that is closed, so what is answered was known.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_asks_the_database_about_switches_and_the_last_known_values_hold_without_it() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let superadmin = app.superadmin(&other);
        let (theirs, others) = (app.mint(app.principal(&tenant)), app.mint(app.principal(&other)));
        turn(&app, &tenant, DOOR.key, "disable").await.expect(200);
        turn_for_all(&app, &superadmin, BELL.key, "disable").await.expect(200);
        app.store().close().await;
        for _ in 0..3 {
            assert_eq!(open(&app, &theirs).await.expect(503).code(), "flags.feature_disabled");
            // Whoever is let through finds the store closed.
            assert_ne!(open(&app, &others).await.expect(503).code(), "flags.feature_disabled");
            let bell = app.post(&format!("/api/barn/bell?tenant={}", other.id)).send().await.expect(503);
            assert_eq!(bell.code(), "flags.feature_disabled");
        }
        // A flip that was not kept holds for nobody.
        turn(&app, &other, DOOR.key, "disable").await.expect(503);
        assert_ne!(open(&app, &others).await.expect(503).code(), "flags.feature_disabled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_flip_at_once_leave_what_the_database_says() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = Arc::new(app.tenant("farm").await);
        let superadmin: Arc<str> = app.superadmin(&tenant).into();
        for round in 0..8 {
            let racers: Vec<_> = (0..12)
                .map(|number| {
                    let (app, tenant, superadmin) = (app.clone(), tenant.clone(), superadmin.clone());
                    tokio::spawn(async move {
                        let verb = if number % 2 == 0 { "enable" } else { "disable" };
                        match round % 2 {
                            0 => turn(&app, &tenant, DOOR.key, verb).await.expect(200),
                            _ if number % 3 == 0 => withdraw(&app, &superadmin, DOOR.key).await,
                            _ => turn_for_all(&app, &superadmin, DOOR.key, verb).await.expect(200),
                        }
                    })
                })
                .collect();
            for racer in racers {
                racer.await.expect("an answer");
            }
            // Before anything is read that could set it right.
            let is_open = open(&app, &tenant.staff_token).await.status == 200;
            let all = crate::list(&app, crate::PLATFORM, &superadmin).await;
            let all = all.iter().find(|flag| flag["key"] == DOOR.key).expect("declared")["enabled"].clone();
            let own = listed(&app, &tenant).await.iter().any(|(key, on)| key == DOOR.key && *on);
            assert_eq!(is_open, all.as_bool().unwrap_or(own), "round {round}");
            assert_eq!(shown(&app, &tenant, DOOR.key).await["effective"], json!(is_open));
            if round % 2 == 1 {
                withdraw(&app, &superadmin, DOOR.key).await.expect(200);
            }
        }
    }
}
