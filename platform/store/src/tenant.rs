//! The tenant table, which every tenant row refers to, and what a system purpose may do with it.
//! Not the tenants service: who may change what is its business.

use kernel::{Error, Id, Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect, QueryTrait as _};

use crate::system::System;
use crate::writer::version_mismatch;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TenantId,
    pub slug: String,
    pub name: String,
    pub state: String,
    pub created_at: Timestamp,
    pub plan: String,
    pub time_zone: String,
    pub currency: String,
    pub version: i64,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A tenant as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRecord {
    /// The tenant's id.
    pub id: TenantId,
    /// Its short name in addresses; it never changes.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// `provisioning`, `abandoning`, `active` or `suspended`.
    pub state: String,
    /// What it has booked.
    pub plan: String,
    /// Its IANA time zone.
    pub time_zone: String,
    /// Its ISO 4217 currency.
    pub currency: String,
    /// Counts its changes; starts at 1.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl TenantRecord {
    /// Says whether its people may work: that is what `isActive` shows.
    pub fn is_active(&self) -> bool {
        self.state == ACTIVE
    }

    /// Says whether it is still being made or is being taken back: then it has no events, and is closed.
    pub fn is_provisioning(&self) -> bool {
        self.state == PROVISIONING || self.is_abandoned()
    }

    /// Says whether it is being taken back: then nothing is added to it any more.
    pub fn is_abandoned(&self) -> bool {
        self.state == ABANDONING
    }
}

/// The state of a tenant whose people may work.
const ACTIVE: &str = "active";
/// The state of a tenant that is still being made.
const PROVISIONING: &str = "provisioning";
/// The state of a tenant whose making is being taken back.
const ABANDONING: &str = "abandoning";

/// A tenant that is to be made in several steps.
#[derive(Clone, Copy, Debug)]
pub struct TenantDraft<'a> {
    /// The tenant's id, known before there is a row.
    pub id: TenantId,
    /// Its short name in addresses.
    pub slug: &'a str,
    /// Its name for people.
    pub name: &'a str,
    /// What it has booked; `free` unless said.
    pub plan: Option<&'a str>,
    /// Its IANA time zone; `UTC` unless said.
    pub time_zone: Option<&'a str>,
    /// Its ISO 4217 currency; `EUR` unless said.
    pub currency: Option<&'a str>,
}

impl From<Model> for TenantRecord {
    fn from(row: Model) -> Self {
        let Model { id, slug, name, state, created_at, plan, time_zone, currency, version, updated_at } = row;
        Self { id, slug, name, state, plan, time_zone, currency, version, created_at, updated_at }
    }
}

/// What is to change of a tenant; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct TenantChange {
    /// Its name for people.
    pub name: Option<String>,
    /// `active` or `suspended`.
    pub state: Option<&'static str>,
    /// What it has booked.
    pub plan: Option<String>,
    /// Its IANA time zone.
    pub time_zone: Option<String>,
    /// Its ISO 4217 currency.
    pub currency: Option<String>,
}

/// Which tenants to list.
#[derive(Clone, Debug, Default)]
pub struct TenantFilter {
    /// Only those after this one.
    pub after: Option<TenantId>,
    /// Only those in this state; `provisioning` means those that are taken back, too.
    pub state: Option<String>,
    /// Only those whose slug begins so.
    pub slug_prefix: Option<String>,
}

impl System {
    /// Creates a tenant.
    pub async fn create_tenant(&self, slug: &str, name: &str) -> Result<TenantRecord> {
        let draft = TenantDraft { id: Id::new(), slug, name, plan: None, time_zone: None, currency: None };
        self.insert_tenant(draft, ACTIVE).await
    }

    /// Begins a tenant that is made in several steps: it is `provisioning` until it is changed.
    pub async fn begin_tenant(&self, draft: TenantDraft<'_>) -> Result<TenantRecord> {
        self.insert_tenant(draft, PROVISIONING).await
    }

    async fn insert_tenant(&self, draft: TenantDraft<'_>, state: &str) -> Result<TenantRecord> {
        let TenantDraft { id, slug, name, plan, time_zone, currency } = draft;
        let row = ActiveModel {
            id: Set(id),
            slug: Set(slug.to_owned()),
            name: Set(name.to_owned()),
            state: Set(state.to_owned()),
            created_at: Set(self.now),
            plan: Set(plan.unwrap_or("free").to_owned()),
            time_zone: Set(time_zone.unwrap_or("UTC").to_owned()),
            currency: Set(currency.unwrap_or("EUR").to_owned()),
            version: Set(1),
            updated_at: Set(self.now),
        };
        Ok(self.insert(row).await?.into())
    }

    /// Marks a tenant that is still being made as one that is taken back, and says whether it is one: from
    /// then on nobody can add to it or make it active. Waits for whoever has it locked.
    pub async fn begin_abandoning(&self, id: TenantId) -> Result<bool> {
        let update = Entity::update_many()
            .col_expr(Column::State, Expr::val(ABANDONING))
            .col_expr(Column::Version, Expr::col(Column::Version).add(1i64))
            .col_expr(Column::UpdatedAt, Expr::val(self.now))
            .filter(Column::Id.eq(id))
            .filter(Column::State.is_in([PROVISIONING, ABANDONING]));
        Ok(self.execute(update.as_query()).await? > 0)
    }

    /// Removes a tenant that is still being made or is taken back, and says whether there was one; it must
    /// have no rows left. No other tenant is ever removed so.
    pub async fn abandon_tenant(&self, id: TenantId) -> Result<bool> {
        let closed = Column::State.is_in([PROVISIONING, ABANDONING]);
        let delete = Entity::delete_many().filter(Column::Id.eq(id)).filter(closed);
        Ok(self.execute(&delete.into_query()).await? > 0)
    }

    /// Finds a tenant by its slug.
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<TenantRecord>> {
        Ok(self.one(Entity::find().filter(Column::Slug.eq(slug))).await?.map(Model::into))
    }

    /// Finds a tenant by its id.
    pub async fn tenant(&self, id: TenantId) -> Result<TenantRecord> {
        let found = self.one(Entity::find_by_id(id)).await?;
        found.map(Model::into).ok_or_else(no_such_tenant)
    }

    /// Finds a tenant by its id, and keeps it as it is until this transaction ends.
    pub async fn tenant_locked(&self, id: TenantId) -> Result<TenantRecord> {
        let found = self.one_locked(Entity::find_by_id(id)).await?;
        found.map(Model::into).ok_or_else(no_such_tenant)
    }

    /// Lists tenants in the order of their ids, which is that of their making.
    pub async fn tenants(&self, filter: &TenantFilter, limit: u64) -> Result<Vec<TenantRecord>> {
        let mut select = Entity::find().order_by_asc(Column::Id).limit(limit);
        if let Some(after) = filter.after {
            select = select.filter(Column::Id.gt(after));
        }
        if let Some(state) = &filter.state {
            let taken_back = (state == PROVISIONING).then_some(ABANDONING);
            select = select.filter(Column::State.is_in([Some(state.as_str()), taken_back].into_iter().flatten()));
        }
        if let Some(prefix) = &filter.slug_prefix {
            // A slug holds neither of LIKE's wildcards; what is asked might.
            let plain = prefix.replace(['%', '_'], "");
            select = select.filter(Column::Slug.starts_with(plain));
        }
        Ok(self.all(select).await?.into_iter().map(Model::into).collect())
    }

    /// Changes a tenant; with `expected`, only if that is still its version.
    pub async fn change_tenant(
        &self,
        id: TenantId,
        expected: Option<i64>,
        change: TenantChange,
    ) -> Result<TenantRecord> {
        let mut update = Entity::update_many()
            .col_expr(Column::Version, Expr::col(Column::Version).add(1i64))
            .col_expr(Column::UpdatedAt, Expr::val(self.now))
            .filter(Column::Id.eq(id));
        let texts = [
            (Column::Name, change.name),
            (Column::State, change.state.map(str::to_owned)),
            (Column::Plan, change.plan),
            (Column::TimeZone, change.time_zone),
            (Column::Currency, change.currency),
        ];
        for (column, value) in texts {
            if let Some(value) = value {
                update = update.col_expr(column, Expr::val(value));
            }
        }
        if let Some(expected) = expected {
            update = update.filter(Column::Version.eq(expected));
        }
        let changed = self.execute(update.as_query()).await?;
        let tenant = self.tenant(id).await?;
        if changed == 0 { Err(version_mismatch()) } else { Ok(tenant) }
    }
}

fn no_such_tenant() -> Error {
    Error::not_found("tenants.not_found", "there is no such tenant")
}
