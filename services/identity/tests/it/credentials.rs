use http::Method;
use serde_json::{Value, json};
use testkit::{TestApp, TestResponse};

use crate::{PASSWORD, apps, events, join, log_in, me, pass, text};

const ANOTHER: &str = "nine badgers paint bridges";

async fn create(app: &TestApp, access: &str, body: Value) -> TestResponse {
    app.post("/api/auth/tokens").token(access).json(&body).send().await
}

async fn set_role(app: &TestApp, admin: &str, user: &Value, role: &str) -> TestResponse {
    let path = format!("/api/v1/identity/members/{}", text(user));
    app.request(Method::PATCH, &path).token(admin).json(&json!({ "role": role })).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_token_can_do_what_its_scopes_name_and_its_owner_may_now() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let ada = join(&app, &tenant, "ada@example.org", "staff").await;
        let access = text(&ada["accessToken"]);
        let scopes = ["things.read", "things.write"];
        let made = create(&app, access, json!({ "name": "scale", "scopes": scopes })).await.expect(201);
        assert_eq!(made.header("cache-control"), "no-store");
        let token = text(&made.json()["token"]).to_owned();
        let known = me(&app, &token).await.expect(200).json();
        assert_eq!(known["permissions"], json!(scopes));
        let add = |token: &str| app.post("/things").token(token).send();
        add(&token).await.expect(204);
        // The owner's role shrinks, and the token with it, at once; grown again, it is back.
        set_role(&app, &tenant.admin_token, &ada["user"]["id"], "viewer").await.expect(200);
        add(&token).await.expect(403);
        assert_eq!(me(&app, &token).await.expect(200).json()["permissions"], json!(["things.read"]));
        set_role(&app, &tenant.admin_token, &ada["user"]["id"], "staff").await.expect(200);
        add(&token).await.expect(204);
        // A token cannot make tokens, nor can anybody give what they do not have.
        create(&app, &token, json!({ "name": "more" })).await.expect(403);
        let refused = create(&app, access, json!({ "name": "x", "scopes": ["things.export"] })).await.expect(400);
        assert_eq!(refused.json()["errors"][0]["field"], "scopes");
        create(&app, access, json!({ "name": "x", "expiresInDays": 366 })).await.expect(400);
        create(&app, access, json!({ "name": "x", "expiresInDays": 0 })).await.expect(400);
        create(&app, access, json!({ "name": "" })).await.expect(400);
        let listed = app.get("/api/auth/tokens").token(access).send().await.expect(200);
        assert!(!listed.text().contains(&token), "shown once");
        let id = listed.json()["items"][0]["id"].clone();
        let path = format!("/api/auth/tokens/{}", text(&id));
        let revoke = |access: &str| app.request(Method::DELETE, &path).token(access).send();
        let grace = join(&app, &tenant, "grace@example.org", "admin").await;
        revoke(text(&grace["accessToken"])).await.expect(404);
        revoke(text(&ada["accessToken"])).await.expect(204);
        me(&app, &token).await.expect(401);
        assert_eq!(events(&app, &tenant, "identity.token.revoked").await[0]["subject"], id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn api_tokens_run_out_and_a_repeated_request_does_not_show_one_again() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let ada = join(&app, &tenant, "ada@example.org", "staff").await;
        let create = || {
            let body = json!({ "name": "scale", "expiresInDays": 1 });
            let request = app.post("/api/auth/tokens").token(text(&ada["accessToken"]));
            request.header("idempotency-key", "once").json(&body).send()
        };
        let made = create().await.expect(201).json();
        let again = create().await.expect(201).json();
        assert_eq!((&again["id"], &again["token"]), (&made["id"], &Value::Null));
        assert_eq!((&again["name"], &again["expiresAt"]), (&made["name"], &made["expiresAt"]), "as documented");
        me(&app, text(&made["token"])).await.expect(200);
        pass(&app, 86_401);
        me(&app, text(&made["token"])).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_the_other_sessions_and_a_forgotten_one_is_replaced() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let phone = join(&app, &tenant, "ada@example.org", "staff").await;
        let laptop = log_in(&app, "ada@example.org", PASSWORD).await.expect(200).json();
        let access = text(&laptop["accessToken"]).to_owned();
        let change = |body: Value| app.post("/api/auth/password/change").token(&access).json(&body).send();
        let wrong = change(json!({ "currentPassword": "wrong", "newPassword": ANOTHER })).await.expect(400);
        assert_eq!(wrong.code(), "identity.wrong_password");
        change(json!({ "newPassword": ANOTHER })).await.expect(400);
        let weak = change(json!({ "currentPassword": PASSWORD, "newPassword": "ada@example.org" })).await.expect(400);
        assert_eq!(weak.code(), "identity.weak_password");
        change(json!({ "currentPassword": PASSWORD, "newPassword": ANOTHER })).await.expect(204);
        me(&app, &access).await.expect(200);
        me(&app, text(&phone["accessToken"])).await.expect(401);
        log_in(&app, "ada@example.org", PASSWORD).await.expect(401);
        log_in(&app, "ada@example.org", ANOTHER).await.expect(200);

        let forgot = |email: &str| app.post("/api/auth/password/forgot").json(&json!({ "email": email })).send();
        let (known, unknown) = (forgot("ada@example.org").await, forgot("nobody@example.org").await);
        assert_eq!((known.expect(202).text(), unknown.expect(202).text()), (String::new(), String::new()));
        // The first letter was the invitation.
        let code = app.code_in_letter("ada@example.org", 2).await;
        assert!(app.letters_to("nobody@example.org").is_empty());
        let reset = |code: &str, password: &str| {
            let body = json!({ "code": code, "newPassword": password });
            app.post("/api/auth/password/reset").json(&body).send()
        };
        // A weak password does not use the code up, and an invented code is worth nothing.
        reset(&code, "password1234").await.expect(400);
        reset("00000-00000", PASSWORD).await.expect(401);
        reset(&code, PASSWORD).await.expect(204);
        reset(&code, ANOTHER).await.expect(401);
        me(&app, &access).await.expect(401);
        log_in(&app, "ada@example.org", PASSWORD).await.expect(200);
        forgot("ada@example.org").await.expect(202);
        let late = app.code_in_letter("ada@example.org", 3).await;
        pass(&app, 3_601);
        reset(&late, ANOTHER).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_administrator_gets_in_by_code_once_and_sets_an_address_and_a_password() {
    for app in apps().await {
        let first = identity::first_start(app.store()).await.expect("starts").expect("is the first");
        let code = json!({ "code": first.sign_in.code });
        let signed_in = app.post("/api/auth/login").json(&code).send().await.expect(200).json();
        assert_eq!(app.post("/api/auth/login").json(&code).send().await.expect(401).code(), "identity.invalid_code");
        let access = text(&signed_in["accessToken"]).to_owned();
        let address = |email: &str| {
            app.request(Method::PATCH, "/api/auth/me").token(&access).json(&json!({ "email": email })).send()
        };
        address("boss@example.org").await.expect(200);
        assert_eq!(address("other@example.org").await.expect(409).code(), "identity.email_fixed");
        let body = json!({ "newPassword": PASSWORD });
        app.post("/api/auth/password/change").token(&access).json(&body).send().await.expect(204);
        log_in(&app, "boss@example.org", PASSWORD).await.expect(200);
        // A code that nobody used in its hour is worth nothing.
        let made = identity::create_sign_in_code(app.store(), "main").await.expect("a code");
        pass(&app, 3_601);
        app.post("/api/auth/login").json(&json!({ "code": made.code })).send().await.expect(401);
        assert!(identity::first_start(app.store()).await.expect("starts").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_with_the_old_password_while_it_is_changed() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let ada = join(&app, &tenant, "ada@example.org", "staff").await;
        let app = std::sync::Arc::new(app);
        let mut old = PASSWORD;
        for new in [ANOTHER, PASSWORD, ANOTHER] {
            let mut thieves = tokio::task::JoinSet::new();
            for thief in 0..6u8 {
                let app = app.clone();
                let body = json!({ "email": "ada@example.org", "password": old });
                let address = std::net::IpAddr::from([198, 51, 100, thief]);
                thieves.spawn(async move {
                    let answer = app.post("/api/auth/login").from(address).json(&body).send().await;
                    (answer.status == 200).then(|| text(&answer.json()["accessToken"]).to_owned())
                });
            }
            let body = json!({ "currentPassword": old, "newPassword": new });
            let change = app.post("/api/auth/password/change").token(text(&ada["accessToken"])).json(&body).send();
            change.await.expect(204);
            for inside in thieves.join_all().await.into_iter().flatten() {
                me(&app, &inside).await.expect(401);
            }
            old = new;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_who_keeps_changing_the_password_does_not_undo_its_reset() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let thief = join(&app, &tenant, "ada@example.org", "staff").await;
        app.post("/api/auth/password/forgot").json(&json!({ "email": "ada@example.org" })).send().await.expect(202);
        // The first letter was the invitation.
        let body = json!({ "code": app.code_in_letter("ada@example.org", 2).await, "newPassword": ANOTHER });
        let app = std::sync::Arc::new(app);
        let mut thieves = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (app, access) = (app.clone(), text(&thief["accessToken"]).to_owned());
            thieves.spawn(async move {
                let body = json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD });
                while app.post("/api/auth/password/change").token(&access).json(&body).send().await.status != 401 {}
            });
        }
        // A change that committed in the same moment spends the code: then another letter is needed.
        let mut reset = app.post("/api/auth/password/reset").json(&body).send().await;
        while reset.status != 204 {
            assert!([401, 409, 503].contains(&reset.status.as_u16()), "{}", reset.text());
            let before = app.letters_to("ada@example.org").len();
            app.post("/api/auth/password/forgot").json(&json!({ "email": "ada@example.org" })).send().await.expect(202);
            let code = app.code_in_letter("ada@example.org", before + 1).await;
            let body = json!({ "code": code, "newPassword": ANOTHER });
            reset = app.post("/api/auth/password/reset").json(&body).send().await;
        }
        thieves.join_all().await;
        assert_ne!(log_in(&app, "ada@example.org", PASSWORD).await.status, 200);
        pass(&app, 3_601);
        log_in(&app, "ada@example.org", ANOTHER).await.expect(200);
    }
}
