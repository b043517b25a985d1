use serde_json::json;
use service::Role;

use super::{Happened, posts};

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_becomes_short_is_told_to_all_who_work_with_stock_but_who_took_it() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let viewer = post.person(&tenant, Role::Viewer).await;
        let (app, token) = (&post.app, &staff.token);
        let body = json!({ "sku": "A", "name": "Apples", "lowStockLevel": 5 });
        let made = app.post("/api/inventory").token(token).json(&body).send().await.expect(201);
        let path = format!("{}/adjust", made.header("location"));
        for delta in [50, -46, -1] {
            let body = json!({ "delta": delta, "reason": if delta > 0 { "received" } else { "sold" } });
            app.post(&path).token(token).json(&body).send().await.expect(200);
        }
        app.settle().await;
        let page = post.page(&tenant.admin_token, "").await;
        let told = &page["items"][0];
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
        assert_eq!(
            (&told["type"], &told["title"], &told["body"], &told["read"], &told["count"]),
            (
                &json!("LOW_STOCK"),
                &json!("Low stock: A Apples"),
                &json!("4 piece left; the level is 5."),
                &json!(false),
                &json!(1)
            )
        );
        assert_eq!(made.data()["id"], told["object"]);
        assert_eq!(post.told(&tenant.staff_token).await.1, 1);
        assert_eq!(post.told(&staff.token).await, (vec![], 0), "who did it knows");
        assert_eq!(post.told(&viewer.token).await, (vec![], 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_adjustments_are_those_at_or_above_the_threshold() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let (app, token) = (&post.app, &staff.token);
        let body = json!({ "sku": "A", "name": "Apples" });
        let made = app.post("/api/inventory").token(token).json(&body).send().await.expect(201);
        let path = format!("{}/adjust", made.header("location"));
        let adjust = async |delta: i64| {
            let body = json!({ "delta": delta, "reason": "counted" });
            app.post(&path).token(token).json(&body).send().await.expect(200);
            app.settle().await;
        };
        for delta in [99, 100, -99] {
            adjust(delta).await;
        }
        let page = post.page(&tenant.admin_token, "?type=LARGE_ADJUSTMENT").await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(page["items"][0]["body"], "Changed by +100 (counted); now there are 199.");
        post.rule(&tenant, json!({ "largeAdjustmentThreshold": 20 })).await.expect(200);
        app.clock().shift(3_600_000_000);
        adjust(-20).await;
        assert_eq!(post.told(&tenant.admin_token).await.1, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_checks_go_to_staff_and_alerts_to_administrators() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let data = json!({ "batch": "B-7", "reason": "Too wet.", "severity": "severe" });
        post.record(&tenant, Happened { kind: "inventory.batch.qc_failed", subject: "bat_1", data }).await;
        post.app.settle().await;
        post.alert(&tenant, "disk").await;
        let (staff_told, _) = post.told(&staff.token).await;
        assert_eq!(staff_told, ["Quality check failed: B-7"]);
        let (admin_told, unread) = post.told(&tenant.admin_token).await;
        assert_eq!((admin_told, unread), (vec!["Disk full".to_owned(), "Quality check failed: B-7".to_owned()], 2));
        // Neither waits for a window.
        assert_eq!((post.server.to(staff.user).len(), post.server.to(tenant.admin).len()), (1, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_or_lost_the_role_is_told_nothing_more_and_who_comes_is() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        post.low_stock(&tenant, "A", 1).await;
        let member = format!("/api/v1/identity/members/{}", staff.user);
        let app = &post.app;
        let change = app.request(http::Method::PATCH, &member).token(&tenant.admin_token);
        change.json(&json!({ "role": "viewer" })).send().await.expect(200);
        let comes = post.person(&tenant, Role::Staff).await;
        post.low_stock(&tenant, "B", 1).await;
        assert_eq!(post.told(&staff.token).await.0, ["Low stock: A"], "what was told stays");
        assert_eq!(post.told(&comes.token).await.0, ["Low stock: B"]);
        let leaves = format!("/api/v1/identity/members/{}", comes.user);
        app.request(http::Method::DELETE, &leaves).token(&tenant.admin_token).send().await.expect(204);
        post.low_stock(&tenant, "C", 1).await;
        post.pass(60).await;
        assert!(post.server.to(comes.user).is_empty(), "a letter that waited is for members only");
        assert_eq!(post.told(&tenant.admin_token).await.1, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_organisation_is_told_piece_by_piece() {
    let post = posts().await.remove(0);
    let tenant = post.app.tenant("farm").await;
    let mut last = post.person(&tenant, Role::Staff).await;
    for _ in 0..119 {
        last = post.person(&tenant, Role::Staff).await;
    }
    post.low_stock(&tenant, "A", 1).await;
    assert_eq!((post.told(&last.token).await.1, post.told(&tenant.admin_token).await.1), (1, 1));
    post.pass(5).await;
    assert_eq!(post.server.taken().len(), 122, "120 people, a staff member and an administrator");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_hear_nothing_of_one_another() {
    for post in posts().await {
        let ((tenant, _), (other, other_staff)) = (post.tenant().await, post.tenant().await);
        let before = post.app.digest(&other).await;
        post.low_stock(&tenant, "A", 1).await;
        post.alert(&tenant, "disk").await;
        assert_eq!(post.told(&other.admin_token).await, (vec![], 0));
        assert_eq!(post.told(&other_staff.token).await, (vec![], 0));
        assert_eq!(post.app.digest(&other).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_its_check_is_told_to_those_who_work_with_stock() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let (app, token) = (&post.app, &staff.token);
        app.post("/api/inventory").token(token).json(&json!({ "sku": "A", "name": "Apples" })).send().await.expect(201);
        let batch = json!({ "sku": "A", "code": "L-7", "quantity": 5 });
        let made = app.post("/api/inventory/batches").token(token).json(&batch).send().await.expect(201);
        let check = format!("{}/qc", made.header("location"));
        let failed = json!({ "result": "failed", "note": "too soft" });
        app.post(&check).token(token).json(&failed).send().await.expect(200);
        app.settle().await;
        let page = post.page(&tenant.admin_token, "?type=QC_FAILED").await;
        let told = &page["items"][0];
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
        assert_eq!((&told["object"], &told["read"]), (&made.data()["id"], &json!(false)));
        let title = told["title"].as_str().expect("a title");
        assert!(title.starts_with("Quality check failed: ") && title.contains("L-7"), "{title}");
    }
}
