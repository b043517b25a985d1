//! Texts with names in braces that are filled from the request and from other parts. What is filled into a
//! path is percent-encoded, so a value never becomes a path of its own. Not for paths of routes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::run::Inputs;

/// A compiled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Path(String),
    Query(String),
    Part { name: String, pointer: String },
}

impl Template {
    /// Reads a text; says what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| format!("{text:?} has a brace that is not closed"))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(match (name.split_once('.'), name.split_once('/')) {
                (Some(("path", name)), _) => Piece::Path(name.to_owned()),
                (Some(("query", name)), _) => Piece::Query(name.to_owned()),
                (_, Some((part, pointer))) => Piece::Part { name: part.to_owned(), pointer: format!("/{pointer}") },
                _ => return Err(format!("{{{name}}} is neither path.NAME nor query.NAME nor PART/POINTER")),
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Returns the parts that it needs.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Part { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    fn values(
        &self,
        inputs: &Inputs,
        parts: &BTreeMap<String, Value>,
        mut write: impl FnMut(&str, bool),
    ) -> Result<(), String> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => write(text, false),
                Piece::Path(name) => write(inputs.path(name).unwrap_or_default(), true),
                Piece::Query(name) => write(&inputs.query(name).unwrap_or_default(), true),
                Piece::Part { name, pointer } => {
                    let found = parts.get(name).and_then(|value| value.pointer(pointer));
                    match found {
                        Some(Value::String(text)) => write(text, true),
                        Some(Value::Number(number)) => write(&number.to_string(), true),
                        Some(Value::Bool(truth)) => write(if *truth { "true" } else { "false" }, true),
                        _ => return Err(format!("{name} has no text, number or boolean at {pointer}")),
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns a path that it may become, without its query.
    pub(crate) fn like(&self) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Path(_) | Piece::Query(_) | Piece::Part { .. } => "-",
        });
        let path: String = pieces.collect();
        path.split('?').next().unwrap_or_default().to_owned()
    }

    /// Returns the path and query.
    pub fn path(&self, inputs: &Inputs, parts: &BTreeMap<String, Value>) -> Result<String, String> {
        let mut path = String::new();
        self.values(inputs, parts, |text, filled| if filled { encode(text, &mut path) } else { path.push_str(text) })?;
        Ok(path)
    }

    /// Returns the text as it is.
    fn text(&self, inputs: &Inputs, parts: &BTreeMap<String, Value>) -> Result<String, String> {
        let mut whole = String::new();
        self.values(inputs, parts, |text, _| whole.push_str(text))?;
        Ok(whole)
    }
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3). Dots that would make a
/// segment mean another are encoded too, so that the door refuses them.
fn encode(text: &str, path: &mut String) {
    let dots = matches!(text, "." | "..");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && !dots) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

/// A JSON value whose texts are templates.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(Template),
    Other(Value),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Document {
    /// Reads a value; says what is wrong with its texts.
    pub fn read(value: &Value) -> Result<Self, String> {
        Node::read(value).map(Self)
    }

    /// Returns the parts that it needs.
    pub fn needs(&self) -> Vec<&str> {
        self.0.needs()
    }

    /// Returns the value with its texts filled.
    pub fn fill(&self, inputs: &Inputs, parts: &BTreeMap<String, Value>) -> Result<Value, String> {
        self.0.fill(inputs, parts)
    }
}

impl Node {
    fn read(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) if text.contains('{') => Self::Text(Template::read(text)?),
            Value::Array(items) => Self::List(items.iter().map(Self::read).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let read = |(name, value): (&String, &Value)| Ok((name.clone(), Self::read(value)?));
                Self::Object(fields.iter().map(read).collect::<Result<_, String>>()?)
            }
            other => Self::Other(other.clone()),
        })
    }

    fn needs(&self) -> Vec<&str> {
        match self {
            Self::Text(template) => template.needs().collect(),
            Self::Other(_) => Vec::new(),
            Self::List(items) => items.iter().flat_map(Self::needs).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, value)| value.needs()).collect(),
        }
    }

    fn fill(&self, inputs: &Inputs, parts: &BTreeMap<String, Value>) -> Result<Value, String> {
        Ok(match self {
            Self::Text(template) => Value::String(template.text(inputs, parts)?),
            Self::Other(value) => value.clone(),
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.fill(inputs, parts)).collect::<Result<_, _>>()?)
            }
            Self::Object(fields) => {
                let fill = |(name, value): &(String, Self)| Ok((name.clone(), value.fill(inputs, parts)?));
                Value::Object(fields.iter().map(fill).collect::<Result<_, String>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_filled_in_never_becomes_a_path_of_its_own() {
        let inputs = Inputs::new(vec![("id".to_owned(), "a/../b".to_owned())], Some("q=x%26y%3Dz&empty"));
        let parts = [("one".to_owned(), json!({ "a": ["..", 7, true, null, { "b": 1 }] }))].into();
        for (text, path) in [
            ("/x/{path.id}", "/x/a%2F..%2Fb"),
            ("/x?q={query.q}", "/x?q=x%26y%3Dz"),
            ("/x/{one/a/0}", "/x/%2E%2E"),
            ("/x/{one/a/1}/{one/a/2}", "/x/7/true"),
            ("/x/{path.none}/", "/x//"),
        ] {
            assert_eq!(Template::read(text).expect(text).path(&inputs, &parts).expect(text), path);
        }
        for text in ["/x/{one/a/3}", "/x/{one/a/4}", "/x/{one/b}", "/x/{two/a}"] {
            assert!(Template::read(text).expect(text).path(&inputs, &parts).is_err(), "{text}");
        }
        for text in ["/x/{", "/x/{id}"] {
            assert!(Template::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_body_is_filled_in_depth() {
        let inputs = Inputs::new(vec![("id".to_owned(), "7\"".to_owned())], None);
        let parts = [("one".to_owned(), json!({ "name": "æ" }))].into();
        let body = Document::read(&json!({ "a": ["{path.id}", 1], "b": { "c": "{one/name}!" }, "d": "plain" }))
            .expect("a body");
        assert_eq!(body.needs(), ["one"]);
        let filled = body.fill(&inputs, &parts).expect("filled");
        assert_eq!(filled, json!({ "a": ["7\"", 1], "b": { "c": "æ!" }, "d": "plain" }));
    }
}
