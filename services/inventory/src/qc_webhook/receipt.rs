//! What was received under a key: the id of each message with the hash of its body and the answer it
//! got, written in the transaction of its effect. Our own bookkeeping, so it makes no events. Not for
//! what a result said: the batch has that.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{QuerySelect as _, QueryTrait as _};
use store::{Purpose, Store, Writer};
use tasks::Scheduled;

use super::key::QcKeyId;

/// For how long a message is remembered: longer than senders repeat one.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How many rows go in one transaction.
const BATCH: u64 = 500;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_qc_receipt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Receipt>,
    pub key_id: QcKeyId,
    pub message_id: String,
    pub body_hash: Vec<u8>,
    pub answer: String,
    pub kept_until: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// Marks the ids of receipts.
#[derive(Clone, Copy, Debug)]
pub struct Receipt;

impl IdKind for Receipt {
    const PREFIX: &'static str = "qcr";
}

store::tenant_row!(Entity, Receipt);

/// Finds what a message was answered, if it has come before. Others with its id wait until this
/// transaction has ended.
pub(super) async fn find(writer: &Writer<'_>, key: QcKeyId, message: &str) -> Result<Option<Model>> {
    writer.alone(&format!("inventory.qc/{key}/{message}")).await?;
    let seen = writer.select_with_deleted::<Entity>().filter(Column::KeyId.eq(key));
    seen.filter(Column::MessageId.eq(message)).one().await
}

/// Remembers a message with its answer.
pub(super) async fn keep(
    writer: &mut Writer<'_>,
    key: QcKeyId,
    message: &str,
    body_hash: Vec<u8>,
    answer: &str,
) -> Result<()> {
    let row = ActiveModel {
        key_id: Set(key),
        message_id: Set(message.to_owned()),
        body_hash: Set(body_hash),
        answer: Set(answer.to_owned()),
        kept_until: Set(writer.now().plus(KEPT)),
        ..Default::default()
    };
    writer.append::<Entity>(row).await.map(|_| ())
}

/// Forgets messages that came long ago.
pub(super) struct Clean;

impl Scheduled for Clean {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            while remove(store).await? == BATCH {}
            Ok(())
        })
    }
}

async fn remove(store: &Store) -> Result<u64> {
    let system = store.system(Purpose::Housekeeping).await?;
    let old = Entity::find().filter(Column::KeptUntil.gt(0)).filter(Column::KeptUntil.lt(system.now())).limit(BATCH);
    let ids: Vec<_> = system.all(old).await?.into_iter().map(|row| row.id).collect();
    system.execute(Entity::delete_many().filter(Column::Id.is_in(ids.iter().copied())).as_query()).await?;
    system.commit().await?;
    Ok(ids.len() as u64)
}
