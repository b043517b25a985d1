//! What nobody settles: the process was killed between reserving and settling.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_settles_counts_as_used_when_its_lease_ends() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = budget(&app, &tenant, json!({ "name": "all", "per": "tenant", "period": "total", "tokens": 100 })).await;
        let call = wanted(&tenant, 40, &[]);
        {
            // As where a process is killed: the future that would have settled is gone half-way.
            let life = async {
                granted(&app, &call).await;
                std::future::pending::<()>().await;
                settle(&app, &call, spent(1)).await;
            };
            let killed = tokio::time::timeout(SECOND, life).await;
            killed.expect_err("it never ends by itself");
        }
        pass(&app, 14 * MINUTE);
        app.settle().await;
        assert_eq!(standing(&app, &tenant, &path).await, (0, 50), "the lease has not ended");
        pass(&app, 2 * MINUTE);
        app.settle().await;
        app.settle().await;
        assert_eq!(standing(&app, &tenant, &path).await, (50, 0));
        assert!(!extend(&app, &call, 45).await && told(&app, &tenant, "usage.recorded").await.len() == 1);
        let record = records(&app, &tenant).await[0].clone();
        assert_eq!((&record["state"], &record["outcome"]), (&json!("lapsed"), &json!("lapsed")));
        assert_eq!((&record["estimated"], &record["costNano"]), (&json!(true), &json!(50)));
        let total = read(&app, &tenant, SUMMARY).await["total"].clone();
        assert_eq!((&total["tokens"], &total["estimatedShare"]), (&json!(50), &json!(1.0)));

        // Somebody knows after all.
        release(&app, &call).await;
        assert_eq!(standing(&app, &tenant, &path).await, (50, 0), "it was made");
        settle(&app, &call, spent(20)).await;
        settle(&app, &call, spent(99)).await;
        assert_eq!(standing(&app, &tenant, &path).await, (30, 0));
        let total = read(&app, &tenant, SUMMARY).await["total"].clone();
        assert_eq!((&total["calls"], &total["tokens"], &total["estimatedShare"]), (&json!(1), &json!(30), &json!(0.0)));
        let events = told(&app, &tenant, "usage.recorded").await;
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[0]["subject"], events[1]["subject"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_is_over_is_not_opened_again() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = budget(&app, &tenant, json!({ "name": "all", "per": "tenant", "period": "day", "tokens": 100 })).await;
        let call = wanted(&tenant, 40, &[]);
        granted(&app, &call).await;
        app.settle().await;
        pass(&app, HOUR);
        app.settle().await;
        assert_eq!(standing(&app, &tenant, &path).await, (50, 0));
        pass(&app, DAY);
        let today = wanted(&tenant, 10, &[]);
        granted(&app, &today).await;
        settle(&app, &today, spent(10)).await;
        settle(&app, &call, spent(5)).await;
        assert_eq!(standing(&app, &tenant, &path).await, (20, 0), "yesterday's correction is not today's");
        let items = read(&app, &tenant, SUMMARY).await["items"].clone();
        let days: Vec<_> = items.as_array().expect("items").iter().map(|item| (&item["day"], &item["tokens"])).collect();
        assert_eq!(days, [(&json!("2026-11-22"), &json!(20)), (&json!("2026-11-21"), &json!(15))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_and_what_is_open_or_for_ever_stays() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let limits = [
            limit("ever", Per::Tenant, Unit::Tokens, 100, Period::Total),
            limit("session", Per::Credential, Unit::Tokens, 100, Period::Day),
        ];
        let call = wanted(&tenant, 40, &limits);
        granted(&app, &call).await;
        settle(&app, &call, spent(40)).await;
        for _ in 0..10 {
            pass(&app, 41 * DAY);
            app.settle().await;
        }
        assert_eq!(records(&app, &tenant).await, Vec::<Value>::new());
        let rows = app.digest(&tenant).await;
        let counters: Vec<_> = rows.iter().filter(|row| row.starts_with("usage_counter")).collect();
        assert_eq!(counters.len(), 1, "{counters:?}");
        assert_eq!(refused(&app, &wanted(&tenant, 41, &limits)).await, "ever");
    }
}
