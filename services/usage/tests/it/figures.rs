//! The list of calls and the summary.

use super::*;

/// Calls of two models on two days, one of them estimated.
async fn calls(app: &TestApp, tenant: &TestTenant) {
    for (model, user, answer, estimated) in
        [("large", "anna", 10, false), ("large", "berta", 20, true), ("small", "anna", 30, false)]
    {
        let call = Wanted { model: model.into(), user: user.into(), ..wanted(tenant, 100, &[]) };
        granted(app, &call).await;
        settle(app, &call, Spent { estimated, ..spent(answer) }).await;
        pass(app, 10 * HOUR);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_listed_page_by_page_and_filtered() {
    for app in apps().await {
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        calls(&app, &farm).await;
        granted(&app, &wanted(&mill, 1, &[])).await;
        let (mut path, mut seen) = (format!("{RECORDS}?limit=1"), Vec::new());
        loop {
            let page = read(&app, &farm, &path).await;
            seen.extend(page["items"].as_array().expect("items").iter().map(|item| item["outputTokens"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("{RECORDS}?limit=1&cursor={next}");
        }
        assert_eq!(seen, [json!(30), json!(20), json!(10)], "newest first");
        for (query, found) in [
            ("model=large", 2),
            ("user=anna", 2),
            ("user=anna&model=large", 1),
            ("route=%2Fchat", 3),
            ("route=%2Fother", 0),
            ("from=2026-11-21T18:00:00Z", 2),
            ("to=2026-11-21T18:00:00Z", 1),
            ("from=2026-11-21T08:00:01Z&to=2026-11-21T18:00:01Z", 1),
        ] {
            let page = read(&app, &farm, &format!("{RECORDS}?{query}")).await;
            assert_eq!(page["items"].as_array().expect("items").len(), found, "{query}");
        }
        assert_eq!(records(&app, &mill).await[0]["state"], "reserved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_says_what_was_used_by_day_and_model() {
    for app in apps().await {
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        calls(&app, &farm).await;
        let summary = read(&app, &farm, SUMMARY).await;
        let items = summary["items"].as_array().expect("items");
        let rows: Vec<_> = items
            .iter()
            .map(|item| (item["day"].as_str().expect("a day"), item["model"].as_str().expect("a model"), &item["tokens"]))
            .collect();
        assert_eq!(rows, [("2026-11-22", "small", &json!(40)), ("2026-11-21", "large", &json!(50))]);
        assert_eq!((&items[1]["estimatedTokens"], &items[1]["estimatedShare"]), (&json!(30), &json!(0.6)));
        let total = &summary["total"];
        assert_eq!((&total["calls"], &total["estimatedCalls"], &total["costNano"]), (&json!(3), &json!(1), &json!(90)));
        assert_eq!((&summary["complete"], &total["outputTokens"]), (&json!(true), &json!(60)));
        let small = read(&app, &farm, &format!("{SUMMARY}?model=small&from=2026-11-22&to=2026-11-22")).await;
        assert_eq!((&small["total"]["calls"], &small["from"]), (&json!(1), &json!("2026-11-22")));
        assert_eq!(read(&app, &mill, SUMMARY).await["total"]["calls"], json!(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_look() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        for token in [&tenant.staff_token, &tenant.viewer_token] {
            for path in [BUDGETS, RECORDS, SUMMARY] {
                app.get(path).token(token).send().await.expect(403);
            }
        }
    }
}
