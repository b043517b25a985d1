//! A person. People are global: only system purposes reach this table. Not for what somebody may
//! do, which is a matter of membership.

use kernel::{Timestamp, UserId};
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    pub email: Option<String>,
    pub name: String,
    pub created_at: Timestamp,
    pub password_hash: Option<String>,
    pub platform_role: Option<String>,
    pub state: String,
}

/// The state of a person who may sign in.
pub(crate) const ACTIVE: &str = "active";

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// An e-mail address, in lower case: one person has one account however it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let text = text.trim().to_lowercase();
        let sound = text.len() <= 254
            && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
            && text.rsplit_once('@').is_some_and(|(name, host)| {
                !name.is_empty()
                    && name.len() <= 64
                    && !host.is_empty()
                    && !host.starts_with(['.', '-'])
                    && !host.ends_with(['.', '-'])
                    && !host.contains(['@', '<', '>', ','])
                    && !name.contains(['<', '>', ','])
            });
        if sound { Ok(Self(text)) } else { Err("must be an e-mail address, such as ada@example.org".to_owned()) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Email {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        let format = SchemaFormat::KnownFormat(KnownFormat::Email);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).max_length(Some(254)).into()
    }
}
impl utoipa::ToSchema for Email {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_lower_case_and_nonsense_is_refused() {
        assert_eq!(Email::new(" Ada@Example.ORG ").expect("an address").as_str(), "ada@example.org");
        for sound in ["a@b", "a+b@c.d", "ünïcode@exämple.de", "\"q\"@x.y"] {
            assert!(Email::new(sound).is_ok(), "{sound}");
        }
        for wrong in ["", "a", "@b", "a@", "a b@c", "a@b\r\nBcc: x@y", "a@b@c,d", "a@.b", "a@b-", "<a>@b"] {
            assert!(Email::new(wrong).is_err(), "{wrong}");
        }
        assert!(Email::new(&format!("{}@b.c", "x".repeat(65))).is_err());
    }
}
