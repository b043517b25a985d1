//! Writes a document as YAML, in the order in which people read one. Not for reading YAML.

use kernel::{Error, Result};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

/// What comes first in an object, where it is there; the rest follows by name.
const FIRST: [&str; 17] = [
    "openapi",
    "info",
    "servers",
    "tags",
    "paths",
    "webhooks",
    "components",
    "operationId",
    "name",
    "in",
    "summary",
    "title",
    "type",
    "description",
    "required",
    "parameters",
    "requestBody",
];

/// Returns the document as YAML.
pub fn to_yaml(document: &Value) -> Result<String> {
    serde_saphyr::to_string(&Ordered(document))
        .map_err(|error| Error::internal("the document cannot be written as YAML").context(error.to_string()))
}

struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let mut members: Vec<(&String, &Value)> = map.iter().collect();
                members.sort_by_key(|(key, _)| (rank(key), *key));
                let mut written = serializer.serialize_map(Some(members.len()))?;
                for (key, member) in members {
                    written.serialize_entry(key, &Ordered(member))?;
                }
                written.end()
            }
            Value::Array(list) => serializer.collect_seq(list.iter().map(Ordered)),
            other => other.serialize(serializer),
        }
    }
}

fn rank(key: &str) -> usize {
    FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len())
}
