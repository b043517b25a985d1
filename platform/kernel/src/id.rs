//! Typed ids: a UUIDv7 that knows what it names. Not for natural keys (device serials, instance
//! ids), which stay text scoped by tenant.
//!
//! At the edge an id is `prefix_` and 26 characters of Crockford base32 in lower case, which sort
//! like the UUID itself; in the database it is the engine's own UUID. See decision 0005.

use std::{borrow::Cow, cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use uuid::Uuid;

use crate::Error;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LENGTH: usize = 26;

/// What an [`Id`] names. The implementing type is a marker, often the public view itself.
pub trait IdKind: 'static {
    /// Two to five lower-case letters that start the id's text form.
    const PREFIX: &'static str;
}

/// Marks the ids of tenants.
#[derive(Debug)]
pub struct Tenant;
impl IdKind for Tenant {
    const PREFIX: &'static str = "ten";
}
/// Names a tenant: the organisation of the inventory suite, the client of the spot suite.
pub type TenantId = Id<Tenant>;

/// Marks the ids of users.
#[derive(Debug)]
pub struct User;
impl IdKind for User {
    const PREFIX: &'static str = "usr";
}
/// Names a person; people are global, their memberships belong to tenants.
pub type UserId = Id<User>;

/// A UUIDv7 that names a `T`; ids of two kinds do not mix.
pub struct Id<T> {
    uuid: Uuid,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// Returns a new id; ids made in one process grow.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    pub fn new() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// Returns the id that this UUID is, whatever its version.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    /// Returns the UUID behind the id.
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }
}

impl<T> Default for Id<T> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<T> hash::Hash for Id<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<T: IdKind> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bits = self.uuid.as_u128();
        let mut text = [b'0'; TEXT_LENGTH];
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        f.write_str(T::PREFIX)?;
        f.write_str("_")?;
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}
impl<T: IdKind> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: IdKind> FromStr for Id<T> {
    type Err = Error;

    /// Reads the prefixed form or a bare UUID.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(uuid) = Uuid::try_parse(text) {
            return Ok(Self::from_uuid(uuid));
        }
        let wrong = |why: &str| {
            Error::invalid("request.invalid_id", format!("this is not the id of a {}: {why}", kind_name::<T>()))
        };
        let Some((prefix, digits)) = text.split_once('_') else {
            return Err(wrong(&format!("it must look like {}_… or be a UUID", T::PREFIX)));
        };
        if prefix != T::PREFIX {
            return Err(wrong(&format!("it must start with {}_", T::PREFIX)));
        }
        decode(digits).map(Self::from_uuid).ok_or_else(|| wrong("its 26 characters are not valid"))
    }
}

fn kind_name<T>() -> String {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name).to_lowercase()
}

fn decode(digits: &str) -> Option<Uuid> {
    let digits = digits.as_bytes();
    // 26 characters hold 130 bits; the first may carry only 3 of them.
    if digits.len() != TEXT_LENGTH || digits[0] > b'7' {
        return None;
    }
    let mut bits = 0u128;
    for digit in digits {
        let value = ALPHABET.iter().position(|known| known == digit)?;
        bits = (bits << 5) | value as u128;
    }
    Some(Uuid::from_u128(bits))
}

impl<T: IdKind> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, T: IdKind> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| de::Error::custom(error.message()))
    }
}

impl<T: IdKind> utoipa::PartialSchema for Id<T> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", T::PREFIX)))
            .examples([format!("{}_01hgw2bbg0e4rq9v7pfm3jkd8s", T::PREFIX)])
            .into()
    }
}

impl<T: IdKind> utoipa::ToSchema for Id<T> {
    fn name() -> Cow<'static, str> {
        let name = std::any::type_name::<T>();
        Cow::Owned(format!("{}Id", name.rsplit("::").next().unwrap_or(name)))
    }
}

impl<T> From<Id<T>> for Value {
    fn from(id: Id<T>) -> Self {
        Value::Uuid(Some(id.uuid))
    }
}
impl<T> TryGetable for Id<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        Uuid::try_get_by(row, index).map(Self::from_uuid)
    }
}
impl<T> ValueType for Id<T> {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        <Uuid as ValueType>::try_from(value).map(Self::from_uuid)
    }
    fn type_name() -> String {
        "Id".to_owned()
    }
    fn array_type() -> ArrayType {
        ArrayType::Uuid
    }
    fn column_type() -> ColumnType {
        ColumnType::Uuid
    }
}
impl<T> Nullable for Id<T> {
    fn null() -> Value {
        Value::Uuid(None)
    }
}
impl<T> TryFromU64 for Id<T> {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("Id"))
    }
}
impl<T> sea_orm::IntoActiveValue<Id<T>> for Id<T> {
    fn into_active_value(self) -> sea_orm::ActiveValue<Id<T>> {
        sea_orm::ActiveValue::Set(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_sorts_like_the_uuid() {
        let mut ids: Vec<TenantId> = (0..100).map(|_| TenantId::new()).collect();
        ids.push(TenantId::from_uuid(Uuid::nil()));
        ids.push(TenantId::from_uuid(Uuid::max()));
        let mut texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(text.parse::<TenantId>().expect("parses"), *id);
        }
        ids.sort();
        texts.sort();
        assert_eq!(texts, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    }

    #[test]
    fn a_bare_uuid_is_an_id_and_another_kind_is_not() {
        let id = TenantId::new();
        assert_eq!(id.uuid().to_string().parse::<TenantId>().expect("parses"), id);
        let error = UserId::new().to_string().parse::<TenantId>().expect_err("wrong kind");
        assert!(error.message().contains("ten_"), "{}", error.message());
    }

    #[test]
    fn text_that_would_overflow_or_has_foreign_letters_is_refused() {
        for text in ["ten_8zzzzzzzzzzzzzzzzzzzzzzzzz", "ten_0000000000000000000000000u", "ten_", "", "ten", "ten_01"] {
            assert!(text.parse::<TenantId>().is_err(), "{text}");
        }
    }
}
