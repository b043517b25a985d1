use serde_json::{Value, json};

use crate::{Item, Movement, TOP, TRENDING, apps, figures, tell};

fn skus(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().expect("items").iter().map(|item| item["sku"].as_str().expect("a SKU")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_top_items_are_ranked_by_what_is_asked_for() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (many, dear, quick, none) = (Item::new("MANY"), Item::new("DEAR"), Item::new("QUICK"), Item::new("NONE"));
        let sold = |delta, on: &str, amount| Movement { delta, reason: "sold", on: on.to_owned(), amount };
        tell(
            &app,
            &tenant,
            [
                many.created(),
                dear.created(),
                quick.created(),
                none.created(),
                many.opened(500, "2026-09-01"),
                many.moved(&sold(-60, "2026-11-01", Some(600))),
                many.moved(&sold(-60, "2026-11-20", None)),
                many.moved(&sold(-999, "2026-09-02", Some(1))),
                dear.opened(10, "2026-11-01"),
                dear.moved(&sold(-2, "2026-11-10", Some(90_000))),
                quick.opened(100, "2026-11-19"),
                quick.moved(&sold(-50, "2026-11-20", Some(500))),
                none.opened(5, "2026-11-01"),
            ],
        )
        .await;
        let ask = |by| format!("{TOP}?by={by}&from=2026-11-01&to=2026-11-21");
        let by_quantity = figures(&app, &tenant, &ask("quantity")).await;
        assert_eq!(skus(&by_quantity), ["MANY", "QUICK", "DEAR"]);
        assert_eq!(by_quantity["unitsOut"], 172);
        assert_eq!(skus(&figures(&app, &tenant, &ask("value")).await), ["DEAR", "MANY", "QUICK"]);
        let by_velocity = figures(&app, &tenant, &ask("velocity")).await;
        assert_eq!(skus(&by_velocity), ["QUICK", "MANY", "DEAR"]);
        let quick_one = json!({
            "itemId": quick.id, "sku": "QUICK", "name": "QUICK by name", "unit": "piece", "deleted": false,
            "quantity": 50, "unitsOut": 50, "amountOut": 500, "share": 0.290_698,
            // Three days since its first movement; the fifty that are left last as long again.
            "unitsPerDay": 16.666_667, "stockOutOn": "2026-11-24",
        });
        assert_eq!(by_velocity["items"][0], quick_one);
        assert_eq!(by_velocity["items"][1]["unitsPerDay"], 5.714_286);
        assert_eq!(by_velocity["items"][1]["stockOutOn"], "2026-11-21", "below zero it is used up today");

        assert_eq!(skus(&figures(&app, &tenant, &format!("{}&limit=1", ask("value"))).await), ["DEAR"]);
        tell(&app, &tenant, [quick.deleted()]).await;
        let after = figures(&app, &tenant, &ask("velocity")).await;
        assert_eq!(skus(&after), ["QUICK", "MANY", "DEAR"], "its demand stays in the history");
        assert_eq!((&after["items"][0]["deleted"], &after["items"][0]["stockOutOn"]), (&json!(true), &json!(null)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trends_are_the_steepest_first_and_ties_have_an_order() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (up, down, twin, other) = (Item::new("UP"), Item::new("DOWN"), Item::new("TWIN"), Item::new("OTHER"));
        let days = ["2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"];
        let mut events = vec![up.created(), down.created(), twin.created(), other.created()];
        for (place, day) in days.into_iter().enumerate() {
            events.push(up.sold(10 + 2 * place as i64, day));
            events.push(down.sold(20 - 3 * place as i64, day));
            events.extend([twin.sold(4, day), other.sold(4, day)]);
        }
        // A wild day does not move the slope.
        events.push(up.sold(5_000, "2026-11-19"));
        tell(&app, &tenant, events).await;
        let answer = figures(&app, &tenant, &format!("{TRENDING}?from=2026-11-17&to=2026-11-21")).await;
        assert_eq!(skus(&answer), ["UP", "TWIN", "OTHER", "DOWN"]);
        let slopes: Vec<&Value> = answer["items"].as_array().expect("items").iter().map(|item| &item["slope"]).collect();
        assert_eq!(json!(slopes), json!([2.0, 0.0, 0.0, -3.0]));
        let ways: Vec<&Value> = answer["items"].as_array().expect("items").iter().map(|item| &item["direction"]).collect();
        assert_eq!(json!(ways), json!(["up", "flat", "flat", "down"]));
        assert_eq!((&answer["bucketDays"], &answer["considered"]), (&json!(1), &json!(4)));
        assert_eq!(answer["unitsOut"], 70 + 5_000 + 70 + 40);
        assert_eq!(answer["items"][3]["share"], 0.013_514);
        assert_eq!(skus(&figures(&app, &tenant, &format!("{TRENDING}?from=2026-11-17&limit=2")).await), ["UP", "TWIN"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let windows = [
            "from=2026-11-21&to=2026-11-20", "from=2026-02-30", "to=2026-13-01", "from=yesterday", "from=20261101",
            "from=2026-11-01T00:00:00Z", "from=", "to=-2026-01-01", "from=1900-01-01", "from=0000-01-01&to=9999-12-31",
            "from=2016-11-13&to=2026-11-21", "to=0000-01-01", "form=2026-11-01", "from=2026-11-01&from=2026-11-02",
            "from=2026-11-01%00", "from=%F0%9F%8D%8E", "limit[]=1", "tenant=other",
        ];
        let limits = ["limit=0", "limit=101", "limit=-1", "limit=1.5", "limit=", "limit=99999999999999999999", "limit=ten"];
        for path in [crate::SUMMARY, TRENDING, TOP] {
            for query in windows.iter().chain(&limits) {
                let answer = crate::ask(&app, &tenant, &format!("{path}?{query}")).await;
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "request.invalid_query"), "{path}?{query}");
            }
        }
        for query in ["by=", "by=Quantity", "by=money", "by=quantity&by=value"] {
            crate::ask(&app, &tenant, &format!("{TOP}?{query}")).await.expect(400);
        }
        for path in [crate::SUMMARY, TRENDING, TOP] {
            figures(&app, &tenant, &format!("{path}?from=2016-11-14&to=2026-11-21")).await;
            figures(&app, &tenant, &format!("{path}?from=9999-12-01&to=9999-12-31")).await;
            figures(&app, &tenant, &format!("{path}?from=0000-01-01&to=0000-01-31")).await;
        }
    }
}
