//! What changed between two schemas. On the way in, a schema may only take more; on the way out, it
//! may only promise more. Not for operations.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use crate::diff::{Change, Weight, follow};

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// From the caller.
    In,
    /// To the caller.
    Out,
}

/// Two sets of schemas, and what was found to be different.
pub(crate) struct Schemas<'a> {
    before: &'a Value,
    now: &'a Value,
    seen: HashSet<(usize, usize, Way)>,
    pub changes: Vec<Change>,
}

/// A schema with everything that its `allOf` adds.
#[derive(Default)]
struct Whole<'a> {
    properties: BTreeMap<&'a str, &'a Value>,
    required: BTreeSet<&'a str>,
    types: BTreeSet<String>,
    closed: bool,
    parts: Vec<&'a Value>,
}

/// Bounds: the word, and whether a larger number takes less.
const BOUNDS: [(&str, bool); 10] = [
    ("minLength", true),
    ("minItems", true),
    ("minProperties", true),
    ("minimum", true),
    ("exclusiveMinimum", true),
    ("maxLength", false),
    ("maxItems", false),
    ("maxProperties", false),
    ("maximum", false),
    ("exclusiveMaximum", false),
];

impl<'a> Schemas<'a> {
    pub(crate) fn new(before: &'a Value, now: &'a Value) -> Self {
        Self { before, now, seen: HashSet::new(), changes: Vec::new() }
    }

    /// Compares two schemas that stand at one place.
    pub(crate) fn compare(&mut self, old: &'a Value, new: &'a Value, way: Way, at: &str, what: &str) {
        let named = |value: &Value| value.get("$ref").and_then(Value::as_str).map(str::to_owned);
        let (name, old, new) = (named(old), follow(self.before, old), follow(self.now, new));
        // Each pair once, whatever refers to it; so cycles end. Equal texts may refer to what differs.
        if !self.seen.insert((std::ptr::from_ref(old).addr(), std::ptr::from_ref(new).addr(), way)) {
            return;
        }
        let (component, place);
        let (at, what) = match name.as_deref().and_then(|name| name.rsplit('/').next()) {
            Some(name) => {
                component = format!("schema {name}");
                place = if way == Way::In { "sent" } else { "answered" }.to_owned();
                (component.as_str(), place.as_str())
            }
            None => (at, what),
        };
        let (one, other) = (whole(self.before, old), whole(self.now, new));
        self.types(&one, &other, way, at, what);
        self.properties(&one, &other, way, at, what);
        self.values(old, new, way, at, what);
        self.alternatives(old, new, way, at, what);
        for key in ["items", "additionalProperties", "contains", "propertyNames"] {
            if let (Some(old), Some(new)) = (member(&one, key), member(&other, key)) {
                self.compare(old, new, way, at, &format!("{what}, its {key}"));
            }
        }
    }

    fn say(&mut self, weight: Weight, at: &str, what: String) {
        self.changes.push(Change { weight, at: at.to_owned(), what });
    }

    fn types(&mut self, old: &Whole<'_>, new: &Whole<'_>, way: Way, at: &str, what: &str) {
        let any = |whole: &Whole<'_>| whole.types.is_empty();
        let takes = |whole: &Whole<'_>, kind: &str| {
            any(whole) || whole.types.contains(kind) || (kind == "integer" && whole.types.contains("number"))
        };
        // In: everything that was taken still is. Out: nothing comes that did not come before.
        let (smaller, larger) = if way == Way::In { (old, new) } else { (new, old) };
        let lost: Vec<&String> = smaller.types.iter().filter(|kind| !takes(larger, kind)).collect();
        if !lost.is_empty() || (any(smaller) && !any(larger)) {
            let list = |whole: &Whole<'_>| match any(whole) {
                true => "anything".to_owned(),
                false => whole.types.iter().cloned().collect::<Vec<_>>().join(" or "),
            };
            self.say(Weight::Breaking, at, format!("{what} is {} now, not {}", list(new), list(old)));
        }
    }

    fn properties(&mut self, old: &Whole<'a>, new: &Whole<'a>, way: Way, at: &str, what: &str) {
        for (name, schema) in &old.properties {
            match new.properties.get(name) {
                Some(later) => self.compare(schema, later, way, at, &format!("{what}, `{name}`")),
                None if way == Way::Out => {
                    self.say(Weight::Breaking, at, format!("{what}: the field `{name}` is gone"))
                }
                None if new.closed => self.say(Weight::Breaking, at, format!("{what}: the field `{name}` is refused")),
                None => self.say(Weight::Careful, at, format!("{what}: the field `{name}` is ignored")),
            }
            match (way, old.required.contains(name), new.required.contains(name)) {
                (Way::In, false, true) => {
                    self.say(Weight::Breaking, at, format!("{what}: the field `{name}` is required now"))
                }
                (Way::Out, true, false) if new.properties.contains_key(name) => {
                    self.say(Weight::Breaking, at, format!("{what}: the field `{name}` may be missing now"));
                }
                _ => {}
            }
        }
        for name in new.properties.keys().filter(|name| !old.properties.contains_key(*name)) {
            match way == Way::In && new.required.contains(name) {
                true => self.say(Weight::Breaking, at, format!("{what}: the new field `{name}` is required")),
                false if way == Way::Out && old.closed => {
                    self.say(
                        Weight::Careful,
                        at,
                        format!("{what}: the field `{name}` is new where nothing else was to be"),
                    );
                }
                false => self.say(Weight::Safe, at, format!("{what}: the field `{name}` is new")),
            }
        }
        if way == Way::In && new.closed && !old.closed {
            self.say(Weight::Breaking, at, format!("{what}: fields that are not described are refused now"));
        }
    }

    fn values(&mut self, old: &Value, new: &Value, way: Way, at: &str, what: &str) {
        let list = |value: &Value| -> Option<BTreeSet<String>> {
            let single = value.get("const").map(|value| vec![value.clone()]);
            let values = value.get("enum").and_then(Value::as_array).cloned().or(single)?;
            Some(values.iter().map(Value::to_string).collect())
        };
        let words = |set: BTreeSet<&String>| set.into_iter().cloned().collect::<Vec<_>>().join(", ");
        match (list(old), list(new)) {
            (Some(old), Some(new)) => {
                let (gone, more) =
                    (old.difference(&new).collect::<BTreeSet<_>>(), new.difference(&old).collect::<BTreeSet<_>>());
                if !gone.is_empty() {
                    let weight = if way == Way::In { Weight::Breaking } else { Weight::Safe };
                    self.say(weight, at, format!("{what} is never {} any more", words(gone)));
                }
                if !more.is_empty() {
                    let weight = if way == Way::In { Weight::Safe } else { Weight::Careful };
                    self.say(weight, at, format!("{what} may be {}", words(more)));
                }
            }
            (None, Some(_)) if way == Way::In => {
                self.say(Weight::Breaking, at, format!("{what} must be one of a list now"))
            }
            (Some(_), None) if way == Way::Out => self.say(Weight::Careful, at, format!("{what} may be any value now")),
            _ => {}
        }
        for (word, larger_is_less) in BOUNDS {
            let (before, later) = (old[word].as_f64(), new[word].as_f64());
            let less = match (before, later) {
                (None, Some(_)) => true,
                (Some(before), Some(later)) if before != later => (later > before) == larger_is_less,
                _ => false,
            };
            let more = match (before, later) {
                (Some(_), None) => true,
                (Some(before), Some(later)) if before != later => (later > before) != larger_is_less,
                _ => false,
            };
            if less && way == Way::In {
                // A bound that was not described may have been there all along.
                let weight = if before.is_none() { Weight::Careful } else { Weight::Breaking };
                self.say(weight, at, format!("{what}: {word} is {} now", new[word]));
            }
            if more && way == Way::Out {
                self.say(Weight::Careful, at, format!("{what}: {word} is {} now", new[word]));
            }
        }
        for word in ["pattern", "format"] {
            if old[word] != new[word]
                && (way == Way::In && !new[word].is_null() || way == Way::Out && !old[word].is_null())
            {
                self.say(Weight::Careful, at, format!("{what}: {word} is {} now, not {}", new[word], old[word]));
            }
        }
    }

    /// Alternatives are matched by name, or by being equal.
    fn alternatives(&mut self, old: &'a Value, new: &'a Value, way: Way, at: &str, what: &str) {
        for word in ["oneOf", "anyOf"] {
            let (Some(before), Some(later)) = (old[word].as_array(), new[word].as_array()) else { continue };
            let name = |value: &Value| value["$ref"].as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (ones, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
                (before.iter().map(|v| (name(v), v)).collect(), later.iter().map(|v| (name(v), v)).collect());
            let gone = ones.keys().any(|name| !others.contains_key(name));
            let more = others.keys().any(|name| !ones.contains_key(name));
            for (name, old) in &ones {
                if let Some(new) = others.get(name) {
                    self.compare(old, new, way, at, what);
                }
            }
            match (way, gone, more) {
                (Way::In, true, _) => {
                    self.say(Weight::Breaking, at, format!("{what}: an alternative of {word} is gone"))
                }
                (Way::Out, _, true) => self.say(Weight::Careful, at, format!("{what}: {word} has another alternative")),
                _ => {}
            }
        }
    }
}

fn member<'a>(whole: &Whole<'a>, key: &str) -> Option<&'a Value> {
    whole.parts.iter().find_map(|part| part.get(key)).filter(|value| value.is_object())
}

fn whole<'a>(document: &'a Value, schema: &'a Value) -> Whole<'a> {
    let mut whole = Whole::default();
    let mut open = vec![schema];
    while let Some(part) = open.pop() {
        if whole.parts.iter().any(|known| std::ptr::eq(*known, part)) {
            continue;
        }
        whole.parts.push(part);
        whole
            .properties
            .extend(part["properties"].as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)));
        whole.required.extend(part["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        match &part["type"] {
            Value::String(kind) => drop(whole.types.insert(kind.clone())),
            Value::Array(kinds) => whole.types.extend(kinds.iter().filter_map(Value::as_str).map(str::to_owned)),
            _ => {}
        }
        whole.closed |= part["additionalProperties"] == false;
        open.extend(part["allOf"].as_array().into_iter().flatten().map(|part| follow(document, part)));
    }
    whole
}
