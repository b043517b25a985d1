//! A flag: a key of the tenant that is on or off. A key that nobody ever turned on or off has no row.
//! Not for turning it: see `switch`.

use axum::extract::State;
use kernel::{Answer, Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Order;
use serde::Serialize;
use serde_json::json;
use service::{App, Operation, Shape};
use utoipa::ToSchema;
use web::Caller;

/// How many flags a tenant may have.
pub(crate) const MOST: u64 = 500;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "flags_flag")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: FlagId,
    pub key: String,
    pub enabled: bool,
    pub created_at: Timestamp,
    pub created_by: String,
    pub version: i64,
    pub updated_at: Timestamp,
    pub updated_by: String,
    pub deleted_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_entity!(Entity, Flag, "flags.flag", |row: &Model| json!({ "key": row.key, "enabled": row.enabled }));

/// A switch of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Flag {
    /// Names the flag.
    pub id: FlagId,
    /// What programs ask for.
    pub key: String,
    /// Whether it is on.
    pub enabled: bool,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Who changed it last.
    pub updated_by: String,
}

/// Names a flag.
pub type FlagId = Id<Flag>;

impl IdKind for Flag {
    const PREFIX: &'static str = "flg";
}

impl From<Model> for Flag {
    fn from(row: Model) -> Self {
        let Model { id, key, enabled, version, updated_at, updated_by, .. } = row;
        Self { id, key, enabled, version, updated_at, updated_by }
    }
}

/// The flags of the tenant.
#[derive(Debug, Serialize, ToSchema)]
struct Flags {
    /// The flags, by key.
    items: Vec<Flag>,
}

/// Returns `GET /api/features`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/features", "flags_list_flags", list)
        .permission("flags.flags.read")
        .shape(Shape::Success)
        .describe(
            "List the flags",
            "For the tenant's administrators. Gives all flags that were ever turned on or off, by key, 500 at most. A \
             key that is not among them has no value: what it switches works as it does without flags.",
        )
        .gives::<Flags>(200, "The flags")
}

async fn list(State(app): State<App>, Caller(ctx): Caller) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let rows = reader.select::<Entity>().order_by(Column::Key, Order::Asc).limit(MOST).all().await?;
    reader.close().await?;
    Ok(Answer::ok(&Flags { items: rows.into_iter().map(Flag::from).collect() })?.into())
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
