//! Changes of header fields, in this order whatever the file's: rename, remove, set, add. Framing and hop-by-hop
//! fields are not for changing. Not for the headers that tell services who is asking: those the door sets.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::Result;
use serde::{Deserialize, Serialize};

use crate::template::{Template, Values};
use crate::wrong;

/// Fields that frame a message, or belong to one connection.
const NOT_FOR_CHANGING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Changes of header fields.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderChanges {
    /// Old name to new name.
    pub rename: BTreeMap<String, String>,
    /// Names to remove.
    pub remove: Vec<String>,
    /// Values that take the place of what is there; one that comes out empty removes the field.
    pub set: BTreeMap<String, String>,
    /// Values added to what is there.
    pub add: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CompiledHeaders {
    rename: Box<[(HeaderName, HeaderName)]>,
    remove: Box<[HeaderName]>,
    /// The first `sets` replace, the others add.
    values: Box<[(HeaderName, Template)]>,
    sets: usize,
}

impl CompiledHeaders {
    pub(super) fn compile(changes: &HeaderChanges) -> Result<Self> {
        let templates = |list: &BTreeMap<String, String>| {
            list.iter().map(|(name, value)| Ok((read(name)?, Template::compile(value)?))).collect::<Result<Vec<_>>>()
        };
        let mut values = templates(&changes.set)?;
        let sets = values.len();
        values.append(&mut templates(&changes.add)?);
        let rename = changes.rename.iter().map(|(old, new)| Ok((read(old)?, read(new)?)));
        Ok(Self {
            rename: rename.collect::<Result<_>>()?,
            remove: changes.remove.iter().map(|name| read(name)).collect::<Result<_>>()?,
            values: values.into(),
            sets,
        })
    }

    pub(super) fn prepare(&self, values: &Values<'_>) -> Vec<Option<HeaderValue>> {
        self.values.iter().map(|(_, template)| template.header(values)).collect()
    }

    pub(super) fn apply(&self, prepared: Vec<Option<HeaderValue>>, headers: &mut HeaderMap) {
        for (old, new) in &self.rename {
            let values: Vec<HeaderValue> = headers.get_all(old).iter().cloned().collect();
            if values.is_empty() {
                continue;
            }
            headers.remove(old);
            headers.remove(new);
            for value in values {
                headers.append(new, value);
            }
        }
        for name in &self.remove {
            headers.remove(name);
        }
        for (index, ((name, _), value)) in self.values.iter().zip(prepared).enumerate() {
            match (index < self.sets, value) {
                (true, Some(value)) => drop(headers.insert(name, value)),
                // What a client sent must not stand where the gateway has nothing to say.
                (true, None) => drop(headers.remove(name)),
                (false, Some(value)) => drop(headers.append(name, value)),
                (false, None) => {}
            }
        }
    }
}

fn read(text: &str) -> Result<HeaderName> {
    let name = HeaderName::try_from(text).map_err(|_| wrong(format!("{text:?} is no header's name")))?;
    if NOT_FOR_CHANGING.contains(&name.as_str()) {
        return Err(wrong(format!("the header {name} frames messages and cannot be changed")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use kernel::Timestamp;

    use super::*;

    fn changed(changes: &str, sent: &[(&str, &str)]) -> Vec<String> {
        let changes: HeaderChanges = toml::from_str(changes).expect("TOML");
        let compiled = CompiledHeaders::compile(&changes).expect("compiles");
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        let before = headers.clone();
        compiled.apply(compiled.prepare(&Values::empty(&before, Timestamp(0))), &mut headers);
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII"))).collect();
        lines.sort();
        lines
    }

    #[test]
    fn fields_are_renamed_removed_set_and_added() {
        let changes = r#"
            remove = ["Server"]
            rename = { "X-Old" = "X-New" }
            set = { "X-Copy" = "<{header.x-old}>", "X-Nothing" = "{user}" }
            add = { "X-More" = "2", "X-None" = "{user}" }
        "#;
        let sent =
            [("server", "a"), ("x-old", "1"), ("x-old", "2"), ("x-new", "3"), ("x-nothing", "4"), ("x-more", "1")];
        assert_eq!(changed(changes, &sent), ["x-copy: <1>", "x-more: 1", "x-more: 2", "x-new: 1", "x-new: 2"]);
        assert_eq!(changed(changes, &[("x-new", "3")]), ["x-more: 2", "x-new: 3"]);
    }

    #[test]
    fn what_frames_a_message_cannot_be_changed() {
        for name in NOT_FOR_CHANGING.into_iter().chain(["", "a b", "Content-Length"]) {
            let mut changes = HeaderChanges::default();
            changes.set.insert(name.to_owned(), "1".to_owned());
            assert!(CompiledHeaders::compile(&changes).is_err(), "{name}");
            let changes = HeaderChanges { remove: vec![name.to_owned()], ..HeaderChanges::default() };
            assert!(CompiledHeaders::compile(&changes).is_err(), "{name}");
        }
    }
}
