//! Who is asking, from where, and with what: the caller's side of a context.

use web::Revocation;

use crate::app;

#[tokio::test]
async fn a_session_route_takes_no_api_token() {
    let app = app().await;
    let tenant = app.tenant("farm").await;
    let (session, api_token) = (app.mint(app.principal(&tenant)), app.api_token(&tenant));
    app.post("/api/probe/session").token(&session).send().await.expect(200);
    let refused = app.post("/api/probe/session").token(&api_token).send().await.expect(403);
    assert_eq!(refused.code(), "identity.session_required");
    app.post("/api/probe/session").send().await.expect(401);
    app.post("/api/probe").token(&api_token).send().await.expect(200);
    let written = &app.document()["paths"]["/api/probe/session"]["post"];
    assert_eq!((written["x-session"].clone(), written["security"][0]["bearer"].is_array()), (true.into(), true));
    assert!(written["responses"]["403"].is_object());
}

#[tokio::test]
async fn a_handler_reaches_what_its_service_was_given() {
    let app = app().await;
    let tenant = app.tenant("farm").await;
    let answer = app.get("/api/probe").token(&tenant.viewer_token).send().await.expect(200);
    assert_eq!(answer.json()["setting"], "first");
}

#[tokio::test]
async fn a_handler_knows_the_client_and_believes_only_a_trusted_proxy() {
    let app = app().await;
    let tenant = app.tenant("farm").await;
    let ask = || app.get("/api/probe").token(&tenant.viewer_token);
    assert_eq!(ask().send().await.json()["client"], "192.0.2.1");
    let forwarded = || ask().header("x-forwarded-for", "198.51.100.4");
    assert_eq!(forwarded().send().await.json()["client"], "192.0.2.1");
    assert_eq!(forwarded().from([192, 0, 2, 254]).send().await.json()["client"], "198.51.100.4");
}

#[tokio::test]
async fn a_minted_token_is_remembered_and_a_revocation_forgets_it() {
    let app = app().await;
    let tenant = app.tenant("farm").await;
    let principal = app.principal(&tenant);
    let token = app.mint(principal.clone());
    app.get("/api/probe").token(&token).send().await.expect(200);
    assert!(app.token_cache().get(&token).is_some_and(|known| *known.principal == principal));
    app.token_cache().revoke(&Revocation::Tenant(tenant.id));
    assert!(app.token_cache().get(&token).is_none());
}
