//! A refused sign-in of somebody who belongs to no tenant that is known. Purged after a while. Not
//! for refusals that a tenant can see: those are events.

use kernel::{Id, IdKind, Timestamp};
use sea_orm::entity::prelude::*;

/// Marks the ids of refused sign-ins.
#[derive(Debug)]
pub struct Refused;
impl IdKind for Refused {
    const PREFIX: &'static str = "rsi";
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_refused_sign_in")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Refused>,
    pub account_hash: Vec<u8>,
    pub network: String,
    pub request_id: String,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}
