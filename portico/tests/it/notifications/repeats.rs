use std::sync::Arc;

use kernel::{Answer, Id, PermissionSet};
use serde_json::json;
use store::EventRow;

use super::{low_stock, posts};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_duplicates_at_once_are_one_notification() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let post = Arc::new(post);
        let appended: Vec<_> = (0..50)
            .map(|_| {
                let (post, tenant) = (post.clone(), tenant.clone());
                tokio::spawn(async move { post.record(&tenant, low_stock("A", 7)).await })
            })
            .collect();
        for appended in appended {
            appended.await.expect("appended");
        }
        post.app.settle().await;
        let page = post.page(&staff.token, "").await;
        assert_eq!((page["items"].as_array().map(Vec::len), &page["unreadCount"]), (Some(1), &json!(1)));
        assert_eq!(page["items"][0]["count"], 1);
        post.pass(5).await;
        assert_eq!(post.server.to(staff.user).len(), 1);
    }
}

/// The dispatcher applies events one after the other; this asks for more than it does.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_who_apply_a_duplicate_at_once_write_one_row() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let post = Arc::new(post);
        let applied: Vec<_> = (0..50)
            .map(|_| {
                let (post, tenant) = (post.clone(), tenant.id);
                tokio::spawn(async move {
                    let happened = low_stock("A", 7);
                    let event = EventRow {
                        seq: 1,
                        position: Some(1),
                        id: Id::new(),
                        tenant_id: tenant,
                        kind: happened.kind.to_owned(),
                        subject: happened.subject.to_owned(),
                        subject_version: 0,
                        actor: "system".to_owned(),
                        request_id: "r".to_owned(),
                        correlation_id: "r".to_owned(),
                        occurred_at: post.app.clock().now(),
                        data: happened.data.to_string(),
                        reason: None,
                    };
                    let service = notifications::service(post.notifications.clone());
                    loop {
                        let mut ctx = store::system_context(tenant, PermissionSet::default());
                        // The pool is small; whoever finds it empty comes again.
                        let Ok(mut writer) = post.app.store().write(&mut ctx).await else { continue };
                        service.subscriptions[0].subscriber().apply(&mut writer, &event).await.expect("applied");
                        writer.commit(Answer::no_content()).await.expect("kept");
                        return;
                    }
                })
            })
            .collect();
        for applied in applied {
            applied.await.expect("applied");
        }
        for token in [&staff.token, &tenant.admin_token, &tenant.staff_token] {
            let page = post.page(token, "").await;
            assert_eq!((page["items"].as_array().map(Vec::len), &page["unreadCount"]), (Some(1), &json!(1)));
        }
        post.pass(5).await;
        assert_eq!(post.server.taken().len(), 3, "one letter each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_one_object_within_its_window_comes_together() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        post.low_stock(&tenant, "A", 1).await;
        post.low_stock(&tenant, "B", 1).await;
        let first = post.page(&staff.token, "").await["items"][1]["id"].clone();
        post.pass(4).await;
        post.low_stock(&tenant, "A", 2).await;
        let page = post.page(&staff.token, "").await;
        assert_eq!((&page["items"][0]["id"], &page["items"][0]["count"]), (&first, &json!(2)), "it comes first");
        assert_eq!((page["items"].as_array().map(Vec::len), &page["unreadCount"]), (Some(2), &json!(2)));
        post.pass(4).await;
        let letters = post.server.to(staff.user);
        assert_eq!(letters.len(), 1, "B's; A's window has slid");
        assert_eq!(letters[0].subject, "Low stock: B");
        post.pass(1).await;
        let letters = post.server.to(staff.user);
        assert_eq!((letters.len(), letters[1].subject.as_str()), (2, "Low stock: A (and 1 more)"));
        assert_eq!(letters[1].text.matches("3 box left").count(), 2, "{}", letters[1].text);
        // What comes after is another.
        post.low_stock(&tenant, "A", 3).await;
        let page = post.page(&staff.token, "").await;
        assert_eq!((page["items"].as_array().map(Vec::len), &page["unreadCount"]), (Some(3), &json!(3)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends_after_half_an_hour_however_much_comes() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        for crossing in 0..8 {
            post.low_stock(&tenant, "A", crossing).await;
            post.pass(4).await;
        }
        let letters = post.server.to(staff.user);
        assert_eq!(letters.len(), 1);
        assert!(letters[0].subject.ends_with("(and 7 more)"), "{}", letters[0].subject);
        post.low_stock(&tenant, "A", 99).await;
        assert_eq!(post.page(&staff.token, "").await["items"][0]["count"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_in_the_meantime_sends_no_letter_unless_it_grows() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        for item in ["A", "B"] {
            post.low_stock(&tenant, item, 1).await;
        }
        post.app.post("/api/notifications/mark-all-read").token(&staff.token).send().await.expect(200);
        post.low_stock(&tenant, "B", 2).await;
        assert_eq!(post.told(&staff.token).await.1, 1, "what has grown is unread again");
        post.pass(10).await;
        let letters = post.server.to(staff.user);
        assert_eq!((letters.len(), letters[0].subject.as_str()), (1, "Low stock: B (and 1 more)"));
    }
}
