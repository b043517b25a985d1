use serde_json::{Value, json};

use super::{Happened, posts};

// The clock of the tests starts at 08:00 UTC.

#[tokio::test(flavor = "multi_thread")]
async fn letters_wait_until_quiet_hours_are_over_and_gather_meanwhile() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        // 15:00 to 17:00 where the person is: 08:00 to 10:00 here.
        let hours = json!({ "from": "15:00", "to": "17:00", "timeZone": "Asia/Bangkok" });
        let set = post.wish(&staff.token, json!({ "quietHours": hours })).await.expect(200).json();
        assert_eq!((&set["quietHours"], &set["quietHoursByPolicy"]), (&hours, &json!(false)));
        post.low_stock(&tenant, "A", 1).await;
        post.pass(60).await;
        assert_eq!((post.server.to(staff.user).len(), post.server.to(tenant.admin).len()), (0, 1));
        assert_eq!(post.told(&staff.token).await.1, 1, "the list is not quiet");
        post.low_stock(&tenant, "A", 2).await;
        post.pass(59).await;
        assert_eq!(post.server.to(staff.user).len(), 0);
        post.pass(1).await;
        let letters = post.server.to(staff.user);
        assert_eq!((letters.len(), letters[0].subject.as_str()), (1, "Low stock: A (and 1 more)"));
        assert!(letters[0].text.contains("2026-11-21 08:00"), "{}", letters[0].text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_severe_does_not_wait() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let hours = json!({ "quietHours": { "from": "07:00", "to": "09:00" } });
        post.rule(&tenant, hours).await.expect(200);
        for (batch, severity) in [("B-1", "severe"), ("B-2", "minor")] {
            let data = json!({ "batch": batch, "severity": severity });
            post.record(&tenant, Happened { kind: "inventory.batch.qc_failed", subject: batch, data }).await;
        }
        post.alert(&tenant, "disk").await;
        let subjects = |letters: Vec<notifications::Mail>| -> Vec<String> {
            letters.into_iter().map(|mail| mail.subject).collect()
        };
        assert_eq!(subjects(post.server.to(staff.user)), ["Quality check failed: B-1"]);
        let mut to_admin = subjects(post.server.to(tenant.admin));
        to_admin.sort();
        assert_eq!(to_admin, ["Disk full", "Quality check failed: B-1"]);
        post.pass(59).await;
        assert_eq!(post.server.to(staff.user).len(), 1);
        post.pass(1).await;
        assert_eq!(post.server.to(staff.user).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_organisations_hours_count_in_its_zone_for_who_has_none() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let system = post.app.store().system(store::Purpose::Tenancy).await.expect("a transaction");
        let change = store::TenantChange { time_zone: Some("Asia/Bangkok".to_owned()), ..Default::default() };
        system.change_tenant(tenant.id, None, change).await.expect("changed");
        system.commit().await.expect("kept");
        post.rule(&tenant, json!({ "quietHours": { "from": "14:00", "to": "16:00" } })).await.expect(200);
        let own = json!({ "quietHours": { "from": "00:00", "to": "00:01" } });
        post.wish(&tenant.admin_token, own).await.expect(200);
        post.low_stock(&tenant, "A", 1).await;
        post.pass(5).await;
        assert_eq!((post.server.to(staff.user).len(), post.server.to(tenant.admin).len()), (0, 1));
        let taken_back = post.wish(&tenant.admin_token, json!({ "quietHours": null })).await.expect(200).json();
        assert_eq!(taken_back["quietHoursByPolicy"], true);
        assert_ne!(taken_back["quietHours"], Value::Null);
        post.pass(55).await;
        let letters = post.server.to(staff.user);
        assert_eq!(letters.len(), 1);
        assert!(letters[0].text.contains("2026-11-21 15:00"), "{}", letters[0].text);
    }
}
