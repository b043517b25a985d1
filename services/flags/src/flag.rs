//! A flag: what a tenant says of a key, on or off. A key that the tenant never turned has no row.
//! Not for turning it: see `switch`.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use kernel::{Answer, Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Order;
use serde::Serialize;
use serde_json::json;
use service::{App, Operation, Shape};
use utoipa::ToSchema;
use web::Caller;

use crate::standing::{DecidedBy, Decision};
use crate::state::Flags;

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
    pub description: Option<String>,
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

store::tenant_entity!(
    Entity,
    FlagKind,
    "flags.flag",
    |row: &Model| json!({ "key": row.key, "enabled": row.enabled, "description": row.description })
);

/// Marks the ids of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagKind;

/// Names a flag.
pub type FlagId = Id<FlagKind>;

impl IdKind for FlagKind {
    const PREFIX: &'static str = "flg";
}

/// A switch of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flag {
    /// Names the tenant's flag; null where the tenant never turned the key.
    id: Option<FlagId>,
    /// What programs ask for.
    key: String,
    /// What it is for: what was said when it was turned, else what the product says of it.
    description: Option<String>,
    /// What the tenant says, on or off; null where it never turned the key.
    enabled: Option<bool>,
    /// Whether it is on: what holds.
    effective: bool,
    /// Whose word holds.
    decided_by: DecidedBy,
    /// Counts the changes of the tenant's flag; the ETag is `"v<version>"`.
    version: Option<i64>,
    /// When it last changed.
    updated_at: Option<Timestamp>,
    /// Who changed it last.
    updated_by: Option<String>,
}

impl Flag {
    /// Returns what the tenant said, and what comes of it.
    pub fn turned(row: Model, flags: &Flags, decision: Decision) -> Self {
        let Model { id, key, enabled, description, version, updated_at, updated_by, .. } = row;
        Self {
            id: Some(id),
            description: flags.declared().describe(&key, description),
            key,
            enabled: Some(enabled),
            effective: decision.on,
            decided_by: decision.by,
            version: Some(version),
            updated_at: Some(updated_at),
            updated_by: Some(updated_by),
        }
    }

    /// Returns a key of which the tenant said nothing.
    fn untouched(key: &str, flags: &Flags, decision: Decision) -> Self {
        Self {
            id: None,
            description: flags.declared().describe(key, None),
            key: key.to_owned(),
            enabled: None,
            effective: decision.on,
            decided_by: decision.by,
            version: None,
            updated_at: None,
            updated_by: None,
        }
    }
}

/// The flags of the tenant.
#[derive(Debug, Serialize, ToSchema)]
struct FlagList {
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
            "For the tenant's administrators. Gives by key every flag that the tenant ever turned, every switch that \
             operations stand behind, and every key that the platform turned for everybody. `effective` says what \
             holds, and `decidedBy` why: the platform's word comes before the tenant's, and a key that nobody turned \
             is on. `enabled` is what the tenant says, null where it never turned the key.",
        )
        .gives::<FlagList>(200, "The flags")
}

async fn list(State(app): State<App>, Caller(ctx): Caller, Extension(flags): Extension<Flags>) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let rows = reader.select::<Entity>().order_by(Column::Key, Order::Asc).limit(MOST).all().await?;
    reader.close().await?;
    // What was read is as good as what was heard of, and the answer does not contradict itself.
    flags.learn(|standing| {
        rows.iter().for_each(|row| standing.turn(row.tenant_id, &row.key, row.version, row.enabled));
    });
    let others = flags.declared().keys().map(str::to_owned).chain(flags.platform_keys());
    let mut items: BTreeMap<String, Flag> = others
        .map(|key| {
            let flag = Flag::untouched(&key, &flags, flags.decision(ctx.tenant(), &key));
            (key, flag)
        })
        .collect();
    for row in rows {
        let decision = flags.decision(row.tenant_id, &row.key);
        items.insert(row.key.clone(), Flag::turned(row, &flags, decision));
    }
    Ok(Answer::ok(&FlagList { items: items.into_values().collect() })?.into())
}
