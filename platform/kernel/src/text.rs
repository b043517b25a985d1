//! Text that people type: bounded, trimmed, free of control characters. Not for secrets or for
//! documents, which have types of their own.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// Text of 1 to `MAX` characters, without leading or trailing space and without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Returns the text when it keeps the rules, otherwise the rule that it breaks.
    pub fn new(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err("must not be empty".to_owned());
        }
        // What is trimmed off counts too, as it does for whoever checks it against the document.
        if text.chars().count() > MAX {
            return Err(format!("must have at most {MAX} characters"));
        }
        if text.chars().any(char::is_control) {
            return Err("must not hold control characters".to_owned());
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the text without control characters, which terminals obey and PostgreSQL refuses in part: a line
/// break becomes a space, any other one the sign for what cannot be shown.
pub fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        letter if !letter.is_control() => letter,
        letter if letter.is_whitespace() => ' ',
        _ => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(shown).collect()
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&Cow::<'de, str>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The same rules for the document: no control character, and something that is no space.
const PATTERN: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000- \u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"[^\u0000-\u001f\u007f-\u009f]*$",
);

impl<const MAX: usize> utoipa::PartialSchema for Text<MAX> {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX));
        text.pattern(Some(PATTERN)).into()
    }
}

impl<const MAX: usize> utoipa::ToSchema for Text<MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Text{MAX}"))
    }
}
