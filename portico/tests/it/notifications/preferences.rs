use serde_json::{Value, json};

use super::{POLICY, PREFERENCES, Post, posts};

async fn ruling(post: &Post, token: &str, kind: &str, channel: &str) -> Value {
    let shown = post.app.get(PREFERENCES).token(token).send().await.expect(200).json();
    let all = shown["preferences"].as_array().expect("preferences").clone();
    let found = all.into_iter().find(|one| one["type"] == kind && one["channel"] == channel);
    found.unwrap_or_else(|| panic!("{kind} {channel} is not in {shown}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_layer_that_speaks_decides_who_is_told() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let usual = ruling(&post, &staff.token, "LOW_STOCK", "in_app").await;
        assert_eq!(
            usual,
            json!({ "type": "LOW_STOCK", "channel": "in_app", "enabled": true, "decidedBy": "role", "locked": false })
        );
        // The person.
        post.turn(&staff.token, "LOW_STOCK", "in_app", json!(false)).await;
        post.low_stock(&tenant, "A", 1).await;
        assert_eq!(post.told(&staff.token).await, (vec![], 0));
        assert_eq!(post.told(&tenant.admin_token).await.1, 1, "a word is one's own");
        // The organisation.
        let rules = json!([{ "type": "LOW_STOCK", "channel": "in_app", "rule": "required" }]);
        post.rule(&tenant, json!({ "rules": rules })).await.expect(200);
        post.low_stock(&tenant, "B", 1).await;
        assert_eq!(post.told(&staff.token).await.0, ["Low stock: B"]);
        assert_eq!(ruling(&post, &staff.token, "LOW_STOCK", "in_app").await["decidedBy"], "policy");
        let off = json!([{ "type": "LOW_STOCK", "channel": "in_app", "rule": "off" }]);
        post.rule(&tenant, json!({ "rules": off })).await.expect(200);
        post.low_stock(&tenant, "C", 1).await;
        assert_eq!(post.told(&tenant.admin_token).await.1, 2);
        // Nothing ruled any more: the person's word is still there, until it is taken back.
        post.rule(&tenant, json!({})).await.expect(200);
        assert_eq!(ruling(&post, &staff.token, "LOW_STOCK", "in_app").await["enabled"], false);
        post.turn(&staff.token, "LOW_STOCK", "in_app", Value::Null).await;
        post.low_stock(&tenant, "D", 1).await;
        assert_eq!(post.told(&staff.token).await.0, ["Low stock: D", "Low stock: B"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_decided_cannot_be_changed() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let wish = json!({ "preferences": [{ "type": "SYSTEM_ALERT", "channel": "in_app", "enabled": false }] });
        let refused = post.wish(&tenant.admin_token, wish).await.expect(409);
        assert_eq!(refused.code(), "notifications.locked");
        let off = json!({ "rules": [{ "type": "SYSTEM_ALERT", "channel": "in_app", "rule": "off" }] });
        assert_eq!(post.rule(&tenant, off).await.expect(409).code(), "notifications.locked");
        let rules = json!([{ "type": "QC_FAILED", "channel": "email", "rule": "required" }]);
        post.rule(&tenant, json!({ "rules": rules })).await.expect(200);
        let before = post.app.digest(&tenant).await;
        let wish = json!({ "preferences": [
            { "type": "LOW_STOCK", "channel": "email", "enabled": false },
            { "type": "QC_FAILED", "channel": "email", "enabled": false },
        ] });
        post.wish(&staff.token, wish).await.expect(409);
        assert_eq!(post.app.digest(&tenant).await, before, "half of a request is none of it");
        post.alert(&tenant, "disk").await;
        assert_eq!(post.told(&tenant.admin_token).await.1, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_are_asked_again_when_the_letter_leaves() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        post.low_stock(&tenant, "A", 1).await;
        post.turn(&staff.token, "LOW_STOCK", "email", json!(false)).await;
        post.pass(5).await;
        assert_eq!((post.server.to(staff.user).len(), post.server.to(tenant.admin).len()), (0, 1));
        assert_eq!(post.told(&staff.token).await.1, 1, "the list is another channel");
        post.low_stock(&tenant, "B", 1).await;
        let off = json!([{ "type": "LOW_STOCK", "channel": "email", "rule": "off" }]);
        post.rule(&tenant, json!({ "rules": off })).await.expect(200);
        post.pass(5).await;
        assert_eq!(post.server.to(tenant.admin).len(), 1, "the organisation's word is asked again too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_names_channels_and_person_and_only_administrators_see_it() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let off = json!([{ "type": "LOW_STOCK", "channel": "webhook", "rule": "off" }]);
        post.rule(&tenant, json!({ "rules": off })).await.expect(200);
        post.low_stock(&tenant, "A", 1).await;
        post.alert(&tenant, "disk").await;
        let events = "/api/events?type=notifications.notification.raised";
        let seen = post.app.get(events).token(&staff.token).send().await.expect(200).json();
        assert_eq!(seen["items"], json!([]));
        let seen = post.app.get(events).token(&tenant.admin_token).send().await.expect(200).json();
        let data: Vec<&Value> = seen["items"].as_array().expect("events").iter().map(|event| &event["data"]).collect();
        let of_staff = data.iter().find(|data| data["user"] == json!(staff.user)).expect("the staff member's");
        let wanted = json!({
            "user": staff.user, "type": "LOW_STOCK", "channels": ["in_app", "email"], "count": 1, "severe": false,
        });
        assert_eq!(**of_staff, wanted, "no content");
        assert_eq!(data.last().expect("one")["channels"], json!(["in_app", "email", "webhook"]));
        let changed = post.app.get("/api/events?type=notifications.policy.changed").token(&tenant.admin_token);
        assert_eq!(changed.send().await.expect(200).json()["items"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_settings_change_nothing() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let before = post.app.digest(&tenant).await;
        let wish = json!({ "type": "LOW_STOCK", "channel": "email", "enabled": false });
        for body in [
            json!({ "preferences": [{ "type": "LOW", "channel": "email", "enabled": false }] }),
            json!({ "preferences": [{ "type": "LOW_STOCK", "channel": "pigeon", "enabled": false }] }),
            json!({ "preferences": [{ "type": "LOW_STOCK", "channel": "email", "enabled": "no" }] }),
            json!({ "preferences": vec![wish; 51] }),
            json!({ "quietHours": { "from": "25:00", "to": "07:00" } }),
            json!({ "quietHours": { "from": "22:00", "to": "07:00", "timeZone": "Mars/Olympus" } }),
            json!({ "quietHours": { "from": "22:00" } }),
            json!({ "user": tenant.admin }),
            json!([]),
        ] {
            post.wish(&staff.token, body).await.expect(400);
        }
        let rule = json!({ "type": "LOW_STOCK", "channel": "email", "rule": "off" });
        for body in [
            json!({ "largeAdjustmentThreshold": 0 }),
            json!({ "largeAdjustmentThreshold": i64::MAX }),
            json!({ "rules": [rule, rule] }),
            json!({ "rules": [{ "type": "LOW_STOCK", "channel": "email", "rule": "maybe" }] }),
            json!({ "quietHours": { "from": "07:00", "to": "07:00" } }),
            json!([]),
        ] {
            post.rule(&tenant, body).await.expect(400);
        }
        let as_staff = post.app.request(http::Method::PUT, POLICY).token(&staff.token).json(&json!({}));
        as_staff.send().await.expect(403);
        assert_eq!(post.app.digest(&tenant).await, before);
        post.rule(&tenant, json!({ "largeAdjustmentThreshold": 7 })).await.expect(200);
        let shown = post.app.get(POLICY).token(&tenant.admin_token).send().await.expect(200).json();
        assert_eq!(shown, json!({ "rules": [], "quietHours": null, "largeAdjustmentThreshold": 7 }));
    }
}
