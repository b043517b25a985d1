//! How a tenant keeps its stock: what happens when somebody takes more than there is. Not for the
//! levels of single items.

use axum::extract::State;
use kernel::{Answer, Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation, Shape};
use store::Writer;
use utoipa::ToSchema;
use web::{Body, Caller};

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_settings")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Settings>,
    pub negative_stock: String,
    pub singleton: i64,
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
    Settings,
    "inventory.settings",
    |row: &Model| json!({ "negativeStock": row.negative_stock })
);

/// What happens when somebody takes more than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NegativeStock {
    /// It is refused.
    #[default]
    Deny,
    /// It is done, and the answer says that stock is below zero.
    Warn,
    /// It is done.
    Allow,
}

impl NegativeStock {
    /// Returns the policy as it is stored.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
            Self::Allow => "allow",
        }
    }

    /// Returns the policy with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Deny, Self::Warn, Self::Allow].into_iter().find(|policy| policy.name() == name)
    }

    /// Says whether stock may fall below zero.
    pub(crate) fn allows_below_zero(self) -> bool {
        self != Self::Deny
    }
}

/// How the tenant keeps its stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// What happens when somebody takes more than there is of an item that says nothing of its own.
    pub negative_stock: NegativeStock,
}

impl IdKind for Settings {
    const PREFIX: &'static str = "ivs";
}

/// Returns the tenant's policy, inside a change.
pub(crate) async fn of(writer: &Writer<'_>) -> Result<NegativeStock> {
    let row = writer.select::<Entity>().one().await?;
    Ok(row.and_then(|row| NegativeStock::named(&row.negative_stock)).unwrap_or_default())
}

/// Returns `GET` and `PUT /api/inventory/settings`.
pub(crate) fn operations() -> [Operation; 2] {
    [
        Operation::get("/api/inventory/settings", "inventory_get_settings", get)
            .permission("inventory.items.read")
            .shape(Shape::Success)
            .describe(
                "Get how stock is kept",
                "Gives the tenant's policies. `negativeStock` is what happens when somebody takes more than there is: \
                 `deny` (as long as nobody said otherwise) answers 409, `warn` does it and says so, `allow` does it.",
            )
            .gives::<Settings>(200, "As it is"),
        Operation::new(http::Method::PUT, "/api/inventory/settings", "inventory_update_settings", update)
            .permission("inventory.settings.write")
            .shape(Shape::Success)
            .describe(
                "Change how stock is kept",
                "For the tenant's administrators. Sets the policies; an item may have a `negativeStock` of its own, \
                 which then counts. Stock that is below zero already stays as it is. Writes \
                 `inventory.settings.created` or `.updated`.",
            )
            .takes::<Settings>()
            .gives::<Settings>(200, "As it is now")
            .problems(&[400, 415]),
    ]
}

async fn get(State(app): State<App>, Caller(ctx): Caller) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let row = reader.select::<Entity>().one().await?;
    reader.close().await?;
    let negative_stock = row.and_then(|row| NegativeStock::named(&row.negative_stock)).unwrap_or_default();
    Ok(Answer::ok(&Settings { negative_stock })?.into())
}

async fn update(State(app): State<App>, Caller(mut ctx): Caller, Body(input): Body<Settings>) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    writer.alone("inventory.settings").await?;
    let named = ActiveModel { negative_stock: Set(input.negative_stock.name().to_owned()), ..Default::default() };
    match writer.select::<Entity>().one().await? {
        Some(row) => writer.update::<Entity>(row.id, None, named).await?,
        None => writer.insert::<Entity>(ActiveModel { singleton: Set(1), ..named }).await?,
    };
    Ok(writer.commit(Answer::ok(&input)?).await?.into())
}
