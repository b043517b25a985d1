use std::sync::Arc;

use serde_json::{Value, json};
use testkit::TestApp;

use crate::{apps, events, join, me, pass, text};

async fn refresh(app: &TestApp, token: &str) -> testkit::TestResponse {
    app.post("/api/auth/refresh").json(&json!({ "refreshToken": token })).send().await
}

fn next(signed_in: &Value) -> String {
    text(&signed_in["refreshToken"]).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_and_the_session_ends_when_it_comes_again() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let first = join(&app, &tenant, "ada@example.org", "staff").await;
        let second = refresh(&app, &next(&first)).await.expect(200).json();
        assert_ne!(next(&second), next(&first));
        assert_eq!(second["sessionId"], first["sessionId"]);
        me(&app, text(&second["accessToken"])).await.expect(200);
        // A lost answer: the same token again, the same successor.
        let again = refresh(&app, &next(&first)).await.expect(200).json();
        assert_eq!(next(&again), next(&second));
        pass(&app, 31);
        let third = refresh(&app, &next(&second)).await.expect(200).json();
        let stolen = refresh(&app, &next(&first)).await.expect(401);
        assert_eq!(stolen.code(), "identity.invalid_refresh_token");
        // The thief's copy ends the session for everybody who holds a part of it.
        refresh(&app, &next(&third)).await.expect(401);
        me(&app, text(&third["accessToken"])).await.expect(401);
        let reused = events(&app, &tenant, "identity.session.reused").await;
        assert_eq!((reused.len(), &reused[0]["subject"]), (1, &first["sessionId"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_that_refresh_at_once_all_stay_signed_in() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let app = Arc::new(app);
        let first = join(&app, &tenant, "ada@example.org", "staff").await;
        let mut tabs = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (app, mut token) = (app.clone(), next(&first));
            tabs.spawn(async move {
                for _ in 0..20 {
                    let answer = refresh(&app, &token).await.expect(200).json();
                    token = next(&answer);
                }
                token
            });
        }
        let tokens: Vec<String> = tabs.join_all().await;
        for token in tokens {
            let answer = refresh(&app, &token).await.expect(200).json();
            me(&app, text(&answer["accessToken"])).await.expect(200);
        }
        assert!(events(&app, &tenant, "identity.session.reused").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_run_out_and_invented_tokens_end_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let first = join(&app, &tenant, "ada@example.org", "staff").await;
        let token = next(&first);
        for invented in ["", "ptr_", "x", &token[..token.len() - 1], &token.replace("_0_", "_7_"), &tenant.admin_token] {
            let status = refresh(&app, invented).await.status.as_u16();
            assert!(status == 401 || status == 400, "{invented}: {status}");
        }
        pass(&app, 601);
        me(&app, text(&first["accessToken"])).await.expect(401);
        // Used every 13 days it lives for 30, and no longer.
        let mut token = token;
        for _ in 0..2 {
            pass(&app, 13 * 86_400);
            let answer = refresh(&app, &token).await.expect(200).json();
            token = next(&answer);
        }
        pass(&app, 5 * 86_400);
        refresh(&app, &token).await.expect(401);
        // Unused it lives for 14.
        let other = join(&app, &tenant, "grace@example.org", "staff").await;
        pass(&app, 14 * 86_400);
        refresh(&app, &next(&other)).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_and_end_their_own_sessions_and_no_others() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let phone = join(&app, &tenant, "ada@example.org", "staff").await;
        let laptop = crate::log_in(&app, "ada@example.org", crate::PASSWORD).await.expect(200).json();
        let other = join(&app, &tenant, "grace@example.org", "admin").await;
        let access = text(&laptop["accessToken"]).to_owned();
        let listed = app.get("/api/auth/sessions").token(&access).send().await.expect(200).json();
        let current: Vec<bool> =
            listed["items"].as_array().expect("a list").iter().map(|one| one["current"] == true).collect();
        assert_eq!((current.len(), current.iter().filter(|is| **is).count()), (2, 1));
        let path = |session: &Value| format!("/api/auth/sessions/{}", text(&session["sessionId"]));
        let end = |session: &Value, token: &str| app.request(http::Method::DELETE, &path(session)).token(token).send();
        end(&other, &access).await.expect(404);
        end(&phone, &tenant.admin_token).await.expect(403);
        end(&phone, &access).await.expect(204);
        end(&phone, &access).await.expect(404);
        me(&app, text(&phone["accessToken"])).await.expect(401);
        let third = crate::log_in(&app, "ada@example.org", crate::PASSWORD).await.expect(200).json();
        app.request(http::Method::DELETE, "/api/auth/sessions").token(&access).send().await.expect(204);
        me(&app, text(&third["accessToken"])).await.expect(401);
        me(&app, &access).await.expect(200);
        me(&app, text(&other["accessToken"])).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_from_an_office_do_not_sign_its_people_out() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let mut token = next(&join(&app, &tenant, "ada@example.org", "staff").await);
        let mut statuses = std::collections::BTreeSet::new();
        for _ in 0..70 {
            statuses.insert(refresh(&app, "ptr_forged").await.status.as_u16());
        }
        assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [401, 429], "strangers are slowed down");
        for _ in 0..10 {
            let answer = refresh(&app, &token).await.expect(200).json();
            token = next(&answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_too_many_sessions_ends() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let first = join(&app, &tenant, "ada@example.org", "staff").await;
        pass(&app, 1);
        let second = crate::log_in(&app, "ada@example.org", crate::PASSWORD).await.expect(200).json();
        for _ in 0..49 {
            pass(&app, 1);
            crate::log_in(&app, "ada@example.org", crate::PASSWORD).await.expect(200);
        }
        me(&app, text(&first["accessToken"])).await.expect(401);
        me(&app, text(&second["accessToken"])).await.expect(200);
        let ended = events(&app, &tenant, "identity.session.revoked").await;
        assert_eq!((ended.len(), &ended[0]["subject"]), (1, &first["sessionId"]));
    }
}
