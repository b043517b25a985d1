//! Reserving, extending, settling, releasing: each once and twice.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_held_settled_and_given_back() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = budget(&app, &tenant, json!({ "name": "all", "per": "tenant", "period": "month", "tokens": 100 })).await;
        let call = wanted(&tenant, 40, &[]);
        assert_eq!((granted(&app, &call).await, granted(&app, &call).await), (40, 40), "twice is once");
        assert_eq!(standing(&app, &tenant, &path).await, (0, 50));
        assert_eq!(refused(&app, &wanted(&tenant, 41, &[])).await, "all");
        settle(&app, &call, spent(20)).await;
        settle(&app, &call, spent(90)).await;
        release(&app, &call).await;
        assert_eq!(standing(&app, &tenant, &path).await, (30, 0), "the first settlement counts");
        assert_eq!(granted(&app, &call).await, 40, "what has ended reserves nothing");
        let other = wanted(&tenant, 60, &[]);
        granted(&app, &other).await;
        release(&app, &other).await;
        release(&app, &other).await;
        settle(&app, &other, spent(60)).await;
        assert_eq!(standing(&app, &tenant, &path).await, (30, 0), "what was given back is not settled");
        let kept = records(&app, &tenant).await;
        assert_eq!(kept.len(), 1, "a call that was not made leaves no record: {kept:?}");
        assert_eq!((&kept[0]["state"], &kept[0]["outputTokens"]), (&json!("settled"), &json!(20)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_limit_gets_what_there_is() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let tokens = limit("day", Per::Tenant, Unit::Tokens, 100, Period::Day);
        let money = limit("money", Per::Tenant, Unit::Nano, 70, Period::Total);
        let call = Wanted { least: 5, most: 4_096, ..wanted(&tenant, 0, &[tokens.clone(), money.clone()]) };
        assert_eq!(granted(&app, &call).await, 60, "the money ends first");
        assert!(!extend(&app, &call, 61).await);
        settle(&app, &call, spent(30)).await;
        let next = Wanted { id: RecordId::new(), ..call.clone() };
        assert_eq!(granted(&app, &next).await, 20);
        settle(&app, &next, spent(16)).await;
        let last = Wanted { id: RecordId::new(), ..call.clone() };
        assert_eq!(refused(&app, &last).await, "money");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_ask_for_more_while_there_is_more() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let limits = [limit("day", Per::Tenant, Unit::Tokens, 100, Period::Day)];
        let call = wanted(&tenant, 20, &limits);
        assert!(!extend(&app, &call, 30).await, "nothing is reserved yet");
        granted(&app, &call).await;
        assert!(extend(&app, &call, 50).await && extend(&app, &call, 50).await && extend(&app, &call, 30).await);
        assert_eq!(refused(&app, &wanted(&tenant, 31, &limits)).await, "day", "60 of 100 are reserved");
        assert!(!extend(&app, &call, 91).await);
        assert!(extend(&app, &call, 90).await);
        settle(&app, &call, spent(95)).await;
        assert!(!extend(&app, &call, 20).await, "it has ended");
        assert_eq!(refused(&app, &wanted(&tenant, 0, &limits)).await, "day", "more was used than there was");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_a_budget_of_its_own() {
    for app in apps().await {
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        for per in [Per::Tenant, Per::User, Per::Credential, Per::Route] {
            let limits = [limit(&format!("{per:?}"), per, Unit::Tokens, 30, Period::Day)];
            let call = |tenant| wanted(tenant, 20, &limits);
            granted(&app, &call(&farm)).await;
            granted(&app, &call(&mill)).await;
            refused(&app, &call(&farm)).await;
            let another = [
                (Per::User, Wanted { user: "berta".into(), ..call(&farm) }),
                (Per::Credential, Wanted { credential: "session".into(), ..call(&farm) }),
                (Per::Route, Wanted { route: "/other".into(), ..call(&farm) }),
            ];
            for (of, call) in another {
                let fits = matches!(reserve(&app, &call).await, Reserved::Granted { .. });
                assert_eq!(fits, of == per, "{per:?}: a budget per {of:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_ends_a_month_ends_and_a_rate_wears_off() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        for (period, soon, later) in
            [(Period::Minute, 30 * SECOND, MINUTE), (Period::Day, 15 * HOUR, 16 * HOUR), (Period::Month, 8 * DAY, 10 * DAY)]
        {
            let limits = [limit(&format!("{period:?}"), Per::Tenant, Unit::Tokens, 100, period)];
            let call = wanted(&tenant, 90, &limits);
            granted(&app, &call).await;
            settle(&app, &call, spent(90)).await;
            let start = app.clock().now();
            pass(&app, soon);
            refused(&app, &wanted(&tenant, 60, &limits)).await;
            app.clock().shift(start.0 - app.clock().now().0);
            pass(&app, later);
            granted(&app, &wanted(&tenant, 60, &limits)).await;
            app.clock().shift(start.0 - app.clock().now().0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_declares_anew_counts_from_now_on() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let with = |unit, most, period| [limit("all", Per::Tenant, unit, most, period)];
        let call = wanted(&tenant, 80, &with(Unit::Tokens, 100, Period::Day));
        granted(&app, &call).await;
        refused(&app, &wanted(&tenant, 20, &with(Unit::Tokens, 100, Period::Day))).await;
        granted(&app, &wanted(&tenant, 20, &with(Unit::Tokens, 120, Period::Day))).await;
        let money = with(Unit::Nano, 100, Period::Day);
        granted(&app, &wanted(&tenant, 90, &money)).await;
        settle(&app, &call, spent(80)).await;
        refused(&app, &wanted(&tenant, 0, &money)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_are_kept_bounded() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let model = format!("a\u{0}b\u{202e}\n{}", "ß".repeat(5_000));
        let limits = [limit("user", Per::User, Unit::Tokens, i64::MAX, Period::Minute)];
        let user = "\u{0}".repeat(3).into();
        let call = Wanted { model: model.into(), user, ..wanted(&tenant, i64::MAX, &limits) };
        let call = Wanted { least: 0, ..call };
        granted(&app, &call).await;
        settle(&app, &call, Spent { cost_nano: i64::MAX, ..spent(i64::MAX - 10) }).await;
        let again = Wanted { id: RecordId::new(), least: 0, ..call.clone() };
        reserve(&app, &again).await;
        let model = records(&app, &tenant).await[0]["model"].as_str().expect("a model").to_owned();
        assert!(model.len() <= 200 && !model.contains('\u{0}'), "{model}");
    }
}
