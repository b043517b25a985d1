//! Compares what the clients know with what the server has, and says what is lost and what is
//! wrong. Pure, so that `control` can show that it sees each fault. Not for reading.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::book::{Book, Deed, Entry, Fate, Operation};

/// A row as the list gives it.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: String,
    pub name: String,
    pub quantity: i64,
    pub version: i64,
    pub deleted: bool,
}

/// A line of an item's ledger.
#[derive(Clone, Debug)]
pub struct Line {
    pub note: String,
    pub delta: i64,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub position: i64,
    pub id: String,
    pub kind: String,
    pub subject: String,
    pub version: i64,
    pub request_id: String,
    pub data: Value,
}

/// An item as the server has it.
#[derive(Clone, Debug)]
pub struct Found {
    pub row: Row,
    pub ledger: Vec<Line>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Acknowledged, and gone.
    Lost(String),
    /// Anything else: twice, never asked for, or not adding up.
    Wrong(String),
}

impl Fault {
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(i64::MIN)
}

impl Row {
    /// Reads an item as the API gives it.
    pub fn read(item: &Value) -> Self {
        Self {
            id: text(&item["id"]),
            name: text(&item["name"]),
            quantity: number(&item["quantity"]),
            version: number(&item["version"]),
            deleted: !item["deletedAt"].is_null(),
        }
    }
}

impl Line {
    /// Reads a movement as the API gives it.
    pub fn read(movement: &Value) -> Self {
        Self { note: text(&movement["note"]), delta: number(&movement["delta"]) }
    }
}

impl Event {
    /// Reads an event as the API gives it.
    pub fn read(event: &Value) -> Self {
        Self {
            position: number(&event["position"]),
            id: text(&event["id"]),
            kind: text(&event["type"]),
            subject: text(&event["subject"]),
            version: number(&event["subjectVersion"]),
            request_id: text(&event["requestId"]),
            data: event["data"].clone(),
        }
    }
}

/// The log, in the order in which it was read.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub events: Vec<Event>,
    by_subject: BTreeMap<String, Vec<usize>>,
    by_request: BTreeSet<String>,
    ids: BTreeSet<String>,
    pub faults: Vec<Fault>,
}

impl Log {
    /// Adds an event; positions must rise, and no event may come twice.
    pub fn add(&mut self, event: Event) {
        if event.position <= self.last_position() {
            let last = self.last_position();
            let told = format!("position {} came after {last}", event.position);
            self.faults.push(Fault::Wrong(told));
        }
        if !self.ids.insert(event.id.clone()) {
            let told = format!("the event {} came twice", event.id);
            self.faults.push(Fault::Wrong(told));
        }
        self.by_request.insert(event.request_id.clone());
        let place = self.events.len();
        let of_subject = self.by_subject.entry(event.subject.clone());
        of_subject.or_default().push(place);
        self.events.push(event);
    }

    /// Returns the newest position.
    pub fn last_position(&self) -> i64 {
        self.events.last().map_or(0, |event| event.position)
    }

    /// Says whether there is an event of this request.
    pub fn has_request(&self, id: &str) -> bool {
        self.by_request.contains(id)
    }

    fn about(&self, subject: &str) -> impl Iterator<Item = &Event> {
        let places = self.by_subject.get(subject).into_iter().flatten();
        places.map(|place| &self.events[*place])
    }
}

/// Checks an item while some of its operations have no answer yet: what was acknowledged is there,
/// and what is there was asked for.
pub fn check_unsettled(sku: &str, entry: &Entry, found: Option<&Found>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(found) = present(sku, entry, found, &mut faults) else {
        return faults;
    };
    check_ledger(sku, entry, found, &mut faults);
    faults
}

/// Checks an item whose operations are all settled: row, ledger and events tell the same story, and
/// it is the story of the answers.
pub fn check_settled(sku: &str, entry: &Entry, found: Option<&Found>, log: &Log) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(found) = present(sku, entry, found, &mut faults) else {
        return faults;
    };
    check_ledger(sku, entry, found, &mut faults);
    check_events(sku, entry, found, log, &mut faults);
    faults
}

/// Checks that nothing is there that nobody asked for: no row and no event without its operation,
/// and no event without its row.
pub fn check_strangers(book: &Book, rows: &BTreeMap<String, Row>, log: &Log) -> Vec<Fault> {
    let mut faults = Vec::new();
    for sku in rows.keys().filter(|sku| !book.entries.contains_key(*sku)) {
        faults.push(Fault::Wrong(format!("nobody asked for the item {sku}")));
    }
    let ids: BTreeSet<&str> = rows.values().map(|row| row.id.as_str()).collect();
    let inventory = log.events.iter().filter(|event| event.kind.starts_with("inventory."));
    for event in inventory.filter(|event| !ids.contains(event.subject.as_str())) {
        let told = format!("{} at {} has no row", event.kind, event.position);
        faults.push(Fault::Wrong(told));
    }
    faults
}

fn present<'f>(sku: &str, entry: &Entry, found: Option<&'f Found>, faults: &mut Vec<Fault>) -> Option<&'f Found> {
    let created = entry.operations.first().is_some_and(Operation::is_acknowledged);
    match found {
        None if created => faults.push(Fault::Lost(format!("the item {sku}"))),
        Some(found) if created && entry.id.as_ref() != Some(&found.row.id) => {
            let told = format!("{sku} has the id {}, told was {:?}", found.row.id, entry.id);
            faults.push(Fault::Wrong(told));
        }
        _ => {}
    }
    found
}

/// Compares the ledger with the adjustments; those without an answer may be there or not.
fn check_ledger(sku: &str, entry: &Entry, found: &Found, faults: &mut Vec<Fault>) {
    let mut wrong = |told: String| faults.push(Fault::Wrong(format!("{sku}: {told}")));
    let mut lines: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for line in &found.ledger {
        lines.entry(&line.note).or_default().push(line.delta);
    }
    let sum: i64 = found.ledger.iter().map(|line| line.delta).sum();
    if sum != found.row.quantity {
        wrong(format!("quantity {}, ledger {sum}", found.row.quantity));
    }
    let mut lost = Vec::new();
    for operation in &entry.operations {
        let Deed::Adjust { delta } = operation.deed else {
            continue;
        };
        let written = lines.remove(operation.key.as_str()).unwrap_or_default();
        match (operation.fate, written.as_slice()) {
            (Fate::Acknowledged { .. }, []) => lost.push(operation.key.clone()),
            (Fate::Refused, []) | (Fate::Unanswered, []) => {}
            (Fate::Refused, _) => wrong(format!("{} was refused and is there", operation.key)),
            (_, [written]) if *written == delta => {}
            (_, written) => wrong(format!("{} of {delta} has the lines {written:?}", operation.key)),
        }
    }
    for note in lines.keys() {
        wrong(format!("nobody asked for the ledger line {note:?}"));
    }
    faults.extend(lost.into_iter().map(|key| Fault::Lost(format!("{sku}: the ledger line of {key}"))));
}

fn check_events(sku: &str, entry: &Entry, found: &Found, log: &Log, faults: &mut Vec<Fault>) {
    let events: Vec<&Event> = log.about(&found.row.id).collect();
    let mut by_request: BTreeMap<&str, &Event> = BTreeMap::new();
    let mut wrong = |told: String| faults.push(Fault::Wrong(format!("{sku}: {told}")));

    // Version n is the n-th event, in the order of positions.
    let (mut quantity, mut deleted, mut name) = (0, false, "");
    for (event, version) in events.iter().zip(1..) {
        let (kind, at) = (&event.kind, event.position);
        if event.version != version {
            wrong(format!("{kind} at {at} has version {}, not {version}", event.version));
        }
        if by_request.insert(&event.request_id, event).is_some() {
            wrong(format!("two events of the request {}", event.request_id));
        }
        match kind.as_str() {
            "inventory.item.adjusted" => {
                quantity += number(&event.data["delta"]);
                if number(&event.data["quantity"]) != quantity {
                    wrong(format!("the events up to {at} sum up to {quantity}: {}", event.data));
                }
            }
            "inventory.item.created" | "inventory.item.updated" => {
                name = event.data["name"].as_str().unwrap_or_default();
            }
            "inventory.item.deleted" => deleted = true,
            "inventory.item.restored" => deleted = false,
            _ => wrong(format!("{kind} at {at} is not an item's")),
        }
    }
    let row = &found.row;
    let told = (row.version, row.quantity, row.deleted, row.name.as_str());
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    if told != (count, quantity, deleted, name) {
        let summed = (count, quantity, deleted, name);
        wrong(format!("version, quantity, deleted, name: row {told:?}, events {summed:?}"));
    }

    let mut lost = Vec::new();
    for operation in &entry.operations {
        let event = by_request.remove(operation.request_id().as_str());
        match (operation.fate, event) {
            (Fate::Unanswered, _) => wrong(format!("{} is not settled", operation.key)),
            (Fate::Refused, None) => {}
            (Fate::Acknowledged { .. }, None) => lost.push(operation.key.clone()),
            (Fate::Refused, Some(_)) => wrong(format!("{} was refused and done", operation.key)),
            (Fate::Acknowledged { version }, Some(event)) => {
                let other = version.is_some_and(|version| version != event.version);
                let delta = match operation.deed {
                    Deed::Adjust { delta } => number(&event.data["delta"]) != delta,
                    _ => false,
                };
                if event.kind != operation.event() || other || delta {
                    wrong(format!("{operation:?} is told as {event:?}"));
                }
            }
        }
    }
    for (request, event) in by_request {
        wrong(format!("nobody asked for {} of {request}", event.kind));
    }
    faults.extend(lost.into_iter().map(|key| Fault::Lost(format!("{sku}: the event of {key}"))));
}
