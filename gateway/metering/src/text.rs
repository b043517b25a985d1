//! The weight of what a model wrote in an event, found without building the event in memory. Not for ids and kinds.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::estimate::Weight;

/// The text in a part of an event, however deep it stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Text(pub(crate) Weight);

/// The names of what a model wrote, as opposed to ids and kinds.
const WRITTEN: [&str; 14] = [
    "content",
    "text",
    "delta",
    "partial_json",
    "thinking",
    "reasoning",
    "reasoning_content",
    "refusal",
    "arguments",
    "tool_calls",
    "function_call",
    "function",
    "name",
    "transcript",
];

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of an event")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        let mut weight = Weight::default();
        weight.add(text);
        Ok(Text(weight))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        let mut weight = Weight::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if WRITTEN.contains(&&*key) {
                weight.join(map.next_value::<Text>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Text(weight))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        let mut weight = Weight::default();
        while let Some(part) = seq.next_element::<Text>()? {
            weight.join(part.0);
        }
        Ok(Text(weight))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::default())
    }
}
