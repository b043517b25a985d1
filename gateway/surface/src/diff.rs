//! What changed between two documents, in words, and whether callers of the old one break. Not for
//! schemas, which `diff_schema` compares.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::diff_schema::{Schemas, Way};
use crate::kinds::METHODS;
use crate::template;

/// What a change means for those who were written for the old document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something that worked no longer does.
    Breaking,
    /// Careful programs go on; others may stumble, such as over a new value of an enumeration.
    Careful,
    /// Nobody notices.
    Safe,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What it means.
    pub weight: Weight,
    /// Where: `GET /path`, or a component.
    pub at: String,
    /// What, as the end of a sentence about it.
    pub what: String,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let weight = match self.weight {
            Weight::Breaking => "BREAKING",
            Weight::Careful => "careful ",
            Weight::Safe => "safe    ",
        };
        write!(f, "{weight}  {}: {}", self.at, self.what)
    }
}

/// Returns what changed, the worst first.
pub fn compare(before: &Value, now: &Value) -> Vec<Change> {
    let mut comparison = Comparison { before, now, schemas: Schemas::new(before, now), changes: Vec::new() };
    let (old, new) = (operations(before), operations(now));
    for (key, (name, operation, item)) in &old {
        match new.get(key) {
            Some((_, later, later_item)) => comparison.operation(name, (operation, item), (later, later_item)),
            None => comparison.say(Weight::Breaking, name, "the operation is gone"),
        }
    }
    for (_, (name, _, _)) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        comparison.say(Weight::Safe, name, "is new");
    }
    let mut changes = comparison.changes;
    changes.append(&mut comparison.schemas.changes);
    changes.sort();
    changes.dedup();
    changes
}

type Operations<'a> = BTreeMap<(String, &'static str), (String, &'a Value, &'a Value)>;

/// The operations by path and method; the names of a path's parameters are nobody's business.
fn operations(document: &Value) -> Operations<'_> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let name = format!("{} {path}", method.to_uppercase());
                found.insert((template::shape(path), method), (name, operation, item));
            }
        }
    }
    found
}

struct Comparison<'a> {
    before: &'a Value,
    now: &'a Value,
    schemas: Schemas<'a>,
    changes: Vec<Change>,
}

impl<'a> Comparison<'a> {
    fn say(&mut self, weight: Weight, at: &str, what: impl Into<String>) {
        self.changes.push(Change { weight, at: at.to_owned(), what: what.into() });
    }

    fn operation(&mut self, at: &str, old: (&'a Value, &'a Value), new: (&'a Value, &'a Value)) {
        let ((old, old_item), (new, new_item)) = (old, new);
        if old["operationId"] != new["operationId"] && old["operationId"].is_string() {
            let was = old["operationId"].as_str().unwrap_or_default();
            self.say(Weight::Breaking, at, format!("the operation id `{was}` became {}", new["operationId"]));
        }
        self.parameters(at, (old, old_item), (new, new_item));
        self.body(at, follow(self.before, &old["requestBody"]), follow(self.now, &new["requestBody"]));
        self.responses(at, &old["responses"], &new["responses"]);
        self.security(at, asked(self.before, old), asked(self.now, new));
        if old["deprecated"] != new["deprecated"] && new["deprecated"] == true {
            self.say(Weight::Safe, at, "is deprecated");
        }
        if old["x-permission"] != new["x-permission"] {
            self.say(
                Weight::Careful,
                at,
                format!("needs the permission {}, not {}", new["x-permission"], old["x-permission"]),
            );
        }
    }

    fn parameters(&mut self, at: &str, old: (&'a Value, &'a Value), new: (&'a Value, &'a Value)) {
        let (old, new) = (parameters(self.before, old), parameters(self.now, new));
        for ((place, name), parameter) in &old {
            let what = format!("the {place} parameter `{name}`");
            let Some(later) = new.get(&(place.clone(), name.clone())) else {
                // The path itself is compared by its shape.
                if place != "path" {
                    self.say(Weight::Breaking, at, format!("{what} is gone"));
                }
                continue;
            };
            if parameter["required"] != true && later["required"] == true {
                self.say(Weight::Breaking, at, format!("{what} is required now"));
            }
            self.schemas.compare(&parameter["schema"], &later["schema"], Way::In, at, &what);
        }
        for ((place, name), later) in new.iter().filter(|(key, _)| !old.contains_key(*key) && key.0 != "path") {
            match later["required"] == true {
                true => self.say(Weight::Breaking, at, format!("the new {place} parameter `{name}` is required")),
                false => self.say(Weight::Safe, at, format!("takes a new {place} parameter `{name}`")),
            }
        }
    }

    fn body(&mut self, at: &str, old: &'a Value, new: &'a Value) {
        match (old.is_object(), new.is_object()) {
            (true, false) => self.say(Weight::Breaking, at, "takes no body any more"),
            (false, true) if new["required"] == true => self.say(Weight::Breaking, at, "needs a body now"),
            (false, true) => self.say(Weight::Safe, at, "takes a body now"),
            (false, false) => {}
            (true, true) => {
                if old["required"] != true && new["required"] == true {
                    self.say(Weight::Breaking, at, "needs its body now");
                }
                self.contents(at, "the body", &old["content"], &new["content"], Way::In);
            }
        }
    }

    fn contents(&mut self, at: &str, what: &str, old: &'a Value, new: &'a Value, way: Way) {
        for (media_type, media) in old.as_object().into_iter().flatten() {
            match new.get(media_type) {
                None => self.say(Weight::Breaking, at, format!("{what} is no longer {media_type}")),
                Some(later) => self.schemas.compare(&media["schema"], &later["schema"], way, at, what),
            }
        }
        for media_type in
            new.as_object().into_iter().flat_map(Map::keys).filter(|name| old.get(name.as_str()).is_none())
        {
            self.say(Weight::Safe, at, format!("{what} may be {media_type}, too"));
        }
    }

    fn responses(&mut self, at: &str, old: &'a Value, new: &'a Value) {
        for (status, response) in old.as_object().into_iter().flatten() {
            let success = status.starts_with('2') || status.starts_with('3') || status == "default";
            match new.get(status) {
                None if success => self.say(Weight::Breaking, at, format!("never answers {status} any more")),
                None => self.say(Weight::Safe, at, format!("never answers {status} any more")),
                Some(response_now) => {
                    let (one, other) = (follow(self.before, response), follow(self.now, response_now));
                    self.contents(at, &format!("the answer {status}"), &one["content"], &other["content"], Way::Out);
                    for header in one["headers"].as_object().into_iter().flat_map(Map::keys) {
                        if other["headers"].get(header).is_none() {
                            self.say(
                                Weight::Breaking,
                                at,
                                format!("the answer {status} has no header {header} any more"),
                            );
                        }
                    }
                }
            }
        }
        for status in
            new.as_object().into_iter().flat_map(Map::keys).filter(|status| old.get(status.as_str()).is_none())
        {
            let weight = if status.starts_with('2') { Weight::Careful } else { Weight::Safe };
            self.say(weight, at, format!("may answer {status}"));
        }
    }

    fn security(&mut self, at: &str, old: Vec<String>, new: Vec<String>) {
        let open = |list: &[String]| list.is_empty() || list.iter().any(String::is_empty);
        if open(&old) && !open(&new) {
            return self.say(Weight::Breaking, at, format!("needs {} now", new.join(" or ")));
        }
        for gone in old.iter().filter(|way| !new.contains(way) && !open(&new)) {
            self.say(Weight::Breaking, at, format!("lets nobody in by {gone} any more"));
        }
        for more in new.iter().filter(|way| !old.contains(way) && !open(&old)) {
            self.say(
                Weight::Safe,
                at,
                format!("lets callers in by {} too", if more.is_empty() { "nothing" } else { more }),
            );
        }
    }
}

/// Returns what a reference leads to, or the value itself.
pub(crate) fn follow<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    for _ in 0..16 {
        let Some(pointer) = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) else {
            return value;
        };
        value = document.pointer(&crate::pointer::percent_decoded(pointer)).unwrap_or(&Value::Null);
    }
    &Value::Null
}

fn parameters<'a>(
    document: &'a Value,
    (operation, item): (&'a Value, &'a Value),
) -> BTreeMap<(String, String), &'a Value> {
    let lists = [&item["parameters"], &operation["parameters"]];
    let all = lists.into_iter().filter_map(Value::as_array).flatten().map(|value| follow(document, value));
    all.filter_map(|value| Some(((value["in"].as_str()?.to_owned(), value["name"].as_str()?.to_owned()), value)))
        .collect()
}

/// Returns the ways to be let in, each as text; an empty one means anybody.
fn asked(document: &Value, operation: &Value) -> Vec<String> {
    let list = operation.get("security").or_else(|| document.get("security"));
    let ways = list.and_then(Value::as_array).into_iter().flatten();
    ways.map(|way| way.as_object().into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>().join(" and ")).collect()
}
