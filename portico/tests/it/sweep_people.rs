//! How the sweep tries what the identity and tenants services do. Not a test by itself: see `sweep`.

use serde_json::{Value, json};
use testkit::{Attempt, Sweep, TestApp, TestTenant};

const PASSWORD: &str = "seven otters juggle lamps";

/// Returns an address that nobody has yet.
fn address() -> String {
    format!("{}@example.org", kernel::UserId::new())
}

/// Invites somebody into the owner's organisation; gives the code and where the invitation is.
async fn invitation(app: &TestApp, owner: &TestTenant) -> (String, String) {
    let body = json!({ "email": address(), "role": "viewer" });
    let made = app.post("/api/auth/invitations").token(&owner.admin_token).json(&body).send().await.expect(201);
    (text(&made.json()["code"]), made.header("location").to_owned())
}

/// Signs somebody new in to the owner's organisation.
async fn member(app: &TestApp, owner: &TestTenant) -> Value {
    let accept = json!({ "code": invitation(app, owner).await.0, "name": "Ada", "password": PASSWORD });
    app.post("/api/auth/invitations/accept").json(&accept).send().await.expect(200).json()
}

/// Gives the owner's administrator a password and the platform role.
async fn superadmin(app: &TestApp, owner: &TestTenant) {
    // The second time there is a password already, which is as good.
    let (token, body) = (app.session(owner).await, json!({ "newPassword": PASSWORD }));
    app.post("/api/auth/password/change").token(&token).json(&body).send().await;
    identity::set_superadmin(app.store(), owner.admin, true).await.expect("a superadmin");
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

pub fn add(sweep: Sweep) -> Sweep {
    organizations(credentials(public(sweep)))
        .operation("identity_get_me", |_, owner| {
            Box::pin(async move { Attempt::at("/api/auth/me").shows(&owner.slug).own() })
        })
        .operation("identity_get_profile", |_, owner| {
            Box::pin(async move { Attempt::at("/api/users/profile").shows(&owner.slug).own() })
        })
        .operation("identity_change_me", |_, owner| {
            Box::pin(async move {
                let body = json!({ "name": "of whoever changes it" });
                Attempt::at("/api/auth/me").body(body).shows(&owner.slug).own()
            })
        })
        .operation("identity_elevate", |app, owner| {
            Box::pin(async move {
                superadmin(app, owner).await;
                let body = json!({ "organization": owner.slug, "reason": "the sweep", "password": PASSWORD });
                Attempt::at("/api/auth/elevate").body(body).shows(&owner.slug).forbidden()
            })
        })
        .operation("identity_create_invitation", |_, _| {
            Box::pin(async move {
                let body = json!({ "email": address(), "role": "viewer" });
                Attempt::at("/api/auth/invitations").body(body).status(201).own()
            })
        })
        .operation("identity_list_invitations", |app, owner| {
            Box::pin(async move {
                let (_, path) = invitation(app, owner).await;
                let id = path.rsplit('/').next().unwrap_or_default().to_owned();
                Attempt::at("/api/auth/invitations").shows(id).own()
            })
        })
        .operation("identity_withdraw_invitation", |app, owner| {
            Box::pin(async move { Attempt::at(invitation(app, owner).await.1).status(204) })
        })
        .operation("identity_list_members", |_, owner| {
            Box::pin(async move { Attempt::at("/api/v1/identity/members").shows(owner.admin.to_string()).own() })
        })
        .operation("identity_change_member", |app, owner| {
            Box::pin(async move {
                let user = text(&member(app, owner).await["user"]["id"]);
                Attempt::at(format!("/api/v1/identity/members/{user}")).body(json!({ "role": "staff" })).shows(user)
            })
        })
        .operation("identity_assign_role", |app, owner| {
            Box::pin(async move {
                let user = text(&member(app, owner).await["user"]["id"]);
                Attempt::at("/api/users/roles").body(json!({ "userId": user, "role": "staff" })).shows(user)
            })
        })
        .operation("identity_remove_member", |app, owner| {
            Box::pin(async move {
                let user = text(&member(app, owner).await["user"]["id"]);
                Attempt::at(format!("/api/v1/identity/members/{user}")).status(204)
            })
        })
        .operation("operator_create_sign_in_code", |_, owner| {
            Box::pin(async move {
                Attempt::at("/operator/sign-in-codes").body(json!({ "organization": owner.slug })).status(201)
            })
        })
        .plain("operator_rotate_signing_keys", Attempt::at("/operator/signing-keys").body(json!({})).status(201))
        .operation("operator_set_superadmin", |app, owner| {
            Box::pin(async move {
                superadmin(app, owner).await;
                let body = json!({ "user": owner.admin, "superadmin": true });
                Attempt::at("/operator/superadmins").body(body).status(204)
            })
        })
}

fn public(sweep: Sweep) -> Sweep {
    sweep
        .plain("identity_get_jwks", Attempt::at("/.well-known/jwks.json").shows("ES256"))
        .operation("identity_sign_in", |app, owner| {
            Box::pin(async move {
                let made = identity::create_sign_in_code(app.store(), &owner.slug).await.expect("a code");
                Attempt::at("/api/auth/login").body(json!({ "code": made.code })).shows(&owner.slug)
            })
        })
        .operation("identity_refresh_session", |app, owner| {
            Box::pin(async move {
                let token = text(&member(app, owner).await["refreshToken"]);
                Attempt::at("/api/auth/refresh").body(json!({ "refreshToken": token })).shows(&owner.slug)
            })
        })
        .operation("identity_register", |_, _| {
            Box::pin(async move {
                let body = json!({
                    "email": address(), "password": PASSWORD, "name": "Grace", "organizationName": "Farm",
                });
                Attempt::at("/api/auth/register").body(body).status(202)
            })
        })
        .operation("identity_confirm_registration", |app, _| {
            Box::pin(async move {
                let email = address();
                let body = json!({ "email": email, "password": PASSWORD, "name": "Grace", "organizationName": "Farm" });
                app.post("/api/auth/register").json(&body).send().await.expect(202);
                let code = app.code_in_letter(&email, 1).await;
                let body = json!({ "code": code, "password": PASSWORD });
                Attempt::at("/api/auth/register/confirm").body(body).status(201)
            })
        })
        .operation("identity_forget_password", |_, _| {
            Box::pin(
                async move { Attempt::at("/api/auth/password/forgot").body(json!({ "email": address() })).status(202) },
            )
        })
        .operation("identity_reset_password", |app, owner| {
            Box::pin(async move {
                let email = text(&member(app, owner).await["user"]["email"]);
                app.post("/api/auth/password/forgot").json(&json!({ "email": email })).send().await.expect(202);
                // The first letter was the invitation.
                let body =
                    json!({ "code": app.code_in_letter(&email, 2).await, "newPassword": "nine badgers paint bridges" });
                Attempt::at("/api/auth/password/reset").body(body).status(204)
            })
        })
        .operation("identity_accept_invitation", |app, owner| {
            Box::pin(async move {
                let body = json!({ "code": invitation(app, owner).await.0, "name": "Ada", "password": PASSWORD });
                Attempt::at("/api/auth/invitations/accept").body(body).shows(&owner.slug)
            })
        })
}

fn credentials(sweep: Sweep) -> Sweep {
    sweep
        // Signing out ends the very token that the sweep goes on with, so it comes with its own.
        .operation_with_own_token("identity_sign_out", |_, _| {
            Box::pin(async move { Attempt::at("/api/auth/logout").status(204).own() })
        })
        .operation("identity_list_sessions", |app, owner| {
            Box::pin(async move {
                let token = app.session(owner).await;
                let known = app.get("/api/auth/me").token(&token).send().await.expect(200).json();
                Attempt::at("/api/auth/sessions").shows(text(&known["credential"])).own()
            })
        })
        .operation("identity_revoke_session", |app, owner| {
            Box::pin(async move {
                let token = app.session(owner).await;
                let listed = app.get("/api/auth/sessions").token(&token).send().await.expect(200).json();
                Attempt::at(format!("/api/auth/sessions/{}", text(&listed["items"][0]["id"]))).status(204)
            })
        })
        .operation("identity_revoke_other_sessions", |_, _| {
            Box::pin(async move { Attempt::at("/api/auth/sessions").status(204).own() })
        })
        .operation("identity_list_tokens", |app, owner| {
            Box::pin(async move {
                let (_, id) = token(app, owner).await;
                Attempt::at("/api/auth/tokens").shows(id).own()
            })
        })
        .operation("identity_create_token", |_, _| {
            Box::pin(async move { Attempt::at("/api/auth/tokens").body(json!({ "name": "mine" })).status(201).own() })
        })
        .operation("identity_revoke_token", |app, owner| {
            Box::pin(async move { Attempt::at(token(app, owner).await.0).status(204) })
        })
        .operation("identity_change_password", |_, _| {
            Box::pin(async move {
                // Neither administrator has a password yet, and both signed in a moment ago.
                let body = json!({ "newPassword": PASSWORD, "currentPassword": PASSWORD });
                Attempt::at("/api/auth/password/change").body(body).status(204).own()
            })
        })
}

/// Makes an API token of the owner's; gives where it is and its id.
async fn token(app: &TestApp, owner: &TestTenant) -> (String, String) {
    let session = app.session(owner).await;
    let made = app.post("/api/auth/tokens").token(&session).json(&json!({ "name": "scale" })).send().await.expect(201);
    (made.header("location").to_owned(), text(&made.json()["id"]))
}

fn organizations(sweep: Sweep) -> Sweep {
    sweep
        .operation("tenants_get_current_organization", |_, owner| {
            Box::pin(async move { Attempt::at("/api/organizations/current").shows(&owner.slug).own() })
        })
        .operation("tenants_update_current_organization", |_, owner| {
            Box::pin(async move {
                let body = json!({ "name": "of whoever changes it" });
                Attempt::at("/api/organizations/current").body(body).shows(&owner.slug).own()
            })
        })
        .operation("tenants_get_tenant", |_, owner| {
            Box::pin(async move { Attempt::at(format!("/api/v1/tenants/{}", owner.id)).shows(&owner.slug) })
        })
        .operation("tenants_update_tenant", |_, owner| {
            Box::pin(async move {
                let body = json!({ "name": "Renamed" });
                Attempt::at(format!("/api/v1/tenants/{}", owner.id)).body(body).shows(&owner.slug)
            })
        })
        .operation_as_superadmin("tenants_list_tenants", |_, owner| {
            Box::pin(async move { Attempt::at("/api/v1/tenants?limit=200").shows(&owner.slug).forbidden() })
        })
        .operation_as_superadmin("tenants_suspend_tenant", |app, _| {
            Box::pin(async move { moved(app, "suspend").await })
        })
        .operation_as_superadmin("tenants_activate_tenant", |app, _| {
            Box::pin(async move { moved(app, "activate").await })
        })
}

/// Suspends or activates a tenant that nothing else is tried with.
async fn moved(app: &TestApp, verb: &str) -> Attempt {
    let third = app.tenant("third").await;
    let path = format!("/api/v1/tenants/{}/{verb}", third.id);
    Attempt::at(path).body(json!({ "reason": "the sweep" })).shows(third.slug).forbidden()
}
