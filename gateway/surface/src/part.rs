//! A document about some operations of another, with what they need and nothing more. Not for
//! documents of upstreams, which `unite` cuts to the door's routes.

use std::collections::BTreeSet;

use kernel::Result;
use serde_json::{Map, Value, json};

use crate::kinds::METHODS;
use crate::source::{Door, Source};
use crate::unite::unite_with;

/// Returns the document of those operations for which `keep` says so: it is given method, path and
/// operation.
pub fn part(document: &Value, keep: impl Fn(&str, &str, &Value) -> bool) -> Result<Value> {
    let mut smaller: Map<String, Value> = document.as_object().cloned().unwrap_or_default();
    let mut paths = Map::new();
    let mut used = BTreeSet::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let mut kept = item.as_object().cloned().unwrap_or_default();
        kept.retain(|method, operation| {
            !METHODS.contains(&method.as_str()) || keep(&method.to_uppercase(), path, operation)
        });
        let operations = kept.iter().filter(|(method, _)| METHODS.contains(&method.as_str()));
        let tags = operations.flat_map(|(_, operation)| operation["tags"].as_array()).flatten();
        used.extend(tags.filter_map(Value::as_str).map(str::to_owned));
        if kept.keys().any(|method| METHODS.contains(&method.as_str())) {
            paths.insert(path.clone(), Value::Object(kept));
        }
    }
    if let Some(tags) = smaller.get_mut("tags").and_then(Value::as_array_mut) {
        tags.retain(|tag| tag["name"].as_str().is_some_and(|name| used.contains(name)));
    }
    smaller.insert("paths".to_owned(), json!(paths));
    smaller.remove("webhooks");
    let door = Door::of(document, Vec::new());
    Ok(unite_with(&door, &[Source::own("part", Value::Object(smaller))], false)?.document)
}
