//! Budgets as administrators manage them, and the end of one.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_lives_like_any_resource() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let body = json!({ "name": "month", "per": "user", "period": "month", "tokens": 1_000 });
        let path = budget(&app, &tenant, body.clone()).await;
        let shown = read(&app, &tenant, &path).await;
        assert_eq!((&shown["tokens"], &shown["nano"], &shown["enabled"]), (&json!(1_000), &Value::Null, &json!(true)));
        assert_eq!(shown["standing"], json!([]));
        let taken = ask(&app, &tenant, Method::POST, BUDGETS, body).await.expect(409);
        assert_eq!(taken.code(), "usage.budget_name_taken");
        let change = json!({ "name": "money", "per": "tenant", "period": "day", "nano": 5, "enabled": false });
        let changed = ask(&app, &tenant, Method::PUT, &path, change.clone()).await.expect(200).json();
        assert_eq!((&changed["tokens"], &changed["nano"], &changed["version"]), (&Value::Null, &json!(5), &json!(2)));
        let stale = app.request(Method::PUT, &path).token(&tenant.admin_token).header("if-match", "\"v1\"");
        stale.json(&change).send().await.expect(412);
        let listed = read(&app, &tenant, BUDGETS).await;
        assert_eq!(listed["items"][0]["name"], "money");
        ask(&app, &tenant, Method::DELETE, &path, Value::Null).await.expect(204);
        ask(&app, &tenant, Method::GET, &path, Value::Null).await.expect(404);
        ask(&app, &tenant, Method::PUT, &path, change).await.expect(404);
        for (verb, times) in [("created", 1), ("updated", 1), ("deleted", 1)] {
            assert_eq!(told(&app, &tenant, &format!("usage.budget.{verb}")).await.len(), times, "{verb}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_to_fit_into_all_budgets() {
    for app in apps().await {
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        let declared = [limit("declared", Per::Tenant, Unit::Tokens, 1_000, Period::Day)];
        let body = json!({ "name": "own", "per": "tenant", "period": "day", "tokens": 50 });
        let path = budget(&app, &farm, body.clone()).await;
        assert_eq!(refused(&app, &wanted(&farm, 41, &declared)).await, "own");
        granted(&app, &wanted(&mill, 41, &declared)).await;
        granted(&app, &wanted(&farm, 40, &declared)).await;
        let off = json!({ "name": "own", "per": "tenant", "period": "day", "tokens": 50, "enabled": false });
        ask(&app, &farm, Method::PUT, &path, off).await.expect(200);
        granted(&app, &wanted(&farm, 40, &declared)).await;
        ask(&app, &farm, Method::PUT, &path, body).await.expect(200);
        assert_eq!(refused(&app, &wanted(&farm, 0, &declared)).await, "own");
        ask(&app, &farm, Method::DELETE, &path, Value::Null).await.expect(204);
        assert_eq!(refused(&app, &wanted(&farm, 1_000, &declared)).await, "declared");
        granted(&app, &wanted(&farm, 0, &declared)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_budget_is_told_once_in_its_period() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let told = async || told(&app, &tenant, "usage.budget_exhausted").await;
        let body = |tokens: i64| json!({ "name": "own", "per": "user", "period": "day", "tokens": tokens });
        let path = budget(&app, &tenant, body(50)).await;
        for _ in 0..3 {
            refused(&app, &wanted(&tenant, 41, &[])).await;
        }
        let first = told().await;
        assert_eq!(first.len(), 1);
        let data = &first[0]["data"];
        assert_eq!((&data["budget"], &data["subject"], &data["limit"]), (&json!("own"), &json!("anna"), &json!(50)));
        refused(&app, &Wanted { user: "berta".into(), ..wanted(&tenant, 41, &[]) }).await;
        assert_eq!(told().await.len(), 2, "each user has a budget");
        // A stream that is cut off ends a budget too, and more of it is a new beginning.
        ask(&app, &tenant, Method::PUT, &path, body(60)).await.expect(200);
        let call = wanted(&tenant, 41, &[]);
        granted(&app, &call).await;
        assert!(!extend(&app, &call, 51).await && !extend(&app, &call, 51).await);
        assert_eq!(told().await.len(), 3);
        pass(&app, DAY);
        refused(&app, &wanted(&tenant, 51, &[])).await;
        assert_eq!(told().await.len(), 4);
        let rate = [limit("rate", Per::Tenant, Unit::Tokens, 5, Period::Minute)];
        for _ in 0..5 {
            let Reserved::Exhausted(exhausted) = reserve(&app, &wanted(&tenant, 0, &rate)).await else { panic!() };
            assert_eq!((exhausted.period, exhausted.retry_after), (Period::Minute, Some(10)));
            pass(&app, MINUTE);
        }
        assert_eq!(told().await.len(), 5, "a rate is told once a day");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_changes_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = budget(&app, &tenant, json!({ "name": "a", "per": "user", "period": "day", "tokens": 1 })).await;
        let before = app.digest(&tenant).await;
        let with = |field: &str, value: Value| {
            let mut body = json!({ "name": "b", "per": "user", "period": "day", "tokens": 1 });
            body[field] = value;
            body
        };
        for body in [
            json!({}), json!([]), with("tokens", json!(0)), with("tokens", json!(-1)), with("tokens", json!(1.5)),
            with("tokens", Value::Null), with("nano", json!(1)), with("per", json!("shared_route")),
            with("period", json!("year")), with("name", json!("")), with("name", json!("a".repeat(101))),
            with("name", json!("a\u{0}")), with("used", json!(0)), with("tokens", json!(u64::MAX)),
        ] {
            ask(&app, &tenant, Method::POST, BUDGETS, body.clone()).await.expect(400);
            ask(&app, &tenant, Method::PUT, &path, body).await.expect(400);
        }
        for path in [
            format!("{RECORDS}?limit=0"), format!("{RECORDS}?limit=201"), format!("{RECORDS}?cursor=%25"),
            format!("{RECORDS}?from=yesterday"), format!("{RECORDS}?more=1"), format!("{RECORDS}?model=a%00"),
            format!("{SUMMARY}?from=2026-11-22&to=2026-11-21"), format!("{SUMMARY}?from=0000-01-01"),
            format!("{SUMMARY}?to=0000-01-01"), format!("{SUMMARY}?model=a%00"), format!("{SUMMARY}?day=1"),
        ] {
            ask(&app, &tenant, Method::GET, &path, Value::Null).await.expect(400);
        }
        assert_eq!(app.digest(&tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_so_many_budgets_and_no_more() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let body = |number: i32| json!({ "name": format!("{number}"), "per": "user", "period": "day", "tokens": 1 });
        let mut path = String::new();
        for number in 0..50 {
            path = budget(&app, &tenant, body(number)).await;
        }
        let full = ask(&app, &tenant, Method::POST, BUDGETS, body(50)).await.expect(409);
        assert_eq!(full.code(), "usage.too_many_budgets");
        ask(&app, &tenant, Method::DELETE, &path, Value::Null).await.expect(204);
        budget(&app, &tenant, body(50)).await;
    }
}
