//! The window in which what happens to one object comes together: finding the open notification, adding
//! to it, beginning one, and shutting it. Not for who is told.

use std::time::Duration;

use kernel::{Id, Result, Timestamp, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, UpdateMany};
use store::Writer;

use crate::notice::Notice;
use crate::tables::notification::{self, NotificationId};

/// How long a window stays open after what came last.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// How long it stays open at most.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Returns the notification that this may be added to. One whose window has closed by itself is shut.
pub(crate) async fn find_open(
    writer: &mut Writer<'_>,
    notice: &Notice,
    user: UserId,
) -> Result<Option<notification::Model>> {
    let open = writer
        .select_with_deleted::<notification::Entity>()
        .filter(notification::Column::UserId.eq(user))
        .filter(notification::Column::Kind.eq(notice.kind.name()))
        .filter(notification::Column::Object.eq(notice.object.as_str()))
        .filter(notification::Column::Open.eq(true));
    let Some(open) = open.lock().one().await? else { return Ok(None) };
    if open.closes_at > writer.now() {
        return Ok(Some(open));
    }
    writer.revise(shut(open.id)).await?;
    Ok(None)
}

/// Lets nothing more be added to a notification.
pub(crate) fn shut(id: NotificationId) -> UpdateMany<notification::Entity> {
    notification::Entity::update_many()
        .col_expr(notification::Column::Open, Expr::val(false))
        .filter(notification::Column::Id.eq(id))
}

pub(crate) async fn begin(
    writer: &mut Writer<'_>,
    notice: &Notice,
    user: UserId,
    number: i64,
    in_app: bool,
) -> Result<notification::Model> {
    let now = writer.now();
    let row = notification::ActiveModel {
        id: Set(Id::new()),
        user_id: Set(user),
        kind: Set(notice.kind.name().to_owned()),
        object: Set(notice.object.clone()),
        severe: Set(notice.severe),
        in_app: Set(in_app),
        title: Set(notice.title.clone()),
        body: Set(notice.body.clone()),
        count: Set(1),
        number: Set(number),
        read_at: Set(None),
        open: Set(!notice.severe),
        closes_at: Set(now.plus(WINDOW)),
        updated_at: Set(now),
        ..Default::default()
    };
    writer.append::<notification::Entity>(row).await
}

/// Adds to an open notification: it says the latest, is unread again and comes first.
pub(crate) async fn grow(
    writer: &mut Writer<'_>,
    notice: &Notice,
    open: notification::Model,
    number: i64,
    in_app: bool,
) -> Result<notification::Model> {
    let now = writer.now();
    let closes_at = closing(&open, now);
    let row = notification::Model {
        title: notice.title.clone(),
        body: notice.body.clone(),
        count: open.count + 1,
        in_app: open.in_app || in_app,
        read_at: None,
        updated_at: now,
        number,
        closes_at,
        ..open
    };
    let update = notification::Entity::update_many()
        .col_expr(notification::Column::Title, Expr::val(row.title.as_str()))
        .col_expr(notification::Column::Body, Expr::val(row.body.as_str()))
        .col_expr(notification::Column::Count, Expr::val(row.count))
        .col_expr(notification::Column::InApp, Expr::val(row.in_app))
        .col_expr(notification::Column::ReadAt, Expr::val(row.read_at))
        .col_expr(notification::Column::UpdatedAt, Expr::val(row.updated_at))
        .col_expr(notification::Column::Number, Expr::val(row.number))
        .col_expr(notification::Column::ClosesAt, Expr::val(row.closes_at))
        .filter(notification::Column::Id.eq(row.id));
    writer.revise(update).await?;
    Ok(row)
}

/// The window slides, and ends; only quiet hours hold it open for longer.
fn closing(open: &notification::Model, now: Timestamp) -> Timestamp {
    let end = now.plus(WINDOW).min(open.created_at.plus(LONGEST));
    end.max(open.closes_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_ends() {
        let at = |minutes: u64| Timestamp(0).plus(Duration::from_secs(60 * minutes));
        let open = |closes: u64| notification::Model {
            tenant_id: Id::new(),
            id: Id::new(),
            user_id: UserId::new(),
            kind: String::new(),
            object: String::new(),
            severe: false,
            in_app: true,
            title: String::new(),
            body: String::new(),
            count: 1,
            number: 1,
            read_at: None,
            open: true,
            closes_at: at(closes),
            updated_at: at(0),
            created_at: at(0),
            created_by: String::new(),
        };
        assert_eq!(closing(&open(5), at(4)), at(9));
        assert_eq!(closing(&open(29), at(28)), at(30), "thirty minutes at most");
        assert_eq!(closing(&open(500), at(100)), at(500), "quiet hours hold it open");
    }
}
