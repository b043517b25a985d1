use http::Method;
use kernel::TenantId;
use serde_json::{Value, json};

use crate::{CURRENT, Superadmin, TENANTS, WHY, apps, events, everything, path};

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_sees_and_changes_the_own_tenant_but_not_its_plan() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let mine = path(tenant.id);
        let shown = app.get(&mine).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!((&shown.json()["state"], &shown.json()["version"]), (&json!("active"), &json!(1)));
        app.get(&mine).token(&tenant.admin_token).header("if-none-match", "\"v1\"").send().await.expect(304);
        let bare = path(tenant.id).replace(&tenant.id.to_string(), &tenant.id.uuid().to_string());
        app.get(&bare).token(&tenant.admin_token).send().await.expect(200);
        let patch = |body: Value| app.request(Method::PATCH, &mine).token(&tenant.admin_token).json(&body).send();
        let changed = patch(json!({ "name": "Green Farm" })).await.expect(200);
        assert_eq!((&changed.json()["name"], changed.header("etag")), (&json!("Green Farm"), "\"v2\""));
        let before = everything(&app, &tenant).await;
        // What is so already needs the permission too: asking is not a way to find out.
        for plan in ["gold", "free"] {
            let refused = patch(json!({ "name": "Rich Farm", "plan": plan })).await.expect(403);
            assert_eq!(refused.code(), "request.forbidden");
        }
        for token in [&tenant.viewer_token, &tenant.staff_token] {
            app.get(&mine).token(token).send().await.expect(403);
            let request = app.request(Method::PATCH, &mine).token(token).json(&json!({ "name": "Mine" }));
            request.send().await.expect(403);
        }
        assert_eq!(everything(&app, &tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_id_is_answered_like_one_that_does_not_exist() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let before = everything(&app, &other).await;
        // Every permission there is, but not the actor.
        for token in [tenant.admin_token.clone(), app.mint(app.principal(&tenant)), app.api_token(&tenant)] {
            let mut answers = Vec::new();
            for id in [other.id, TenantId::new()] {
                let get = app.get(&path(id)).token(&token).header("x-request-id", "r").send().await.expect(404);
                let patch = app.request(Method::PATCH, &path(id)).token(&token).header("x-request-id", "r");
                let patch = patch.json(&json!({ "name": "Mine", "plan": "gold" })).send().await.expect(404);
                assert_eq!(get.code(), "tenants.not_found");
                answers.push((get.text(), patch.text()));
            }
            assert_eq!(answers[0], answers[1]);
        }
        assert_eq!(everything(&app, &other).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_pages_through_all_tenants() {
    for app in apps().await {
        let mut made = Vec::new();
        for number in 0..7 {
            made.push(app.tenant(if number % 2 == 0 { "farm" } else { "mill" }).await);
        }
        let superadmin = Superadmin::inside(&app, &made[0]);
        superadmin.suspend(&app, made[2].id).await;
        superadmin.suspend(&app, made[3].id).await;
        let pages = async |filter: &str| {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let asked = format!("{TENANTS}?limit=2{filter}{cursor}");
                let page = app.get(&asked).token(&superadmin.token).send().await.expect(200).json();
                let items = page["items"].as_array().expect("items");
                assert!(items.len() <= 2);
                seen.extend(items.iter().map(|item| item["id"].clone()));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return seen,
                }
            }
        };
        let ids = |numbers: &[usize]| -> Vec<Value> { numbers.iter().map(|number| json!(made[*number].id)).collect() };
        assert_eq!(pages("").await, ids(&[0, 1, 2, 3, 4, 5, 6]));
        assert_eq!(pages("&state=suspended").await, ids(&[2, 3]));
        assert_eq!(pages("&slugPrefix=mill-").await, ids(&[1, 3, 5]));
        assert_eq!(pages("&slugPrefix=mill&state=active").await, ids(&[1, 5]));
        assert_eq!(pages("&slugPrefix=ill").await, ids(&[]));
        let all = app.get(TENANTS).token(&superadmin.token).send().await.expect(200).json();
        assert_eq!((all["items"].as_array().map(Vec::len), &all["next"]), (Some(7), &Value::Null));
        for query in [
            "limit=0",
            "limit=201",
            "limit=x",
            "limit=1&limit=2",
            "cursor=x",
            "state=gone",
            "slugPrefix=",
            "slugPrefix=%25",
            "slugPrefix=a_b",
            "slugPrefix=Farm",
            "slug=farm",
        ] {
            let answer = app.get(&format!("{TENANTS}?{query}")).token(&superadmin.token).send().await.expect(400);
            assert!(answer.code().starts_with("request.invalid_"), "{query}: {}", answer.text());
        }
        for token in [&made[0].viewer_token, &made[0].staff_token, &made[0].admin_token] {
            app.get(TENANTS).token(token).send().await.expect(403);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_changes_any_tenant_and_the_tenant_learns_who_and_why() {
    for app in apps().await {
        let (platform, tenant) = (app.tenant("platform").await, app.tenant("farm").await);
        let superadmin = Superadmin::inside(&app, &platform);
        let theirs = path(tenant.id);
        let shown = app.get(&theirs).token(&superadmin.token).send().await.expect(200);
        assert_eq!(shown.json()["slug"], json!(tenant.slug));
        app.get(&path(TenantId::new())).token(&superadmin.token).send().await.expect(404);
        let body = json!({ "plan": "gold" });
        let silent = app.request(Method::PATCH, &theirs).token(&superadmin.token).json(&body).send().await.expect(400);
        assert_eq!(silent.code(), "request.reason_required");
        let own = everything(&app, &platform).await;
        let patch =
            |tag: &str| superadmin.request(&app, Method::PATCH, &theirs).header("if-match", tag).json(&body).send();
        let changed = patch("\"v1\"").await.expect(200);
        assert_eq!((&changed.json()["plan"], changed.header("etag")), (&json!("gold"), "\"v2\""));
        patch("\"v1\"").await.expect(412);
        let current = app.get(CURRENT).token(&tenant.viewer_token).send().await.expect(200);
        assert_eq!((&current.json()["plan"], current.header("etag")), (&json!("gold"), "\"v2\""));
        let told = events(&app, &tenant).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["data"], json!({ "changed": { "plan": { "from": "free", "to": "gold" } } }));
        assert_eq!((&told[0]["actor"], &told[0]["reason"]), (&json!(superadmin.actor), &json!(WHY)));
        assert_eq!(everything(&app, &platform).await, own, "the tenant that the superadmin came from is untouched");
    }
}
