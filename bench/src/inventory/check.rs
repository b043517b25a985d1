//! Whether all systems answer alike, before anything is compared. Not for how fast.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::requests::{PAGE, item, page};
use super::system::System;
use crate::Outcome;
use crate::client::{Answer, Connection, get};

/// An item that is changed here and there.
const CHANGED: usize = 4_321;

/// Fails where one of them answers otherwise than the first.
pub fn alike(systems: &[System]) -> Outcome {
    let mut first: Option<(&str, Value)> = None;
    for system in systems {
        let seen = system.running(seen)?;
        match &first {
            None => first = Some((system.kind().name(), seen)),
            Some((name, expected)) if *expected != seen => {
                let other = system.kind().name();
                return Err(format!("{other} does not answer as {name} does: {seen} instead of {expected}").into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Returns what a system shows of itself, without what may differ: ids, times, versions, stock.
fn seen(system: &System) -> Outcome<Value> {
    let mut connection = Connection::open(system.address())?;
    let requests = system.requests();
    let mut answer = |request: Vec<u8>| connection.send(&request);
    let list = answer(requests.ask(&page(None)))?;
    let (status, list) = (list.status, data(&list)?);
    let items = list["items"].as_array().cloned().unwrap_or_default();
    if items.len() != PAGE || list["next"].as_str().is_none() {
        return Err(format!("a page of {} items, next {}", items.len(), list["next"]).into());
    }
    let skus: Vec<&Value> = items.iter().map(|item| &item["sku"]).collect();

    let before = answer(requests.ask(&item(CHANGED)))?;
    let before = (before.status, data(&before)?);
    let (taken, given) = (answer(requests.adjust(CHANGED, -7))?, answer(requests.adjust(CHANGED, 7))?);
    let short = answer(requests.adjust(CHANGED, -100_000_000))?;
    let (taken, given) = ((taken.status, data(&taken)?), (given.status, data(&given)?));
    let after = data(&answer(requests.ask(&item(CHANGED)))?)?;
    let quantity = |item: &Value| item["quantity"].as_i64().ok_or("an item without a quantity");
    let stock = quantity(&before.1)?;
    let moved = [quantity(&taken.1["item"])? - stock, quantity(&given.1["item"])? - stock, quantity(&after)? - stock];

    let refused = [
        answer(get(&item(1), None))?.status,
        answer(requests.ask("/api/inventory/01900000-0000-7000-8000-00000fffffff"))?.status,
        answer(requests.tell(&format!("{}/adjust", item(1)), r#"{"delta":"7","reason":"sold"}"#))?.status,
        answer(requests.tell("/api/inventory", r#"{"sku":"sku-1","name":"Taken"}"#))?.status,
        answer(requests.tell("/api/inventory", r#"{"sku":"","name":"Nothing"}"#))?.status,
    ];
    Ok(json!({
        "list": [status, skus, fields(&items[0])],
        "get": [before.0, before.1["sku"], before.1["name"], fields(&before.1)],
        "adjust": [taken.0, given.0, moved, fields(&taken.1["item"]), fields(&taken.1["movement"]), taken.1["movement"]["delta"]],
        "short": [short.status, short.text_of_error()],
        "refused": refused,
    }))
}

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// Returns the data of an answer, in its envelope or, where the gateway is left out, as it is.
pub fn data(answer: &Answer) -> Outcome<Value> {
    let mut body: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("{} with {}: {error}", answer.status, String::from_utf8_lossy(&answer.body)))?;
    Ok(if body["success"].is_boolean() { body["data"].take() } else { body })
}

impl Answer {
    /// Returns the code of a problem, in its envelope or as it is.
    fn text_of_error(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let problem = if body["error"].is_object() { &body["error"] } else { &body };
        problem["code"].as_str().map(str::to_owned)
    }
}
