//! A flag of the platform: what holds for every tenant, whatever it says itself. One that was taken
//! back keeps its row, so that its versions go on. Not for turning it: see `platform_switch`.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use kernel::{Answer, Timestamp};
use sea_orm::QueryOrder as _;
use sea_orm::entity::prelude::*;
use serde::Serialize;
use service::{App, Operation, Shape};
use store::Purpose;
use utoipa::ToSchema;
use web::Caller;

use crate::state::Flags;

/// How many keys the platform may have turned.
pub(crate) const MOST: u64 = 500;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "flags_platform_flag")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// Nothing leaves it to the tenants.
    pub enabled: Option<bool>,
    pub description: Option<String>,
    pub reason: Option<String>,
    pub version: i64,
    pub updated_at: Timestamp,
    pub updated_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// A switch as the platform has turned it for every tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlatformFlag {
    /// What programs ask for.
    key: String,
    /// What it is for: what was said when it was turned, else what the product says of it.
    description: Option<String>,
    /// Whether it is on or off for everybody; null leaves it to the tenants.
    enabled: Option<bool>,
    /// Why it was last changed.
    reason: Option<String>,
    /// Counts its changes; the ETag is `"v<version>"`. Null where it was never turned.
    version: Option<i64>,
    /// When it last changed.
    updated_at: Option<Timestamp>,
    /// Who changed it last.
    updated_by: Option<String>,
}

impl PlatformFlag {
    /// Returns what the platform says.
    pub fn turned(row: Model, flags: &Flags) -> Self {
        let Model { key, enabled, description, reason, version, updated_at, updated_by } = row;
        Self {
            description: flags.declared().describe(&key, description),
            key,
            enabled,
            reason,
            version: Some(version),
            updated_at: Some(updated_at),
            updated_by: Some(updated_by),
        }
    }

    /// Returns a key of which the platform never said anything.
    fn untouched(key: &str, flags: &Flags) -> Self {
        Self {
            key: key.to_owned(),
            description: flags.declared().describe(key, None),
            enabled: None,
            reason: None,
            version: None,
            updated_at: None,
            updated_by: None,
        }
    }
}

/// The flags of the platform.
#[derive(Debug, Serialize, ToSchema)]
struct PlatformFlagList {
    /// The flags, by key.
    items: Vec<PlatformFlag>,
}

/// Returns `GET /api/v1/platform/features`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/v1/platform/features", "flags_list_platform_flags", list)
        .permission("flags.platform.read")
        .shape(Shape::Success)
        .describe(
            "List the platform's flags",
            "For superadmins. Gives by key every switch that operations stand behind and every key that the platform \
             ever turned. `enabled` is what holds for every tenant; null leaves it to the tenants.",
        )
        .gives::<PlatformFlagList>(200, "The flags")
}

async fn list(State(app): State<App>, Caller(_): Caller, Extension(flags): Extension<Flags>) -> web::Result {
    let system = app.store.system_read(Purpose::Switches).await?;
    let rows = system.all(Entity::find().order_by_asc(Column::Key)).await?;
    system.close().await?;
    let untouched = flags.declared().keys().map(|key| (key.to_owned(), PlatformFlag::untouched(key, &flags)));
    let mut items: BTreeMap<String, PlatformFlag> = untouched.collect();
    items.extend(rows.into_iter().map(|row| (row.key.clone(), PlatformFlag::turned(row, &flags))));
    Ok(Answer::ok(&PlatformFlagList { items: items.into_values().collect() })?.into())
}
