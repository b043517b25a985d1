//! What a request to a language model asks for: the model, whether it streams, how long the answer may be; and the
//! few words that the gateway adds to it. Edits the bytes that came, because writing JSON anew would change numbers
//! and order. Not for judging a request; the origin does.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use kernel::{Error, Result};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::estimate;
use crate::format::Format;

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    max_output_tokens: Option<u64>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    best_of: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream_options: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    include_usage: Option<&'a RawValue>,
}

/// Keeps a `null` that is there apart from what is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// How many tokens of answer it allows for each choice.
    pub(crate) most: Option<i64>,
    pub(crate) choices: i64,
    /// About how many tokens the question has.
    pub(crate) question: i64,
    /// Whether the client wants to be told the usage of a stream.
    pub(crate) wants_usage: bool,
    options: Option<Range<usize>>,
    include_usage: Option<Range<usize>>,
}

fn invalid(message: &str) -> Error {
    Error::invalid("gateway.model_request_invalid", message)
}

/// Says where a part stands in the whole that it was read from.
fn place(whole: &[u8], part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.get().len()
}

impl Asked {
    pub(crate) fn read(body: &[u8]) -> Result<Self> {
        // A name that stands twice is read differently by different servers, and is refused here.
        let not_read = || invalid("the body must be a JSON object, each name once");
        // A list would be read as a record's fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(not_read());
        }
        let fields: Fields<'_> = serde_json::from_slice(body).map_err(|error| not_read().source_error(error))?;
        let options = fields.stream_options.filter(|raw| raw.get() != "null");
        let include_usage = match options {
            Some(raw) => {
                let read: StreamOptions<'_> = serde_json::from_str(raw.get())
                    .map_err(|error| invalid("stream_options must be an object").source_error(error))?;
                read.include_usage
            }
            None => None,
        };
        let whole = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let most = fields.max_completion_tokens.or(fields.max_tokens).or(fields.max_output_tokens).map(whole);
        Ok(Self {
            model: fields.model.unwrap_or_default().into_owned(),
            stream: fields.stream.unwrap_or(false),
            most,
            choices: whole(fields.n.unwrap_or(1).max(fields.best_of.unwrap_or(1)).max(1)),
            question: estimate::question(body),
            wants_usage: include_usage.is_some_and(|raw| raw.get() == "true"),
            options: fields.stream_options.map(|raw| place(body, raw)),
            include_usage: include_usage.map(|raw| place(body, raw)),
        })
    }

    /// Writes into the request that its stream shall say what it used.
    pub(crate) fn ask_for_usage(&self, body: &Bytes) -> Bytes {
        let null = |range: &Range<usize>| &body[range.clone()] == b"null";
        match (&self.options, &self.include_usage) {
            (_, Some(said)) => splice(body, said.clone(), b"true"),
            (Some(options), None) if null(options) => splice(body, options.clone(), b"{\"include_usage\":true}"),
            (Some(options), None) => insert(body, options.start, b"\"include_usage\":true"),
            (None, None) => {
                let start = body.iter().position(|byte| *byte == b'{').unwrap_or(0);
                insert(body, start, b"\"stream_options\":{\"include_usage\":true}")
            }
        }
    }

    /// Writes into a request that names no limit how many tokens its answer may have.
    pub(crate) fn limit_output(body: &Bytes, format: Format, tokens: i64) -> Bytes {
        let name = match format {
            Format::OpenaiChat => "max_completion_tokens",
            Format::OpenaiResponses => "max_output_tokens",
            Format::Anthropic => "max_tokens",
        };
        let start = body.iter().position(|byte| *byte == b'{').unwrap_or(0);
        insert(body, start, format!("\"{name}\":{tokens}").as_bytes())
    }
}

/// Puts a member first into the object that begins here.
fn insert(body: &Bytes, start: usize, member: &[u8]) -> Bytes {
    let after = start + 1;
    let empty = body[after..].trim_ascii_start().starts_with(b"}");
    let member = [member, if empty { b"" } else { b"," }].concat();
    splice(body, after..after, &member)
}

fn splice(body: &Bytes, range: Range<usize>, with: &[u8]) -> Bytes {
    [&body[..range.start], with, &body[range.end..]].concat().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(text: &str) -> Asked {
        Asked::read(text.as_bytes()).expect("a request")
    }

    #[test]
    fn a_request_is_read() {
        let text = r#"{"model":"gpt-4o","stream":true,"max_tokens":100,"n":2,"messages":[{"content":"hello there"}]}"#;
        let read = asked(text);
        assert_eq!((&*read.model, read.stream, read.most, read.choices), ("gpt-4o", true, Some(100), 2));
        assert!(!read.wants_usage && (15..40).contains(&read.question));
        assert!(asked(r#"{"stream_options":{"include_usage":true}}"#).wants_usage);
        assert_eq!(asked(r#"{"max_output_tokens":7}"#).most, Some(7));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"max_tokens":1,"max_tokens":2}"#,
            r#"{"max_tokens":-1}"#,
            r#"{"stream":"yes"}"#,
            r#"{"stream_options":7}"#,
            "{} {}",
            "\u{feff}{}",
        ] {
            let error = Asked::read(text.as_bytes()).expect_err(text);
            assert_eq!(error.code(), "gateway.model_request_invalid");
        }
    }

    #[test]
    fn usage_is_asked_for_and_nothing_else_is_changed() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":1.0,"b":12345678901234567890123,"stream":true}"#,
            r#"{"stream_options":{},"stream":true}"#,
            r#"{"stream_options": null }"#,
            r#"{"stream_options":{"include_usage":false,"x":1}}"#,
            r#"{"stream_options": { "x" : 1 }}"#,
            r#"{"stream_options":{"include_usage":null}}"#,
        ] {
            let changed = asked(text).ask_for_usage(&Bytes::copy_from_slice(text.as_bytes()));
            let value: Value = serde_json::from_slice(&changed).expect("JSON");
            assert_eq!(value["stream_options"]["include_usage"], json!(true), "{text}");
            let mut before: Value = serde_json::from_str(text).expect("JSON");
            before["stream_options"] = value["stream_options"].clone();
            assert_eq!(value, before);
            for kept in ["12345678901234567890123", "1.0"].iter().filter(|kept| text.contains(**kept)) {
                assert!(String::from_utf8_lossy(&changed).contains(kept));
            }
        }
    }

    #[test]
    fn a_limit_is_written_as_the_format_calls_it() {
        let limited = Asked::limit_output(&Bytes::from_static(b" {\"a\":1}"), Format::Anthropic, 5);
        assert_eq!(&limited[..], b" {\"max_tokens\":5,\"a\":1}");
    }
}
