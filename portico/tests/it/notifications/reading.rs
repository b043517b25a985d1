use http::Method;
use serde_json::{Value, json};

use super::{LIST, posts};

#[tokio::test(flavor = "multi_thread")]
async fn one_is_read_off_once_by_either_route() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        for item in ["A", "B", "C"] {
            post.low_stock(&tenant, item, 1).await;
        }
        let (app, token) = (&post.app, &staff.token);
        let page = post.page(token, "").await;
        let id = |number: usize| page["items"][number]["id"].as_str().expect("an id").to_owned();
        let marked = app.post(&format!("{LIST}/{}/mark-read", id(0))).token(token).send().await.expect(200).json();
        assert_eq!((&marked["notification"]["read"], &marked["unreadCount"]), (&json!(true), &json!(2)));
        assert_eq!(marked["notification"]["readAt"], "2026-11-21T08:00:00.000000Z");
        let again = app.request(Method::PUT, &format!("{LIST}/{}/read", id(0))).token(token).send().await.expect(200);
        assert_eq!(again.json(), marked);
        app.request(Method::PUT, &format!("{LIST}/{}/read", id(2))).token(token).send().await.expect(200);
        let unread = post.page(token, "?unread=true").await;
        assert_eq!((unread["items"].as_array().map(Vec::len), &unread["items"][0]["id"]), (Some(1), &json!(id(1))));
        app.relay().await;
        let events = "/api/events?type=notifications.notification.read";
        let events = app.get(events).token(&tenant.admin_token).send().await.expect(200).json();
        assert_eq!(events["items"].as_array().map(Vec::len), Some(2), "saying it again is no event");
        assert_eq!(events["items"][0]["data"], json!({ "user": staff.user }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_read_at_once_and_what_comes_later_is_not() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        for item in ["A", "B", "C"] {
            post.low_stock(&tenant, item, 1).await;
        }
        let (app, token) = (&post.app, &staff.token);
        let all = format!("{LIST}/mark-all-read");
        let before = app.digest(&tenant).await;
        let marked = app.post(&all).token(token).send().await.expect(200).json();
        assert_eq!(marked, json!({ "readUpTo": 3, "unreadCount": 0 }));
        let changed = app.digest(&tenant).await;
        let rows = changed.iter().filter(|row| row.starts_with("notifications_") && !before.contains(row)).count();
        assert_eq!(rows, 1, "a watermark, however many there are");
        assert_eq!(app.post(&all).token(token).send().await.expect(200).json(), marked);
        assert_eq!(app.digest(&tenant).await, changed, "saying it again changes nothing");
        let page = post.page(token, "").await;
        assert!(page["items"].as_array().expect("items").iter().all(|item| item["read"] == true));
        assert_eq!(page["items"][0]["readAt"], "2026-11-21T08:00:00.000000Z");
        assert_eq!(post.told(&tenant.admin_token).await.1, 3, "everybody's own");
        post.low_stock(&tenant, "D", 1).await;
        let unread = post.page(token, "?unread=true").await;
        assert_eq!((unread["items"].as_array().map(Vec::len), &unread["unreadCount"]), (Some(1), &json!(1)));
        let superadmin = app.superadmin(&tenant);
        app.get(LIST).token(&superadmin).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_notification_is_not_there() {
    for post in posts().await {
        let ((tenant, staff), (other, _)) = (post.tenant().await, post.tenant().await);
        post.low_stock(&tenant, "A", 1).await;
        let id = post.page(&staff.token, "").await["items"][0]["id"].as_str().expect("an id").to_owned();
        let before = post.app.digest(&tenant).await;
        for token in [&tenant.admin_token, &other.admin_token, &tenant.viewer_token] {
            for (method, path) in [(Method::POST, "mark-read"), (Method::PUT, "read")] {
                let request = post.app.request(method, &format!("{LIST}/{id}/{path}")).token(token);
                assert_eq!(request.send().await.expect(404).code(), "request.not_found");
            }
        }
        for wrong in ["ntf_1", "usr_01hgw2bbg0e4rq9v7pfm3jkd8s", "x"] {
            post.app.post(&format!("{LIST}/{wrong}/mark-read")).token(&staff.token).send().await.expect(400);
        }
        assert_eq!(post.app.digest(&tenant).await, before);
        post.app.get(LIST).send().await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_where_they_ended() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        for item in ["A", "B", "C", "D", "E"] {
            post.low_stock(&tenant, item, 1).await;
        }
        let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
        loop {
            let page = post.page(&staff.token, &query).await;
            let titles = page["items"].as_array().expect("items").iter().map(|item| item["object"].clone());
            seen.extend(titles);
            let Value::String(next) = &page["next"] else { break };
            query = format!("?limit=2&cursor={next}");
        }
        assert_eq!(seen, ["E", "D", "C", "B", "A"]);
        for wrong in ["?limit=0", "?limit=201", "?cursor=x", "?unread=maybe", "?type=LOW", "?user=1"] {
            post.app.get(&format!("{LIST}{wrong}")).token(&staff.token).send().await.expect(400);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_long_ago_goes_and_the_count_stays_right() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        post.low_stock(&tenant, "A", 1).await;
        post.pass(90 * 24 * 60).await;
        post.low_stock(&tenant, "B", 1).await;
        // A token of the tests lasts 90 days.
        let token = post.app.issue(staff.member(&tenant)).await;
        assert_eq!(post.told(&token).await.1, 2);
        post.pass(91 * 24 * 60).await;
        let (token, admin) = (post.app.issue(staff.member(&tenant)).await, post.app.mint(post.app.principal(&tenant)));
        assert_eq!(post.told(&token).await, (vec!["Low stock: B".to_owned()], 1));
        assert_eq!(post.told(&admin).await.1, 1);
        let rows = post.app.digest(&tenant).await;
        assert!(rows.iter().filter(|row| row.starts_with("notifications_occurrence")).count() == 3, "{rows:?}");
    }
}
