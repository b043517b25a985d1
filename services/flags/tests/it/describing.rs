use serde_json::{Value, json};

use crate::{BELL, DOOR, FLAGS, apps, events, list, listed, platform, shown, turn, turn_for_all};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_is_listed_before_anybody_turned_it() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let untouched = |key: &str, summary: &str| {
            json!({
                "id": null, "key": key, "description": summary, "enabled": null, "effective": true,
                "decidedBy": "default", "version": null, "updatedAt": null, "updatedBy": null,
            })
        };
        let items = list(&app, FLAGS, &tenant.admin_token).await;
        assert_eq!(items, [untouched(BELL.key, BELL.summary), untouched(DOOR.key, DOOR.summary)]);
        turn(&app, &tenant, "own", "enable").await.expect(200);
        let off = turn(&app, &tenant, DOOR.key, "disable").await.expect(200).data();
        assert_eq!((&off["effective"], &off["decidedBy"]), (&json!(false), &json!("tenant")));
        assert_eq!(shown(&app, &tenant, DOOR.key).await, off);
        assert_eq!(off["description"], json!(DOOR.summary));
        // By key, and one that nobody declared has no description.
        let keys: Vec<_> =
            list(&app, FLAGS, &tenant.admin_token).await.into_iter().map(|flag| flag["key"].clone()).collect();
        assert_eq!(keys, [BELL.key, DOOR.key, "own"]);
        assert_eq!(shown(&app, &tenant, "own").await["description"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_kept_until_another_is_given() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let post = |verb: &str| app.post(&format!("{FLAGS}/{}/{verb}", DOOR.key)).token(&tenant.admin_token);
        let said = json!({ "description": "  the hinge is broken " });
        let first = post("disable").json(&said).send().await.expect(200);
        assert_eq!((&first.data()["description"], first.header("etag")), (&json!("the hinge is broken"), "\"v1\""));
        // The same again, with and without it, in every way of sending nothing.
        post("disable").json(&said).send().await.expect(200);
        post("disable").json(&json!({})).send().await.expect(200);
        post("disable").json(&json!({ "description": null })).send().await.expect(200);
        post("disable").header("content-type", "application/json").send().await.expect(200);
        post("disable").header("content-type", "application/x-www-form-urlencoded").send().await.expect(200);
        assert_eq!(post("disable").send().await.expect(200).data(), first.data());
        assert_eq!(events(&app, &tenant).await.len(), 1);
        // Another one is a change, though it stays off.
        let again = post("disable").json(&json!({ "description": "new hinge ordered" })).send().await.expect(200);
        assert_eq!((&again.data()["enabled"], again.header("etag")), (&json!(false), "\"v2\""));
        let on = post("enable").send().await.expect(200).data();
        assert_eq!((&on["description"], &on["version"]), (&json!("new hinge ordered"), &json!(3)));
        let told = events(&app, &tenant).await;
        assert_eq!(told[1]["data"], json!({ "key": DOOR.key, "enabled": false, "description": "new hinge ordered" }));
        assert_eq!(shown(&app, &tenant, DOOR.key).await, on);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_changes_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let superadmin = app.superadmin(&tenant);
        turn(&app, &tenant, DOOR.key, "enable").await.expect(200);
        turn_for_all(&app, &superadmin, DOOR.key, "enable").await.expect(200);
        let before = app.dump().await;
        let own = || app.post(&format!("{FLAGS}/{}/disable", DOOR.key)).token(&tenant.admin_token);
        let all = || platform(&app, &superadmin, http::Method::POST, &format!("/{}/disable", DOOR.key));
        let long = "x".repeat(501);
        for body in [
            json!({ "description": 7 }),
            json!({ "description": "" }),
            json!({ "description": "a\u{0}b" }),
            json!({ "description": long }),
            json!({ "descriptoin": "typing" }),
            json!("off"),
            json!([]),
        ] {
            assert_eq!(own().json(&body).send().await.expect(400).code(), "request.invalid_body", "{body}");
            assert_eq!(all().json(&body).send().await.expect(400).code(), "request.invalid_body", "{body}");
        }
        let plain = own().header("content-type", "text/plain").bytes("off").send().await.expect(415);
        assert_eq!(plain.code(), "request.unsupported_media_type");
        own().header("content-type", "application/json").bytes("{").send().await.expect(400);
        assert_eq!(app.dump().await, before);
        assert_eq!(listed(&app, &tenant).await, [(DOOR.key.to_owned(), true)]);
    }
}
