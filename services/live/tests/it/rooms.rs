use kernel::{PermissionSet, UserId};
use serde_json::json;
use web::Principal;

use crate::client::{Client, Said};
use crate::{ADJUSTED, RAISED, adjust, apps, publish};

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_administrators_see_amounts_and_viewers_do_not() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (mut admin, _) = Client::connect(&app, &tenant.admin_token).await;
        let (mut staff, _) = Client::connect(&app, &tenant.staff_token).await;
        let (mut viewer, ready) = Client::connect(&app, &tenant.viewer_token).await;
        adjust(&app, tenant.id, [4711]).await;
        let all = staff.event("inventory:update").await;
        assert_eq!(admin.event("inventory:update").await, all);
        assert_eq!((&all["type"], &all["data"]), (&json!(ADJUSTED), &json!({ "quantity": 4711 })));
        assert!(all["position"].as_i64() > ready["position"].as_i64());
        assert!(all["occurredAt"].is_string() && all["version"].is_i64());
        let short = viewer.event("inventory:summary").await;
        let expected = json!({
            "type": ADJUSTED, "id": all["id"], "position": all["position"], "epoch": all["epoch"],
            "version": all["version"],
        });
        assert_eq!(short, expected, "nothing of the amount");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_and_another_person_learn_nothing() {
    for app in apps().await {
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        let (mut ours, ready) = Client::connect(&app, &farm.admin_token).await;
        let (mut colleague, _) = Client::connect(&app, &farm.staff_token).await;
        let (mut theirs, _) = Client::connect(&app, &mill.admin_token).await;
        let user = ready["rooms"][1].as_str().expect("a person's room").strip_prefix("user:").expect("a person");
        assert_eq!(user, farm.admin.to_string());
        adjust(&app, farm.id, [1]).await;
        let notice = json!({ "user": user, "title": "for one" });
        publish(&app, farm.id, RAISED, [notice.clone(), json!({ "user": UserId::new() })]).await;
        // The other tenant's event about the same person is not this tenant's business either.
        publish(&app, mill.id, RAISED, [notice.clone()]).await;
        adjust(&app, farm.id, [2]).await;
        adjust(&app, mill.id, [3]).await;
        assert_eq!(ours.event("inventory:update").await["data"]["quantity"], 1);
        assert_eq!(ours.event("notification:new").await["data"], notice);
        assert_eq!(ours.event("inventory:update").await["data"]["quantity"], 2);
        assert_eq!(colleague.event("inventory:update").await["data"]["quantity"], 1);
        assert_eq!(colleague.event("inventory:update").await["data"]["quantity"], 2);
        assert_eq!(theirs.event("inventory:update").await["data"]["quantity"], 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_into_a_room_by_asking() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (mut viewer, _) = Client::connect(&app, &tenant.viewer_token).await;
        let room = format!("t:{}:role:admin", tenant.id);
        for event in [json!(["join", room]), json!(["subscribe", { "room": room }]), json!(["role:admin"])] {
            viewer.send(&format!("2{event}")).await.expect(200);
        }
        adjust(&app, tenant.id, [1]).await;
        viewer.event("inventory:summary").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_few_scopes_learns_no_more_here_than_from_the_log() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let scoped = |scopes: &[&str]| {
            let permissions = PermissionSet::new(scopes.iter().copied());
            app.mint(Principal { permissions, ..app.principal(&tenant) })
        };
        let (none, viewer) = (scoped(&["inventory.items.read"]), scoped(&["events.members.read"]));
        let (mut nobody, ready) = Client::connect(&app, &none).await;
        assert_eq!(ready["rooms"], json!([]), "the role's name alone opens nothing");
        let (mut low, ready) = Client::connect(&app, &viewer).await;
        assert_eq!(ready["rooms"][0], "role:viewer");
        adjust(&app, tenant.id, [1]).await;
        low.event("inventory:summary").await;
        nobody.send_raw("1").await;
        assert_eq!(nobody.next().await, Said::Closed, "nothing came before the end");
    }
}
