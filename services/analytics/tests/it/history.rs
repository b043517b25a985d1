//! Random movements: the answers against a computation that knows nothing of the service, and the same
//! answers after the events came again.

use std::collections::BTreeMap;

use contracts::Day;
use serde_json::{Value, json};
use store::Event;
use testkit::{TestApp, TestTenant};

use crate::{Item, Movement, SUMMARY, TOP, TRENDING, apps, figures, tell, without_place};

const ITEMS: usize = 12;
/// The windows that are compared: a month, a day, three years by weeks, and a year by days.
const WINDOWS: [(&str, &str); 4] = [
    ("2026-10-23", "2026-11-21"),
    ("2026-11-02", "2026-11-02"),
    ("2023-11-20", "2026-11-21"),
    ("2025-11-22", "2026-11-21"),
];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn day(text: &str) -> i64 {
    Day::parse(text).expect("a day").number()
}

fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// What was done, and the events that say so.
struct World {
    items: Vec<Item>,
    moved: Vec<Vec<Movement>>,
    deleted: Vec<bool>,
    events: Vec<Event>,
}

fn world(movements: usize) -> World {
    let mut dice = Dice(0x5eed);
    let mut items = Vec::new();
    for number in 0..ITEMS {
        let mut item = Item::new(&format!("SKU-{number}"));
        item.cost = (dice.below(3) > 0).then(|| dice.below(1_000) as i64);
        item.level = (dice.below(2) > 0).then(|| dice.below(200) as i64);
        items.push(item);
    }
    let mut events: Vec<Event> = items.iter().map(Item::created).collect();
    let (mut moved, mut deleted) = (vec![Vec::new(); ITEMS], vec![false; ITEMS]);
    let today = Day::parse("2026-11-21").expect("a day");
    for _ in 0..movements {
        let which = dice.below(ITEMS as u64) as usize;
        let reason = ["opening", "received", "sold", "sold", "sold", "consumed", "returned", "damaged", "counted"]
            [dice.below(9) as usize];
        let most = if dice.below(4) == 0 { 1_200 } else { 40 };
        let on = today.later(-(dice.below(most) as i64)).expect("a day").to_string();
        let units = 1 + dice.below(30) as i64;
        let amount = (dice.below(4) > 0).then(|| dice.below(5_000) as i64);
        // Now and then something is taken back.
        let out = matches!(reason, "sold" | "consumed" | "damaged") != (dice.below(20) == 0);
        let movement = Movement { delta: if out { -units } else { units }, reason, on, amount };
        events.push(items[which].moved(&movement));
        moved[which].push(movement);
        if dice.below(100) == 0 {
            let item = &items[which];
            events.push(if deleted[which] { item.restored() } else { item.deleted() });
            deleted[which] = !deleted[which];
        }
        if dice.below(50) == 0 {
            events.push(items[which].updated());
        }
    }
    World { items, moved, deleted, events }
}

impl World {
    fn demand(&self, which: usize, on: impl Fn(i64) -> bool) -> i64 {
        let some = self.moved[which].iter().filter(|movement| on(day(&movement.on)));
        some.filter(|movement| matches!(movement.reason, "sold" | "consumed")).map(|movement| -movement.delta).sum()
    }

    fn stock(&self, which: usize, until: i64) -> i64 {
        self.moved[which].iter().filter(|movement| day(&movement.on) <= until).map(|movement| movement.delta).sum()
    }

    fn summary(&self, from: &str, to: &str) -> Value {
        let within = |on: i64| (day(from)..=day(to)).contains(&on);
        let live: Vec<usize> = (0..ITEMS).filter(|which| !self.deleted[*which]).collect();
        let stock = |which: usize| self.stock(which, i64::MAX);
        let all: Vec<&Movement> = self.moved.iter().flatten().filter(|movement| within(day(&movement.on))).collect();
        let of = |reasons: &[&str]| -> Vec<&&Movement> {
            all.iter().filter(|movement| reasons.contains(&movement.reason)).collect()
        };
        let units = |some: &[&&Movement]| -> i64 { some.iter().map(|movement| movement.delta).sum() };
        let worth = |some: &[&&Movement]| -> i64 {
            some.iter().map(|movement| movement.amount.unwrap_or(0) * movement.delta.signum()).sum()
        };
        let (came, went) = (of(&["received", "returned"]), of(&["sold", "consumed"]));
        let unpriced: i64 = went.iter().filter(|movement| movement.amount.is_none()).map(|movement| -movement.delta).sum();
        let demand: i64 = live.iter().map(|which| self.demand(*which, within)).sum();
        let stock_days: i64 =
            live.iter().flat_map(|which| (day(from)..=day(to)).map(|on| self.stock(*which, on))).sum();
        let on_hand: i64 = live.iter().map(|which| stock(*which)).sum();
        let days = day(to) - day(from) + 1;
        let dead = live.iter().filter(|which| stock(**which) > 0 && self.demand(**which, within) <= 0).count();
        let short = live.iter().filter(|which| self.items[**which].level.is_some_and(|level| stock(**which) <= level));
        json!({
            "from": from, "to": to,
            "items": ITEMS, "liveItems": live.len(), "outOfStock": live.iter().filter(|which| stock(**which) <= 0).count(),
            "short": short.count(), "deadStock": dead, "unitsOnHand": on_hand,
            "stockValue": live.iter().map(|which| stock(*which) * self.items[*which].cost.unwrap_or(0)).sum::<i64>(),
            "itemsWithoutCost": live.iter().filter(|which| self.items[**which].cost.is_none()).count(),
            "movements": all.len(), "unitsIn": units(&came), "unitsOut": -units(&went),
            "unitsCorrected": units(&of(&["opening", "counted", "damaged"])),
            "amountIn": worth(&came), "amountOut": -worth(&went), "unitsOutWithoutAmount": unpriced,
            "turnsPerYear": (stock_days > 0).then(|| rounded(demand as f64 * 365.0 / stock_days as f64)),
            "daysOfCover": (demand > 0).then(|| rounded(on_hand.max(0) as f64 * days as f64 / demand as f64)),
        })
    }

    /// Returns the SKUs and figures of the trends, the way a statistician would write it down.
    fn trending(&self, from: &str, to: &str) -> Vec<(String, f64, i64)> {
        let (first, last) = (day(from), day(to));
        let step = if last - first + 1 > 400 { 7 } else { 1 };
        let mut trends = Vec::new();
        for which in 0..ITEMS {
            let total = self.demand(which, |on| (first..=last).contains(&on));
            if total <= 0 {
                continue;
            }
            let mut series = BTreeMap::new();
            let mut end = last;
            while end - step + 1 >= first {
                series.insert(end, self.demand(which, |on| (end - step + 1..=end).contains(&on)) as f64 / step as f64);
                end -= step;
            }
            let points: Vec<(i64, f64)> = series.into_iter().collect();
            let mut slopes = Vec::new();
            for (place, one) in points.iter().enumerate() {
                slopes.extend(points[place + 1..].iter().map(|other| (other.1 - one.1) / (other.0 - one.0) as f64));
            }
            slopes.sort_by(f64::total_cmp);
            let middle = slopes.len() / 2;
            let slope = match slopes.len() {
                0 => 0.0,
                odd if odd % 2 == 1 => slopes[middle],
                _ => (slopes[middle - 1] + slopes[middle]) / 2.0,
            };
            trends.push((which, rounded(slope) + 0.0, total));
        }
        trends.sort_by(|one, other| {
            other.1.total_cmp(&one.1).then(other.2.cmp(&one.2)).then(self.items[one.0].id.cmp(&self.items[other.0].id))
        });
        trends.into_iter().map(|(which, slope, total)| (self.items[which].sku.clone(), slope, total)).collect()
    }

    fn top(&self, by: &str, from: &str, to: &str) -> Vec<(String, i64, i64)> {
        let (first, last) = (day(from), day(to));
        let mut ranked = Vec::new();
        for which in 0..ITEMS {
            let within = |on: i64| (first..=last).contains(&on);
            let demand = self.demand(which, within);
            let sold = self.moved[which].iter().filter(|movement| {
                within(day(&movement.on)) && matches!(movement.reason, "sold" | "consumed")
            });
            let worth: i64 = sold.map(|movement| -movement.delta.signum() * movement.amount.unwrap_or(0)).sum();
            let known = self.moved[which].iter().map(|movement| day(&movement.on)).min().unwrap_or(first);
            let days = last + 1 - known.max(first);
            let rank = match by {
                "quantity" => demand as f64,
                "value" => worth as f64,
                _ => demand as f64 / days as f64,
            };
            let some = if by == "value" { worth } else { demand };
            if some > 0 {
                ranked.push((which, rank, demand, worth));
            }
        }
        ranked.sort_by(|one, other| {
            other.1.total_cmp(&one.1).then(self.items[one.0].id.cmp(&self.items[other.0].id))
        });
        ranked.into_iter().map(|(which, _, demand, worth)| (self.items[which].sku.clone(), demand, worth)).collect()
    }
}

async fn all_answers(app: &TestApp, tenant: &TestTenant, windows: &[(&str, &str)]) -> Vec<Value> {
    let mut answers = Vec::new();
    for (from, to) in windows {
        for target in [
            format!("{SUMMARY}?from={from}&to={to}"),
            format!("{TRENDING}?limit=100&from={from}&to={to}"),
            format!("{TOP}?by=quantity&limit=100&from={from}&to={to}"),
            format!("{TOP}?by=value&limit=100&from={from}&to={to}"),
            format!("{TOP}?by=velocity&limit=100&from={from}&to={to}"),
        ] {
            answers.push(figures(app, tenant, &target).await);
        }
    }
    answers
}

fn rows<'a>(answer: &'a Value, names: [&str; 3]) -> Vec<(String, &'a Value, &'a Value)> {
    let items = answer["items"].as_array().expect("items").iter();
    items.map(|item| (item[names[0]].as_str().expect("text").to_owned(), &item[names[1]], &item[names[2]])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_agrees_with_a_plain_computation() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let mut world = world(1_200);
        tell(&app, &tenant, std::mem::take(&mut world.events)).await;
        let answers = all_answers(&app, &tenant, &WINDOWS).await;
        for ((from, to), answers) in WINDOWS.into_iter().zip(answers.chunks(5)) {
            assert_eq!(without_place(answers[0].clone()), world.summary(from, to), "{from} to {to}");
            let wanted = world.trending(from, to);
            let wanted: Vec<_> = wanted.iter().map(|(sku, slope, units)| (sku.clone(), json!(slope), json!(units))).collect();
            let got: Vec<_> = rows(&answers[1], ["sku", "slope", "unitsOut"]);
            let got: Vec<_> = got.into_iter().map(|(sku, slope, units)| (sku, slope.clone(), units.clone())).collect();
            assert_eq!(got, wanted, "{from} to {to}");
            for (by, answer) in ["quantity", "value", "velocity"].into_iter().zip(&answers[2..]) {
                let wanted = world.top(by, from, to);
                let wanted: Vec<_> = wanted.iter().map(|(sku, units, worth)| (sku.clone(), json!(units), json!(worth))).collect();
                let got = rows(answer, ["sku", "unitsOut", "amountOut"]);
                let got: Vec<_> = got.into_iter().map(|(sku, units, worth)| (sku, units.clone(), worth.clone())).collect();
                assert_eq!(got, wanted, "{by} {from} to {to}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_again_change_nothing() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        tell(&app, &tenant, world(200).events).await;
        tell(&app, &other, world(50).events).await;
        let before = (all_answers(&app, &tenant, &WINDOWS[..3]).await, all_answers(&app, &other, &WINDOWS[..1]).await);
        let end = before.0[0]["asOf"]["position"].as_i64().expect("a position");
        for from in [0, end / 2, end - 1] {
            again(&app, from).await;
            assert_eq!((all_answers(&app, &tenant, &WINDOWS[..3]).await, all_answers(&app, &other, &WINDOWS[..1]).await), before, "from {from}");
        }
    }
}

async fn again(app: &TestApp, from: i64) {
    let known = analytics::service().subscriptions;
    let replayed = events::replay(app.store(), &known, "analytics.inventory", from, None, false).await;
    assert!(replayed.expect("replayed").events > 0);
    app.settle().await;
}

/// Rows are lost, or say something else: a replay from the start mends them.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_from_the_start_makes_everything_anew() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        tell(&app, &tenant, world(200).events).await;
        let before = all_answers(&app, &tenant, &WINDOWS[..3]).await;
        let all_gone = "DELETE FROM analytics_item_day; DELETE FROM analytics_item; DELETE FROM analytics_progress";
        let days_gone = "DELETE FROM analytics_item_day";
        let wrong = "UPDATE analytics_item_day SET out_quantity = 77, movements = 3; \
                     UPDATE analytics_item SET quantity = -1, deleted = TRUE, first_day = 0, last_version = 1000000";
        for harm in [all_gone, days_gone, wrong] {
            app.execute(harm).await;
            assert_ne!(all_answers(&app, &tenant, &WINDOWS[..3]).await, before, "{harm}");
            again(&app, 0).await;
            assert_eq!(all_answers(&app, &tenant, &WINDOWS[..3]).await, before, "{harm}");
        }
    }
}
