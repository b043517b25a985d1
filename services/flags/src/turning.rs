//! What may be said when a flag is turned: a description, or nothing at all, not even a body. Not for
//! turning it.

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request};
use kernel::Text;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use web::{Body, Problem};

/// What may be said when a flag is turned.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TurnFlag {
    /// What it is for; what was said before stays without it.
    pub description: Option<Text<500>>,
}

impl TurnFlag {
    /// Returns what the description is to be instead of the present one, if it is to be another.
    pub fn new_description(&self, present: Option<&str>) -> Option<&str> {
        self.description.as_ref().map(Text::as_str).filter(|said| Some(*said) != present)
    }
}

/// The body, or what it is without one.
pub(crate) struct Said(pub TurnFlag);

impl<S: Sync> FromRequest<S> for Said {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // Whatever its type: many clients name one without sending anything.
        if request.body().is_end_stream() || request.body().size_hint().exact() == Some(0) {
            return Ok(Self(TurnFlag::default()));
        }
        Body::from_request(request, state).await.map(|Body(said)| Self(said))
    }
}

/// A key, as the document says it.
pub(crate) struct Key;

impl utoipa::PartialSchema for Key {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z][a-z0-9_.-]{0,99}$"));
        text.examples(["inventory.adjust"]).into()
    }
}

/// Says what is wrong with a key, if anything.
pub(crate) fn check_key(key: &str) -> Result<(), &'static str> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
    let begins = key.starts_with(|first: char| first.is_ascii_lowercase());
    if begins && key.len() <= 100 && key.bytes().all(letter) {
        return Ok(());
    }
    Err("a key must have 1 to 100 of a-z, 0-9, _, . and - and begin with a letter")
}

/// Refuses a key in the path that cannot be one.
pub(crate) fn check_path(key: &str) -> kernel::Result<()> {
    check_key(key).map_err(|why| kernel::Error::invalid("request.invalid_path", why).field("key", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_plain() {
        for sound in ["a", "inventory.adjust", "qc-webhook_2", &"x".repeat(100)] {
            check_key(sound).expect(sound);
        }
        for wrong in ["", "A", "1a", ".a", "a b", "a/b", "ü", "a\0", &"x".repeat(101)] {
            check_key(wrong).expect_err(wrong);
        }
    }
}
