use serde_json::json;

use crate::{Item, Movement, SUMMARY, apps, figures, tell, without_place, write};

fn moved(delta: i64, reason: &'static str, on: &str, amount: Option<i64>) -> Movement {
    Movement { delta, reason, on: on.to_owned(), amount }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_counts_what_happened() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let nothing = without_place(figures(&app, &tenant, SUMMARY).await);
        assert_eq!((&nothing["items"], &nothing["turnsPerYear"], &nothing["daysOfCover"]), (&json!(0), &json!(null), &json!(null)));
        assert_eq!((&nothing["from"], &nothing["to"]), (&json!("2026-10-23"), &json!("2026-11-21")));

        let feed = Item { level: Some(50), cost: Some(250), ..Item::new("FEED") };
        let salt = Item { level: Some(5), ..Item::new("SALT") };
        let (hay, gone) = (Item { cost: Some(3), ..Item::new("HAY") }, Item { cost: Some(9), ..Item::new("GONE") });
        tell(
            &app,
            &tenant,
            [
                feed.created(),
                salt.created(),
                hay.created(),
                gone.created(),
                feed.opened(100, "2026-11-01"),
                feed.moved(&moved(-40, "sold", "2026-11-10", Some(12_000))),
                feed.moved(&moved(-20, "consumed", "2026-11-11", None)),
                feed.moved(&moved(5, "sold", "2026-11-11", Some(1_500))),
                feed.moved(&moved(7, "received", "2026-11-12", Some(700))),
                feed.moved(&moved(-2, "damaged", "2026-11-12", None)),
                salt.opened(4, "2026-11-01"),
                salt.moved(&moved(-4, "counted", "2026-11-02", None)),
                hay.opened(1_000, "2026-01-01"),
                hay.sold(10, "2026-02-01"),
                gone.opened(70, "2026-11-01"),
                gone.sold(30, "2026-11-05"),
                gone.deleted(),
            ],
        )
        .await;
        let november = figures(&app, &tenant, &format!("{SUMMARY}?from=2026-11-01&to=2026-11-20")).await;
        // Of live items: feed 100 to the 9th, 60 on the 10th, 45 on the 11th, 50 from then on; salt 4 on the 1st; hay 990.
        let stock_days = 9.0 * 100.0 + 60.0 + 45.0 + 9.0 * 50.0 + 4.0 + 20.0 * 990.0;
        let rounded = |number: f64| (number * 1e6).round() / 1e6;
        let wanted = json!({
            "from": "2026-11-01", "to": "2026-11-20",
            "items": 4, "liveItems": 3, "outOfStock": 1, "short": 2, "deadStock": 1,
            "unitsOnHand": 50 + 990, "stockValue": 50 * 250 + 990 * 3, "itemsWithoutCost": 1,
            "movements": 10, "unitsIn": 7, "unitsOut": 40 + 20 - 5 + 30, "unitsCorrected": 100 - 2 + 4 - 4 + 70,
            "amountIn": 700, "amountOut": 12_000 - 1_500, "unitsOutWithoutAmount": 20 + 30,
            "turnsPerYear": rounded(55.0 * 365.0 / stock_days), "daysOfCover": rounded(1_040.0 * 20.0 / 55.0),
        });
        assert_eq!(without_place(november), wanted);

        // What is deleted keeps its history, and comes back with its stock.
        tell(&app, &tenant, [gone.restored()]).await;
        let restored = figures(&app, &tenant, &format!("{SUMMARY}?from=2026-11-01&to=2026-11-20")).await;
        assert_eq!((&restored["liveItems"], &restored["unitsOnHand"]), (&json!(4), &json!(1_080)));
        assert_eq!((&restored["unitsOut"], &restored["stockValue"]), (&json!(85), &json!(15_470 + 360)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_up_to_where_it_knows_and_whether_there_is_more() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let first = figures(&app, &tenant, SUMMARY).await["asOf"].clone();
        assert_eq!(first, json!({ "position": 0, "at": null, "lagging": false }));
        let item = Item::new("A");
        write(&app, &tenant, [item.created()]).await;
        app.relay().await;
        assert_eq!(figures(&app, &tenant, SUMMARY).await["asOf"]["lagging"], true);
        app.settle().await;
        let then = figures(&app, &tenant, SUMMARY).await["asOf"].clone();
        assert_eq!((&then["lagging"], &then["at"]), (&json!(false), &json!("2026-11-21T08:00:00.000000Z")));
        assert!(then["position"].as_i64() > Some(0), "{then}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_and_whoever_may_not_sees_nothing() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let item = Item::new("A");
        tell(&app, &tenant, [item.created(), item.opened(10, "2026-11-20"), item.sold(4, "2026-11-21")]).await;
        for path in [crate::SUMMARY, crate::TRENDING, crate::TOP] {
            let own = figures(&app, &tenant, path).await;
            assert_eq!(own["unitsOut"], 4, "{path}");
            let others = figures(&app, &other, path).await;
            assert_eq!((&others["unitsOut"], others["asOf"]["position"].as_i64()), (&json!(0), Some(0)), "{path}");
            assert!(!others.to_string().contains(&item.id.to_string()));
            let without = app.token_without(&tenant, "analytics.inventory.read");
            app.get(path).token(&without).send().await.expect(403);
            app.get(path).send().await.expect(401);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_64_bits_do_not_hold_are_the_nearest_that_they_do() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let most = 9_000_000_000_000_000;
        let mut events = Vec::new();
        for number in 0..1_100 {
            let item = Item { cost: Some(most), ..Item::new(&format!("I-{number}")) };
            item.quantity.store(most, std::sync::atomic::Ordering::SeqCst);
            events.push(item.created());
        }
        tell(&app, &tenant, events).await;
        let summary = figures(&app, &tenant, SUMMARY).await;
        assert_eq!((&summary["unitsOnHand"], &summary["stockValue"]), (&json!(i64::MAX), &json!(i64::MAX)));
    }
}
