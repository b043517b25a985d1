//! Removes what people were told long ago. Not for events, which have days of their own.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Result, Timestamp};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, UpdateStatement};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _, QueryTrait as _};
use store::{Purpose, Store};
use tasks::{Schedule, Scheduled};

use crate::tables::{delivery, notification, occurrence, recipient};

/// How long a notification stays after something was last added to it.
const KEPT: Duration = Duration::from_secs(180 * 24 * 3600);
/// How many are removed in one transaction.
const AT_ONCE: u64 = 200;

/// Returns the schedule.
pub(crate) fn schedule() -> Schedule {
    Schedule::new("notifications.remove_old", "23 3 * * *", RemoveOld)
}

struct RemoveOld;

impl Scheduled for RemoveOld {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let before = store.clock().now().minus(KEPT);
            while remove_some(store, before).await? == AT_ONCE {}
            Ok(())
        })
    }
}

async fn remove_some(store: &Store, before: Timestamp) -> Result<u64> {
    let system = store.system(Purpose::Housekeeping).await?;
    let old = notification::Entity::find().filter(notification::Column::UpdatedAt.lt(before)).limit(AT_ONCE);
    let old = system.all(old).await?;
    let ids: Vec<_> = old.iter().map(|row| row.id).collect();
    let users: Vec<_> = old.iter().map(|row| row.user_id).collect();
    if ids.is_empty() {
        system.close().await?;
        return Ok(0);
    }
    // Whoever tells these people something waits from here on, so that the count below is right.
    let hold = Query::update()
        .table(recipient::Entity)
        .value(recipient::Column::Unread, Expr::col(recipient::Column::Unread))
        .and_where(Expr::col(recipient::Column::Id).is_in(users.clone()))
        .take();
    system.execute(&hold).await?;
    let of = delivery::Column::NotificationId.is_in(ids.clone());
    system.execute(&delivery::Entity::delete_many().filter(of).into_query()).await?;
    let of = occurrence::Column::NotificationId.is_in(ids.clone());
    system.execute(&occurrence::Entity::delete_many().filter(of).into_query()).await?;
    let these = notification::Column::Id.is_in(ids);
    system.execute(&notification::Entity::delete_many().filter(these).into_query()).await?;
    system.execute(&count_unread(users)).await?;
    system.commit().await?;
    Ok(old.len() as u64)
}

/// Counts anew what these people have not read.
fn count_unread(users: Vec<kernel::UserId>) -> UpdateStatement {
    let told = |column: notification::Column| Expr::col((Alias::new("notifications_notification"), column));
    let person = |column: recipient::Column| Expr::col((Alias::new("notifications_recipient"), column));
    let unread = Query::select()
        .expr(told(notification::Column::Id).count())
        .from(notification::Entity)
        .and_where(told(notification::Column::TenantId).eq(person(recipient::Column::TenantId)))
        .and_where(told(notification::Column::UserId).eq(person(recipient::Column::Id)))
        .and_where(told(notification::Column::InApp).eq(true))
        .and_where(told(notification::Column::ReadAt).is_null())
        .and_where(told(notification::Column::Number).gt(person(recipient::Column::ReadUpTo)))
        .take();
    Query::update()
        .table(recipient::Entity)
        .value(recipient::Column::Unread, Expr::from(sea_orm::sea_query::SubQueryStatement::SelectStatement(unread)))
        .and_where(Expr::col(recipient::Column::Id).is_in(users))
        .take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_over_one_persons_unread_in_one_tenant() {
        let sql = count_unread(vec![]).to_string(sea_orm::sea_query::SqliteQueryBuilder);
        assert!(sql.contains(r#""notifications_notification"."user_id" = "notifications_recipient"."id""#), "{sql}");
    }
}
