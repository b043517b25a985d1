//! A budget of the tenant's own: what may be used of language models, by whom, in which time. Not for what was used:
//! see `counter`.

use kernel::{Error, Id, IdKind, Period, Result, TenantId, Text, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, sea_query::Order};
use serde::{Deserialize, Serialize};
use service::{Field, FieldKind, Permissions, Resource, Shape, Spec, UpdateVerb};
use store::Writer;
use utoipa::ToSchema;

use crate::call::{Limit, Per, Unit};
use crate::counter::Rule;

/// How many budgets a tenant may have: each that is on is looked at by every call.
pub(crate) const MOST: u64 = 50;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_budget")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: BudgetId,
    pub name: String,
    pub per: Per,
    pub period: Period,
    pub unit: Unit,
    pub most: i64,
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

store::tenant_entity!(Entity, Budget, "usage.budget", |row: &Model| {
    serde_json::to_value(Budget::view(row)).unwrap_or_default()
});

/// What may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageBudget)]
pub struct Budget {
    /// Names the budget.
    pub id: BudgetId,
    /// What people call it.
    pub name: String,
    /// Whom it is for: each of these has one of its own.
    pub per: Per,
    /// How long what was used counts.
    pub period: Period,
    /// How many tokens, if it counts tokens.
    pub tokens: Option<i64>,
    /// How much money in billionths of the currency's major unit, if it counts money.
    pub nano: Option<i64>,
    /// Whether it counts.
    pub enabled: bool,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Names a budget.
pub type BudgetId = Id<Budget>;

impl IdKind for Budget {
    const PREFIX: &'static str = "usb";
}

/// A budget as it is to be: what creating one takes, and what replaces one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = UsageBudgetInput)]
pub struct BudgetInput {
    /// What people call it; no other budget has this name.
    pub name: Text<100>,
    /// Whom it is for: each of these has one of its own.
    pub per: Per,
    /// How long what was used counts.
    pub period: Period,
    /// How many tokens; or else `nano`.
    #[schema(minimum = 1)]
    pub tokens: Option<i64>,
    /// How much money in billionths of the currency's major unit; or else `tokens`.
    #[schema(minimum = 1)]
    pub nano: Option<i64>,
    /// Whether it counts; yes unless said.
    pub enabled: Option<bool>,
}

impl Resource for Budget {
    type Entity = Entity;
    type Create = BudgetInput;
    type Update = BudgetInput;

    const SPEC: Spec = Spec {
        service: "usage",
        singular: "budget",
        plural: "budgets",
        path: "/api/v1/usage/budgets",
        item_path: "/api/v1/usage/budgets/{id}",
        restore_path: "/api/v1/usage/budgets/{id}/restore",
        export_path: None,
        update: UpdateVerb::Put,
        permissions: Permissions {
            read: "usage.budgets.read",
            write: "usage.budgets.write",
            delete: "usage.budgets.write",
            restore: "usage.budgets.write",
            export: "usage.budgets.read",
        },
        shape: Shape::Plain,
        export: &[],
    };

    fn fields() -> Vec<Field<Column>> {
        vec![
            Field::new("createdAt", Column::CreatedAt, FieldKind::Time),
            Field::new("updatedAt", Column::UpdatedAt, FieldKind::Time),
            Field::new("name", Column::Name, FieldKind::Text),
            Field::new("enabled", Column::Enabled, FieldKind::Boolean),
        ]
    }

    fn view(row: &Model) -> Self {
        let amount = |unit| (row.unit == unit).then_some(row.most);
        Self {
            id: row.id,
            name: row.name.clone(),
            per: row.per,
            period: row.period,
            tokens: amount(Unit::Tokens),
            nano: amount(Unit::Nano),
            enabled: row.enabled,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }

    fn create(input: BudgetInput) -> Result<ActiveModel> {
        let wrong = |field, why| Error::invalid("request.invalid_body", "the body is not valid").field(field, why);
        let (unit, field, most) = match (input.tokens, input.nano) {
            (Some(tokens), None) => (Unit::Tokens, "tokens", tokens),
            (None, Some(nano)) => (Unit::Nano, "nano", nano),
            _ => return Err(wrong("tokens", "give either `tokens` or `nano`")),
        };
        if most <= 0 {
            return Err(wrong(field, "must be above 0"));
        }
        Ok(ActiveModel {
            name: Set(input.name.into()),
            per: Set(input.per),
            period: Set(input.period),
            unit: Set(unit),
            most: Set(most),
            enabled: Set(input.enabled.unwrap_or(true)),
            ..Default::default()
        })
    }

    /// A PUT says all of it.
    fn update(input: BudgetInput) -> Result<ActiveModel> {
        Self::create(input)
    }
}

/// Returns the tenant's budgets that count.
pub(crate) async fn that_count(writer: &Writer<'_>) -> Result<Vec<Rule>> {
    let rows = writer.select::<Entity>().filter(Column::Enabled.eq(true)).order_by(Column::Id, Order::Asc);
    let rule = |row: Model| Rule {
        limit: Limit { name: row.name.into(), per: row.per, unit: row.unit, period: row.period, most: row.most },
        own: Some(row.id),
    };
    Ok(rows.limit(MOST).all().await?.into_iter().map(rule).collect())
}
