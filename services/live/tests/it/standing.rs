use std::sync::Arc;

use serde_json::{Value, json};
use web::{Principal, Revocation};

use crate::client::{Client, Said};
use crate::{adjust, apps};

async fn refresh(client: &mut Client<'_>, token: &str) -> Value {
    client.send(&format!("27{}", json!(["auth:refresh", { "token": token }]))).await.expect(200);
    match client.next().await {
        Said::Answer(7, answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_of_the_same_person_keeps_the_connection_and_changes_the_rooms() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (mut client, _) = Client::connect(&app, &tenant.admin_token).await;
        let viewer = app.mint(Principal {
            permissions: kernel::PermissionSet::new(["events.members.read"]),
            ..app.principal(&tenant)
        });
        let answer = refresh(&mut client, &viewer).await;
        assert_eq!((&answer["ok"], &answer["rooms"][0]), (&json!(true), &json!("role:viewer")));
        adjust(&app, tenant.id, [1]).await;
        client.event("inventory:summary").await;
        let other = app.tenant("mill").await;
        let elsewhere = app.mint(Principal { tenant: other.id, ..app.principal(&tenant) });
        for (token, code) in [
            (tenant.staff_token.as_str(), "live.other_caller"),
            (&elsewhere, "live.other_caller"),
            ("nonsense", "request.unauthenticated"),
            ("", "request.unauthenticated"),
        ] {
            let answer = refresh(&mut client, token).await;
            assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!(code)), "{token}");
        }
        adjust(&app, tenant.id, [2]).await;
        client.event("inventory:summary").await;
        assert_eq!(app.connections().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_token_unless_it_gets_another() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (first, second) = (app.session(&tenant).await, app.session(&tenant).await);
        let (mut renewed, ready) = Client::connect(&app, &first).await;
        let (mut left, _) = Client::connect(&app, &second).await;
        let until = kernel::Timestamp::parse(ready["until"].as_str().expect("an end")).expect("a time");
        app.clock().shift(until.0 - app.clock().now().0 - 30_000_000);
        assert_eq!(renewed.event("auth:expiring").await["until"], ready["until"]);
        left.event("auth:expiring").await;
        let third = app.session(&tenant).await;
        let answer = refresh(&mut renewed, &third).await;
        assert_eq!(answer["ok"], true);
        assert!(answer["until"].as_str() > ready["until"].as_str());
        app.clock().shift(31_000_000);
        assert_eq!(left.next().await, Said::Closed);
        adjust(&app, tenant.id, [1]).await;
        renewed.event("inventory:update").await;
        // What has run out opens nothing.
        let mut late = Client::bring(&app, json!({ "token": second })).await;
        assert!(matches!(late.next().await, Said::Refused(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_closes_the_connection_and_no_other() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let token = app.session(&tenant).await;
        let (mut client, _) = Client::connect(&app, &token).await;
        let (mut other, _) = Client::connect(&app, &tenant.staff_token).await;
        app.post("/api/auth/logout").token(&token).send().await;
        assert_eq!(client.next().await, Said::Closed);
        adjust(&app, tenant.id, [1]).await;
        other.event("inventory:update").await;
        assert_eq!(app.connections().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_while_it_is_refreshed_is_closed() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (mut client, _) = Client::connect(&app, &tenant.admin_token).await;
        let principal = Arc::new(app.principal(&tenant));
        let token = app.mint(Principal::clone(&principal));
        assert_eq!(refresh(&mut client, &token).await["ok"], true);
        app.connections().revoke(&Revocation::Credential(principal.credential.clone()));
        assert_eq!(client.next().await, Said::Closed, "the new credential counts");
        let mut late = Client::open(&app, None).await;
        app.connections().close();
        late.send(&format!("0{}", json!({ "token": tenant.admin_token }))).await;
        let said = late.next().await;
        let refused = matches!(&said, Said::Refused(refused) if refused["data"]["code"] == "live.closing");
        assert!(refused || said == Said::Closed, "a process that stops lets nobody in: {said:?}");
        let opened = app.get("/socket.io/?EIO=4&transport=polling").send().await.expect(503);
        assert_eq!(opened.code(), "live.closing");
    }
}
