use http::Method;
use serde_json::{Value, json};

use crate::{BELL, DOOR, FLAGS, PLATFORM, WHY, apps, events, events_of, list, open, platform, shown, turn};
use crate::{turn_for_all, withdraw};

const CHANGED: &str = "flags.platform_flag.changed";

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_word_beats_the_tenants_until_it_is_taken_back() {
    for app in apps().await {
        let (home, tenant, other) = (app.tenant("platform").await, app.tenant("farm").await, app.tenant("mill").await);
        let superadmin = app.superadmin(&home);
        turn(&app, &tenant, DOOR.key, "enable").await.expect(200);
        turn(&app, &other, DOOR.key, "disable").await.expect(200);
        let doors = async |theirs: u16, others: u16, homes: u16| {
            open(&app, &tenant.staff_token).await.expect(theirs);
            open(&app, &other.staff_token).await.expect(others);
            open(&app, &home.staff_token).await.expect(homes);
        };
        doors(200, 503, 200).await;
        turn_for_all(&app, &superadmin, DOOR.key, "disable").await.expect(200);
        doors(503, 503, 503).await;
        // The tenant may say what it likes, and is told that it does not count.
        let on = turn(&app, &tenant, DOOR.key, "enable").await.expect(200).data();
        assert_eq!(
            (&on["enabled"], &on["effective"], &on["decidedBy"]),
            (&json!(true), &json!(false), &json!("platform"))
        );
        let seen = shown(&app, &home, DOOR.key).await;
        assert_eq!(
            (&seen["enabled"], &seen["effective"], &seen["decidedBy"]),
            (&json!(null), &json!(false), &json!("platform"))
        );
        turn_for_all(&app, &superadmin, DOOR.key, "enable").await.expect(200);
        doors(200, 200, 200).await;
        let off = turn(&app, &tenant, DOOR.key, "disable").await.expect(200).data();
        assert_eq!(
            (&off["enabled"], &off["effective"], &off["decidedBy"]),
            (&json!(false), &json!(true), &json!("platform"))
        );
        doors(200, 200, 200).await;
        let left = withdraw(&app, &superadmin, DOOR.key).await.expect(200).data();
        assert_eq!((&left["enabled"], &left["version"]), (&json!(null), &json!(3)));
        doors(503, 503, 200).await;
        assert_eq!(shown(&app, &tenant, DOOR.key).await["decidedBy"], json!("tenant"));
        assert_eq!(shown(&app, &home, DOOR.key).await["decidedBy"], json!("default"));
        // And once more, after it was taken back.
        turn_for_all(&app, &superadmin, DOOR.key, "enable").await.expect(200);
        doors(200, 200, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_one_for_everybody_is_recorded_with_the_reason() {
    for app in apps().await {
        let (home, tenant) = (app.tenant("platform").await, app.tenant("farm").await);
        let superadmin = app.superadmin(&home);
        let said = json!({ "description": "wrong grades since noon" });
        let kill = platform(&app, &superadmin, Method::POST, &format!("/{}/disable", DOOR.key)).json(&said);
        let off = kill.send().await.expect(200);
        assert_eq!(off.header("etag"), "\"v1\"");
        let flag = off.data();
        assert_eq!((&flag["key"], &flag["enabled"], &flag["reason"]), (&json!(DOOR.key), &json!(false), &json!(WHY)));
        assert_eq!(flag["description"], json!("wrong grades since noon"));
        assert_eq!(flag["updatedBy"], json!(format!("superadmin:{}", home.admin)));
        // Saying so again, or sending the request again, is nothing new.
        for _ in 0..2 {
            assert_eq!(turn_for_all(&app, &superadmin, DOOR.key, "disable").await.expect(200).data(), flag);
        }
        withdraw(&app, &superadmin, DOOR.key).await.expect(200);
        let left = withdraw(&app, &superadmin, DOOR.key).await.expect(200).data();
        assert_eq!(left["description"], json!("wrong grades since noon"));
        let told = events_of(&app, &home.admin_token, CHANGED).await;
        assert_eq!(told.len(), 2);
        for (event, (version, enabled)) in told.iter().zip([(1, json!(false)), (2, Value::Null)]) {
            assert_eq!((&event["subject"], &event["subjectVersion"]), (&json!(DOOR.key), &json!(version)));
            assert_eq!((&event["reason"], &event["actor"]), (&json!(WHY), &flag["updatedBy"]));
            let data = json!({ "key": DOOR.key, "enabled": enabled, "description": "wrong grades since noon" });
            assert_eq!(event["data"], data);
        }
        assert!(events_of(&app, &tenant.admin_token, CHANGED).await.is_empty());
        assert!(events(&app, &home).await.is_empty(), "no tenant turned anything");
        // Only those who look after the organisation hear of it.
        assert!(events_of(&app, &home.staff_token, CHANGED).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_what_is_declared_and_what_was_ever_turned() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let superadmin = app.superadmin(&tenant);
        let untouched = |key: &str, summary: &str| {
            json!({
                "key": key, "description": summary, "enabled": null, "reason": null, "version": null,
                "updatedAt": null, "updatedBy": null,
            })
        };
        let declared = [untouched(BELL.key, BELL.summary), untouched(DOOR.key, DOOR.summary)];
        assert_eq!(list(&app, PLATFORM, &superadmin).await, declared);
        let off = turn_for_all(&app, &superadmin, "unheard-of", "disable").await.expect(200).data();
        assert_eq!(off["description"], json!(null));
        assert_eq!(list(&app, PLATFORM, &superadmin).await, [declared[0].clone(), declared[1].clone(), off]);
        // A tenant sees that it is off, and why is not told: nobody declared it and it turned nothing.
        let seen = shown(&app, &tenant, "unheard-of").await;
        assert_eq!(
            (&seen["id"], &seen["effective"], &seen["decidedBy"]),
            (&json!(null), &json!(false), &json!("platform"))
        );
        withdraw(&app, &superadmin, "unheard-of").await.expect(200);
        let keys: Vec<_> =
            list(&app, FLAGS, &tenant.admin_token).await.into_iter().map(|flag| flag["key"].clone()).collect();
        assert_eq!(keys, [BELL.key, DOOR.key]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_superadmin_with_a_reason_turns_one_for_everybody() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let superadmin = app.superadmin(&tenant);
        turn_for_all(&app, &superadmin, DOOR.key, "enable").await.expect(200);
        let before = app.dump().await;
        let one = format!("{PLATFORM}/{}", DOOR.key);
        let changes =
            [(Method::POST, format!("{one}/disable")), (Method::POST, format!("{one}/enable")), (Method::DELETE, one)];
        for token in [&tenant.admin_token, &tenant.staff_token, &tenant.viewer_token] {
            app.get(PLATFORM).token(token).send().await.expect(403);
            for (method, path) in &changes {
                let asked = app.request(method.clone(), path).token(token).header("x-audit-reason", WHY);
                asked.send().await.expect(403);
            }
        }
        app.get(PLATFORM).send().await.expect(401);
        for (method, path) in &changes {
            app.request(method.clone(), path).send().await.expect(401);
            let silent = app.request(method.clone(), path).token(&superadmin).send().await.expect(400);
            assert_eq!(silent.code(), "request.reason_required");
        }
        for wrong in ["Known", "1st", "a%20b", "%01", "%C3%BC", "a'b", &"x".repeat(101)] {
            for answer in
                [turn_for_all(&app, &superadmin, wrong, "disable").await, withdraw(&app, &superadmin, wrong).await]
            {
                assert_eq!(answer.expect(400).code(), "request.invalid_path", "{wrong}");
            }
        }
        turn_for_all(&app, &superadmin, DOOR.key, "explode").await.expect(404);
        assert_eq!(withdraw(&app, &superadmin, "unknown").await.expect(404).code(), "flags.never_turned");
        let stale = |method, path: &str, version: &str| {
            platform(&app, &superadmin, method, path).header("if-match", version).send()
        };
        stale(Method::POST, "/barn.door/disable", "\"v2\"").await.expect(412);
        stale(Method::DELETE, "/barn.door", "\"v2\"").await.expect(412);
        stale(Method::DELETE, "/unknown", "\"v1\"").await.expect(412);
        stale(Method::POST, "/unknown/enable", "\"v1\"").await.expect(412);
        assert_eq!(app.dump().await, before);
        stale(Method::POST, "/barn.door/disable", "\"v1\"").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_has_only_so_many_flags() {
    let app = testkit::TestApp::sqlite(vec![flags::service(vec![])]).await;
    let tenant = app.tenant("farm").await;
    let superadmin = app.superadmin(&tenant);
    for number in 0..500 {
        turn_for_all(&app, &superadmin, &format!("f{number}"), "enable").await.expect(200);
    }
    let before = app.dump().await;
    let full = turn_for_all(&app, &superadmin, "one-more", "disable").await.expect(409);
    assert_eq!((full.code().as_str(), app.dump().await == before), ("flags.too_many", true));
    turn_for_all(&app, &superadmin, "f499", "disable").await.expect(200);
}
