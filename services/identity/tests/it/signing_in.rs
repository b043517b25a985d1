use identity::{Registration, Settings};
use serde_json::json;

use crate::{PASSWORD, app_with, apps, events, join, log_in, me, pass, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_out_and_every_step_is_in_the_audit_trail() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        join(&app, &tenant, "ada@example.org", "staff").await;
        let signed_in = log_in(&app, "  Ada@Example.ORG ", PASSWORD).await.expect(200);
        assert_eq!(signed_in.header("cache-control"), "no-store");
        let signed_in = signed_in.json();
        let access = text(&signed_in["accessToken"]).to_owned();
        let known = me(&app, &access).await.expect(200).json();
        assert_eq!((&known["user"]["role"], &known["organization"]["slug"]), (&json!("staff"), &json!(tenant.slug)));
        assert_eq!(known["credential"], signed_in["sessionId"]);
        assert_eq!(known["organizations"].as_array().expect("a list").len(), 1);
        let wrong = log_in(&app, "ada@example.org", "seven otters juggle lamp").await.expect(401);
        assert_eq!(wrong.code(), "identity.invalid_credentials");
        app.post("/api/auth/logout").token(&access).send().await.expect(204);
        me(&app, &access).await.expect(401);
        let refresh = json!({ "refreshToken": signed_in["refreshToken"] });
        app.post("/api/auth/refresh").json(&refresh).send().await.expect(401);
        assert_eq!(events(&app, &tenant, "identity.sign_in.succeeded").await.len(), 2);
        let refused = events(&app, &tenant, "identity.sign_in.failed").await;
        assert_eq!((refused.len(), &refused[0]["actor"]), (1, &json!("anonymous")));
        assert_eq!(refused[0]["subject"], known["user"]["id"]);
        let revoked = events(&app, &tenant, "identity.session.revoked").await;
        assert_eq!(revoked[0]["subject"], signed_in["sessionId"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_unknown_gets_the_answer_of_whoever_mistyped_after_the_same_work() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        join(&app, &tenant, "ada@example.org", "admin").await;
        let mut answers = Vec::new();
        let bodies = [
            json!({ "email": "ada@example.org", "password": "wrong" }),
            json!({ "email": "nobody@example.org", "password": "wrong" }),
            json!({ "email": "nobody@example.org", "password": "wrong", "organization": tenant.slug }),
            json!({ "email": "ada@example.org", "password": PASSWORD, "organization": "another" }),
        ];
        // The first unknown person pays for the dummy hash once in the life of the process.
        log_in(&app, "first@example.org", "wrong").await.expect(401);
        for body in bodies {
            let (hashes, written) = (app.identity().password_counts().0, app.store().statistics().committed());
            let mut answer = app.post("/api/auth/login").json(&body).send().await.expect(401).json();
            for its_own in ["requestId", "correlationId"] {
                answer.as_object_mut().expect("an object").remove(its_own);
            }
            let work = (app.identity().password_counts().0 - hashes, app.store().statistics().committed() - written);
            answers.push((answer, work));
        }
        for answer in &answers {
            assert_eq!(answer, &answers[0]);
        }
        assert_eq!(answers[0].1, (1, 1), "one hash, one transaction");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_the_owner_gets_in_from_where_they_were_before() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        join(&app, &tenant, "ada@example.org", "admin").await;
        let guess = |address: &str, password: &str| {
            let body = json!({ "email": "ada@example.org", "password": password });
            app.post("/api/auth/login").from(address.parse::<std::net::IpAddr>().expect("an address")).json(&body).send()
        };
        for _ in 0..6 {
            guess("198.51.100.1", "wrong").await.expect(401);
        }
        let waits = guess("198.51.100.1", PASSWORD).await.expect(429);
        assert_eq!((waits.code().as_str(), waits.header("retry-after")), ("identity.too_many_attempts", "1"));
        for stranger in 2..17 {
            guess(&format!("198.51.100.{stranger}"), "wrong").await.expect(401);
        }
        // Strangers together have used up what strangers may; a stranger with the password waits too.
        guess("203.0.113.1", PASSWORD).await.expect(429);
        // The invitation was accepted from the tests' own address: that one is known.
        log_in(&app, "ada@example.org", PASSWORD).await.expect(200);
        pass(&app, 3601);
        guess("203.0.113.1", PASSWORD).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_tells_nobody_who_is_known_and_works_after_the_letter() {
    for app in apps().await {
        let register = |email: &str| {
            let body = json!({
                "email": email, "password": PASSWORD, "name": "Grace", "organizationName": "Green Farm",
            });
            app.post("/api/auth/register").json(&body).send()
        };
        let first = register("grace@example.org").await.expect(202);
        let code = app.code_in_letter("grace@example.org", 1).await;
        log_in(&app, "grace@example.org", PASSWORD).await.expect(401);
        let confirm = |code: &str| {
            app.post("/api/auth/register/confirm").json(&json!({ "code": code, "password": PASSWORD })).send()
        };
        assert_eq!(confirm("00000-00000-00000-00000-00000-00000").await.expect(401).code(), "identity.invalid_code");
        // Whoever reads the letter and did not write the form gets no account with a stranger's password.
        let other = json!({ "code": code, "password": "not what was registered" });
        let refused = app.post("/api/auth/register/confirm").json(&other).send().await.expect(401);
        assert_eq!(refused.code(), "identity.invalid_credentials");
        let signed_in = confirm(&code).await.expect(201).json();
        assert_eq!(signed_in["organization"]["slug"], "green-farm");
        assert_eq!(signed_in["user"]["role"], "admin");
        me(&app, text(&signed_in["accessToken"])).await.expect(200);
        confirm(&code).await.expect(401);
        // Again: the same answer, another letter, and no second account.
        let again = register("grace@example.org").await.expect(202);
        assert_eq!((again.text(), again.headers.len()), (first.text(), first.headers.len()));
        assert!(app.letter_to("grace@example.org", 2).await.subject.contains("already"));
        // Another Green Farm gets a short name of its own.
        register("ada@example.org").await.expect(202);
        let other = confirm(&app.code_in_letter("ada@example.org", 1).await).await.expect(201).json();
        assert!(text(&other["organization"]["slug"]).starts_with("green-farm-"), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_can_be_open_or_closed_and_weak_passwords_are_refused_in_both() {
    let app = app_with(Settings { registration: Registration::Open, ..Settings::default() }).await;
    let register = |email: &str, password: &str, slug: &str| {
        let body = json!({
            "email": email, "password": password, "name": "Grace", "organizationName": "Farm", "organizationSlug": slug,
        });
        app.post("/api/auth/register").json(&body).send()
    };
    let weak = register("grace@example.org", "grace@example.org", "farm").await.expect(400);
    assert_eq!(weak.code(), "identity.weak_password");
    assert_eq!(weak.json()["errors"][0]["field"], "password");
    register("grace@example.org", PASSWORD, "api").await.expect(400);
    let signed_in = register("grace@example.org", PASSWORD, "farm").await.expect(201).json();
    me(&app, text(&signed_in["accessToken"])).await.expect(200);
    assert_eq!(register("grace@example.org", PASSWORD, "farm-2").await.expect(409).code(), "identity.email_taken");
    assert_eq!(register("ada@example.org", PASSWORD, "farm").await.expect(409).code(), "tenants.slug_taken");
    // What was refused left nothing behind: the address is free.
    register("ada@example.org", PASSWORD, "farm-2").await.expect(201);
    let closed = app_with(Settings { registration: Registration::Closed, ..Settings::default() }).await;
    let body = json!({ "email": "a@b.c", "password": PASSWORD, "name": "A", "organizationName": "B" });
    let refused = closed.post("/api/auth/register").json(&body).send().await.expect(403);
    assert_eq!(refused.code(), "identity.registration_closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_sign_in_is_checked() {
    let app = app_with(Settings::default()).await;
    for body in [
        json!({}),
        json!({ "email": "a@b" }),
        json!({ "email": "a", "password": "b" }),
        json!({ "email": "a@b", "password": "" }),
        json!({ "email": "a@b", "password": "x".repeat(513) }),
        json!({ "email": "a@b", "password": "b", "code": "c" }),
        json!({ "email": "a@b", "password": { "$ne": null } }),
        json!({ "email": ["a@b"], "password": "b" }),
        json!({ "email": "a@b", "password": "b", "role": "admin" }),
        json!({ "code": "" }),
        json!([]),
    ] {
        let refused = app.post("/api/auth/login").json(&body).send().await.expect(400);
        assert_eq!(refused.code(), "request.invalid_body", "{body}");
    }
    assert_eq!(app.identity().password_counts().0, 0, "nothing of it was worth a hash");
}
