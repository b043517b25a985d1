//! The tenant table, which every tenant row refers to. Not the tenants service: plans, quotas and
//! life cycle are its business.

use kernel::{TenantId, Timestamp};
use sea_orm::entity::prelude::*;

use crate::system::TenantRecord;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TenantId,
    pub slug: String,
    pub name: String,
    pub state: String,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for TenantRecord {
    fn from(row: Model) -> Self {
        Self { id: row.id, slug: row.slug, name: row.name, state: row.state }
    }
}
