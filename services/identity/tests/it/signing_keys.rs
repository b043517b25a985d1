use base64::Engine as _;
use serde_json::Value;
use testkit::TestApp;

use crate::{apps, join, log_in, me, pass, text};

const DAY: i64 = 86_400;

async fn published(app: &TestApp) -> Vec<String> {
    let jwks = app.get("/.well-known/jwks.json").send().await.expect(200);
    assert_eq!(jwks.header("content-type"), "application/jwk-set+json");
    assert!(jwks.header("cache-control").contains("max-age"));
    let jwks = jwks.json();
    let keys = jwks["keys"].as_array().expect("a list");
    assert!(keys.iter().all(|key| key.get("d").is_none()), "no private half");
    keys.iter().map(|key| text(&key["kid"]).to_owned()).collect()
}

fn kid(signed_in: &Value) -> String {
    let header = text(&signed_in["accessToken"]).split('.').next().expect("a header").to_owned();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    text(&header["kid"]).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_published_before_it_signs_and_nobody_is_signed_out() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        join(&app, &tenant, "ada@example.org", "staff").await;
        let sign_in = || async { log_in(&app, "ada@example.org", crate::PASSWORD).await.expect(200).json() };
        let first = published(&app).await;
        assert_eq!((first.len(), kid(&sign_in().await)), (1, first[0].clone()));
        // Half an hour before its time the next one is there, and does not sign yet.
        pass(&app, 30 * DAY - 1_800);
        app.identity().keep_keys(app.store()).await.expect("keys");
        let both = published(&app).await;
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        let old = sign_in().await;
        assert_eq!(kid(&old), first[0]);
        me(&app, text(&old["accessToken"])).await.expect(200);
        pass(&app, 3_600);
        assert_eq!(kid(&sign_in().await), both[1]);
        me(&app, text(&old["accessToken"])).await.expect(401);
        pass(&app, 661);
        let new = sign_in().await;
        assert_eq!(published(&app).await, [both[1].clone()], "the old one's last token has run out");
        // In haste: the new key signs at once, and what the old one signed goes on working.
        app.identity().rotate_keys(app.store(), true, false).await.expect("rotates");
        pass(&app, 2);
        let newest = sign_in().await;
        assert!(kid(&newest) != kid(&new) && published(&app).await.len() == 2);
        me(&app, text(&new["accessToken"])).await.expect(200);
        me(&app, text(&newest["accessToken"])).await.expect(200);
        pass(&app, 661);
        me(&app, text(&new["accessToken"])).await.expect(401);
        assert_eq!(published(&app).await, [kid(&newest)]);
        // A key that others may have: its tokens go with it, and refreshing brings new ones.
        let newest = sign_in().await;
        app.identity().rotate_keys(app.store(), true, true).await.expect("rotates");
        app.token_cache().revoke(&web::Revocation::Everything);
        me(&app, text(&newest["accessToken"])).await.expect(401);
        let body = serde_json::json!({ "refreshToken": newest["refreshToken"] });
        let refreshed = app.post("/api/auth/refresh").json(&body).send().await.expect(200).json();
        me(&app, text(&refreshed["accessToken"])).await.expect(200);
        assert_eq!(published(&app).await, [kid(&refreshed)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_removed_a_month_later_and_nothing_else() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let old = join(&app, &tenant, "ada@example.org", "staff").await;
        log_in(&app, "nobody@example.org", "wrong").await.expect(401);
        app.identity().rotate_keys(app.store(), true, false).await.expect("rotates");
        assert_eq!(identity::remove_expired(app.store()).await.expect("removes"), 0);
        pass(&app, 61 * DAY);
        app.identity().keep_keys(app.store()).await.expect("keys");
        let now = log_in(&app, "ada@example.org", crate::PASSWORD).await.expect(200).json();
        // One session, one invitation, one refused sign-in of nobody, and the first key.
        assert_eq!(identity::remove_expired(app.store()).await.expect("removes"), 4);
        assert_eq!(identity::remove_expired(app.store()).await.expect("removes"), 0);
        me(&app, text(&now["accessToken"])).await.expect(200);
        let body = serde_json::json!({ "refreshToken": old["refreshToken"] });
        app.post("/api/auth/refresh").json(&body).send().await.expect(401);
    }
}
