//! Many at once: whatever they do, a budget is not overshot and nothing is lost.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_do_not_overshoot_one_small_budget() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let own = budget(&app, &tenant, json!({ "name": "own", "per": "tenant", "period": "total", "nano": 115 })).await;
        let limits = [
            limit("user", Per::User, Unit::Tokens, 10_000, Period::Month),
            limit("all", Per::Tenant, Unit::Tokens, 100, Period::Day),
        ];
        let calls: Vec<Wanted> = (0..64)
            .map(|number| Wanted { user: format!("user {number}").into(), ..wanted(&tenant, 10, &limits) })
            .collect();
        let tries = calls.iter().map(|call| {
            let (store, call) = (app.store().clone(), call.clone());
            tokio::spawn(async move { usage::reserve(&store, &call).await.expect("the ledger answers") })
        });
        let tries: Vec<_> = tries.collect();
        let mut open = Vec::new();
        for (call, tried) in calls.iter().zip(tries) {
            match tried.await.expect("it ends") {
                Reserved::Granted { .. } => open.push(call.clone()),
                Reserved::Exhausted(exhausted) => assert_eq!(exhausted.budget, "all"),
            }
        }
        assert_eq!(open.len(), 5, "100 tokens are room for five calls of 20");
        assert_eq!(standing(&app, &tenant, &own).await, (0, 100));
        let ends = open.iter().map(|call| {
            let (store, call) = (app.store().clone(), call.clone());
            tokio::spawn(async move { usage::settle(&store, call.tenant, call.id, spent(3)).await })
        });
        for end in ends.collect::<Vec<_>>() {
            end.await.expect("it ends").expect("settled");
        }
        assert_eq!(standing(&app, &tenant, &own).await, (65, 0));
        let total = read(&app, &tenant, SUMMARY).await["total"].clone();
        assert_eq!((&total["calls"], &total["tokens"], &total["costNano"]), (&json!(5), &json!(65), &json!(65)));
        assert_eq!(told(&app, &tenant, "usage.budget_exhausted").await.len(), 1, "once in its period");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_asked_for_many_times_at_once_is_one_call() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = budget(&app, &tenant, json!({ "name": "own", "per": "user", "period": "day", "tokens": 100 })).await;
        let call = wanted(&tenant, 20, &[]);
        let tries: Vec<_> = (0..16)
            .map(|_| {
                let (store, call) = (app.store().clone(), call.clone());
                tokio::spawn(async move { usage::reserve(&store, &call).await })
            })
            .collect();
        for tried in tries {
            let reserved = tried.await.expect("it ends").expect("the ledger answers");
            assert_eq!(reserved, Reserved::Granted { answer: 20 });
        }
        assert_eq!(standing(&app, &tenant, &path).await, (0, 30));
        let ends: Vec<_> = (0..16)
            .map(|number| {
                let (store, call) = (app.store().clone(), call.clone());
                tokio::spawn(async move {
                    match number % 3 {
                        0 => usage::settle(&store, call.tenant, call.id, spent(20)).await,
                        1 => usage::extend(&store, call.tenant, call.id, spent(20).tokens, 30).await.map(|_| ()),
                        _ => usage::settle(&store, call.tenant, call.id, spent(20)).await,
                    }
                })
            })
            .collect();
        for end in ends {
            end.await.expect("it ends").expect("done");
        }
        assert_eq!(standing(&app, &tenant, &path).await, (30, 0));
        assert_eq!(told(&app, &tenant, "usage.recorded").await.len(), 1);
    }
}
