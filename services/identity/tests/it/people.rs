use http::Method;
use serde_json::{Value, json};
use service::Role;

use crate::{PASSWORD, apps, events, join, log_in, me, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_works_once_and_brings_a_known_person_into_a_second_organisation() {
    for app in apps().await {
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        join(&app, &farm, "ada@example.org", "staff").await;
        let invite = |token: &str, body: Value| app.post("/api/auth/invitations").token(token).json(&body).send();
        let to_mill = json!({ "email": "ada@example.org", "role": "admin" });
        invite(&mill.staff_token, to_mill.clone()).await.expect(403);
        invite(&mill.admin_token, json!({ "email": "ada@example.org", "role": "superadmin" })).await.expect(400);
        // A program with the permission cannot make administrators: its scopes would be worth nothing.
        let refused = invite(&mill.admin_token, to_mill.clone()).await.expect(403);
        assert_eq!(refused.code(), "identity.session_required");
        let boss = app.session(&mill).await;
        let made = invite(&boss, to_mill).await.expect(201).json();
        let accept = |password: &str| {
            let body = json!({ "code": made["code"], "password": password });
            app.post("/api/auth/invitations/accept").json(&body).send()
        };
        // The code alone does not open somebody's account.
        assert_eq!(accept("not her password").await.expect(401).code(), "identity.invalid_credentials");
        let there = accept(PASSWORD).await.expect(200).json();
        assert_eq!((&there["organization"]["slug"], &there["user"]["role"]), (&json!(mill.slug), &json!("admin")));
        assert_eq!(accept(PASSWORD).await.expect(401).code(), "identity.invalid_code");
        let into = |slug: &str| {
            let body = json!({ "email": "ada@example.org", "password": PASSWORD, "organization": slug });
            app.post("/api/auth/login").json(&body).send()
        };
        assert_eq!(into(&mill.slug).await.expect(200).json()["user"]["role"], "admin");
        assert_eq!(into(&farm.slug).await.expect(200).json()["user"]["role"], "staff");
        let plain = log_in(&app, "ada@example.org", PASSWORD).await.expect(200).json();
        assert_eq!(plain["organization"]["slug"], farm.slug.as_str(), "the first that she joined");
        let known = me(&app, text(&plain["accessToken"])).await.expect(200).json();
        assert_eq!(known["organizations"].as_array().expect("a list").len(), 2);
        // Withdrawn and foreign invitations.
        let other = invite(&mill.admin_token, json!({ "email": "x@example.org", "role": "viewer" })).await.expect(201);
        let path = other.header("location").to_owned();
        let withdraw = |token: &str| app.request(Method::DELETE, &path).token(token).send();
        withdraw(&farm.admin_token).await.expect(404);
        withdraw(&mill.admin_token).await.expect(204);
        let body = json!({ "code": other.json()["code"], "name": "X", "password": PASSWORD });
        app.post("/api/auth/invitations/accept").json(&body).send().await.expect(401);
        let listed = app.get("/api/auth/invitations").token(&mill.admin_token).send().await.expect(200);
        assert!(!listed.text().contains(text(&made["code"])), "shown once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_change_at_once_and_the_last_administrator_stays() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let ada = join(&app, &tenant, "ada@example.org", "admin").await;
        let access = text(&ada["accessToken"]).to_owned();
        let members = || async { app.get("/api/v1/identity/members").token(&access).send().await };
        members().await.expect(200);
        let assign = |user: Value, role: &str| {
            let body = json!({ "userId": user, "role": role });
            app.post("/api/users/roles").token(&tenant.admin_token).json(&body).send()
        };
        assign(ada["user"]["id"].clone(), "viewer").await.expect(200);
        members().await.expect(403);
        assert_eq!(assign(ada["user"]["id"].clone(), "admin").await.expect(403).code(), "identity.session_required");
        assert_eq!(me(&app, &access).await.expect(200).json()["user"]["role"], "viewer");
        let before = app.digest(&tenant).await;
        let last = assign(json!(tenant.admin), "staff").await.expect(409);
        assert_eq!(last.code(), "identity.last_administrator");
        let other = app.tenant("other").await;
        assign(json!(other.admin), "viewer").await.expect(404);
        assign(json!("usr_nobody"), "viewer").await.expect(400);
        assert_eq!(app.digest(&tenant).await, before, "what was refused changed nothing");
        let remove = |user: &str| {
            let path = format!("/api/v1/identity/members/{user}");
            app.request(Method::DELETE, &path).token(&tenant.admin_token).send()
        };
        assert_eq!(remove(&tenant.admin.to_string()).await.expect(409).code(), "identity.last_administrator");
        let made = app.post("/api/auth/tokens").token(&access).json(&json!({ "name": "scale" })).send().await;
        let api = text(&made.expect(201).json()["token"]).to_owned();
        remove(text(&ada["user"]["id"])).await.expect(204);
        me(&app, &access).await.expect(401);
        log_in(&app, "ada@example.org", PASSWORD).await.expect(401);
        me(&app, &api).await.expect(401);
        let gone = events(&app, &tenant, "identity.user.deactivated").await;
        assert_eq!(gone[0]["subject"], ada["user"]["id"]);
        // Invited again she is back, with her old account and a new role.
        let back = join(&app, &tenant, "ada@example.org", "staff").await;
        assert_eq!((&back["user"]["id"], &back["user"]["role"]), (&ada["user"]["id"], &json!("staff")));
        // What she held before she left does not come back with her.
        me(&app, &access).await.expect(401);
        me(&app, &api).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_administrators_who_demote_each_other_leave_one() {
    for app in apps().await {
        for _ in 0..10 {
            let tenant = app.tenant("farm").await;
            let second = app.member(tenant.id, Role::Admin).await;
            let token = app.issue(second).await;
            let demote = |token: &str, user: kernel::UserId| {
                let path = format!("/api/v1/identity/members/{user}");
                app.request(Method::PATCH, &path).token(token).json(&json!({ "role": "viewer" })).send()
            };
            let (one, two) = tokio::join!(demote(&tenant.admin_token, second.user), demote(&token, tenant.admin));
            let statuses = [one.status.as_u16(), two.status.as_u16()];
            assert!(statuses.iter().filter(|status| **status == 200).count() == 1, "{statuses:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_enters_with_a_reason_that_the_organisation_reads() {
    for app in apps().await {
        let first = identity::first_start(app.store()).await.expect("starts").expect("is the first");
        let tenant = app.tenant("farm").await;
        let code = json!({ "code": first.sign_in.code });
        let boss = app.post("/api/auth/login").json(&code).send().await.expect(200).json();
        let access = text(&boss["accessToken"]).to_owned();
        let enter = |access: &str, body: Value| app.post("/api/auth/elevate").token(access).json(&body).send();
        let wanted = json!({ "organization": tenant.slug, "reason": "ticket 17", "password": PASSWORD });
        assert_eq!(enter(&access, wanted.clone()).await.expect(409).code(), "identity.password_required");
        let body = json!({ "newPassword": PASSWORD });
        app.post("/api/auth/password/change").token(&access).json(&body).send().await.expect(204);
        let wrong = json!({ "organization": tenant.slug, "reason": "ticket 17", "password": "wrong" });
        enter(&access, wrong).await.expect(401);
        let no_reason = json!({ "organization": tenant.slug, "reason": " ", "password": PASSWORD });
        enter(&access, no_reason).await.expect(400);
        let ada = join(&app, &tenant, "ada@example.org", "admin").await;
        enter(text(&ada["accessToken"]), wanted.clone()).await.expect(403);
        let inside = enter(&access, wanted).await.expect(200).json();
        assert_eq!(inside["user"]["role"], "superadmin");
        let mut refresh = inside["refreshToken"].clone();
        let inside = text(&inside["accessToken"]).to_owned();
        let add = |reason: Option<&str>| {
            let request = app.post("/things").token(&inside);
            match reason {
                Some(reason) => request.header("x-audit-reason", reason).send(),
                None => request.send(),
            }
        };
        assert_eq!(add(None).await.expect(400).code(), "request.reason_required");
        add(Some("ticket 17: missing thing")).await.expect(204);
        let entered = events(&app, &tenant, "identity.superadmin.entered").await;
        assert_eq!((entered.len(), &entered[0]["data"]["reason"]), (1, &json!("ticket 17")));
        let created = events(&app, &tenant, "things.thing.added").await;
        assert!(text(&created[0]["actor"]).starts_with("superadmin:usr_"), "{created:?}");
        assert_eq!(created[0]["reason"], "ticket 17: missing thing");
        // No token is left behind; it can be refreshed for half an hour, and then the door is shut.
        let token = json!({ "name": "x" });
        let request = app.post("/api/auth/tokens").token(&inside).header("x-audit-reason", "ticket 17");
        assert_eq!(request.json(&token).send().await.expect(403).code(), "identity.not_elevated");
        let mut next = async |status| {
            let body = json!({ "refreshToken": refresh });
            let answer = app.post("/api/auth/refresh").json(&body).send().await.expect(status).json();
            refresh = answer["refreshToken"].clone();
            answer
        };
        for _ in 0..2 {
            crate::pass(&app, 599);
            let fresh = next(200).await;
            assert_eq!(fresh["user"]["role"], "superadmin");
            me(&app, text(&fresh["accessToken"])).await.expect(200);
        }
        me(&app, &inside).await.expect(401);
        crate::pass(&app, 603);
        next(401).await;
        // Whoever is no superadmin any more is out at once.
        let boss = app.session_of("main").await;
        let known = me(&app, &boss).await.expect(200).json();
        let wanted = json!({ "organization": tenant.slug, "reason": "ticket 18", "password": PASSWORD });
        let again = enter(&boss, wanted).await.expect(200).json();
        me(&app, text(&again["accessToken"])).await.expect(200);
        identity::set_superadmin(app.store(), text(&known["user"]["id"]).parse().expect("an id"), false).await.expect("changes");
        me(&app, text(&again["accessToken"])).await.expect(401);
        me(&app, &boss).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_removed_leaves_no_invitation_behind() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let ada = join(&app, &tenant, "ada@example.org", "admin").await;
        let invite = json!({ "email": "ada.at.home@example.org", "role": "admin" });
        let request = app.post("/api/auth/invitations").token(text(&ada["accessToken"]));
        let code = request.json(&invite).send().await.expect(201).json()["code"].clone();
        let path = format!("/api/v1/identity/members/{}", text(&ada["user"]["id"]));
        app.request(Method::DELETE, &path).token(&tenant.admin_token).send().await.expect(204);
        let accept = json!({ "code": code, "name": "Ada", "password": PASSWORD });
        let refused = app.post("/api/auth/invitations/accept").json(&accept).send().await.expect(401);
        assert_eq!(refused.code(), "identity.invalid_code");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_at_home_in_a_suspended_organisation_can_activate_it_and_nothing_else() {
    for app in apps().await {
        let first = identity::first_start(app.store()).await.expect("starts").expect("is the first");
        let boss = app.session_of("main").await;
        let body = json!({ "newPassword": PASSWORD });
        app.post("/api/auth/password/change").token(&boss).json(&body).send().await.expect(204);
        let system = app.store().system(store::Purpose::Tenancy).await.expect("opens");
        let suspended = store::TenantChange { state: Some("suspended"), ..store::TenantChange::default() };
        system.change_tenant(first.tenant.id, None, suspended).await.expect("changes");
        system.commit().await.expect("kept");
        app.token_cache().revoke(&web::Revocation::Everything);
        app.get("/things").token(&boss).send().await.expect(403);
        // Signed out, the way back in is open too.
        let again = app.session_of("main").await;
        app.get("/things").token(&again).send().await.expect(403);
        let wanted = json!({ "organization": "main", "reason": "ticket 9", "password": PASSWORD });
        let inside = app.post("/api/auth/elevate").token(&again).json(&wanted).send().await.expect(200).json();
        app.get("/things").token(text(&inside["accessToken"])).send().await.expect(200);
    }
}
