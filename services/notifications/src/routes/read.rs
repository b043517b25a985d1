//! Reading notifications off: one, or all at once. Other tabs hear of it. Not for listing.

use axum::extract::State;
use http::Method;
use kernel::Answer;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde::Serialize;
use serde_json::json;
use service::{App, Operation};
use store::{Event, not_found};
use utoipa::ToSchema;
use web::{Caller, Path};

use crate::routes::list::{Notification, view};
use crate::routes::person;
use crate::tables::notification::{Column, Entity, NotificationId};
use crate::tables::recipient;

/// Somebody has read something; subject is the notification, or the person where it was all of them.
pub(crate) const READ: &str = "notifications.notification.read";

/// A notification that was read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReadNotification {
    /// The notification as it is now.
    notification: Notification,
    /// How many are unread in all.
    unread_count: i64,
}

/// All notifications were read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReadAll {
    /// Everything up to this number is read.
    read_up_to: i64,
    /// How many are unread in all.
    unread_count: i64,
}

pub(crate) fn operations() -> [Operation; 3] {
    let one = |operation: Operation| {
        operation
            .path::<NotificationId>("id")
            .describe(
                "Mark a notification as read",
                "For the person whose it is; to everybody else it is 404. Saying it again changes nothing.",
            )
            .gives::<ReadNotification>(200, "It is read")
            .problems(&[400, 404])
    };
    [
        one(Operation::post("/api/notifications/{id}/mark-read", "notifications_mark_read", mark)),
        one(Operation::new(Method::PUT, "/api/notifications/{id}/read", "notifications_put_read", mark)),
        Operation::post("/api/notifications/mark-all-read", "notifications_mark_all_read", mark_all)
            .describe(
                "Mark all notifications as read",
                "Marks everything that the caller has been told so far; it takes the same time however much it is.",
            )
            .gives::<ReadAll>(200, "All is read"),
    ]
}

async fn mark(State(app): State<App>, Caller(mut ctx): Caller, Path(id): Path<NotificationId>) -> web::Result {
    let user = person(&ctx)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let person = writer.select_with_deleted::<recipient::Entity>().id(user).lock().one().await?;
    let mut person = person.ok_or_else(not_found)?;
    let own = writer.select_with_deleted::<Entity>().id(id).filter(Column::UserId.eq(user));
    let row = own.filter(Column::InApp.eq(true)).one().await?.ok_or_else(not_found)?;
    let mut row = row;
    if row.read_at.is_none() && row.number > person.read_up_to {
        row.read_at = Some(writer.now());
        person.unread -= 1;
        let read = Entity::update_many().col_expr(Column::ReadAt, Expr::val(row.read_at)).filter(Column::Id.eq(id));
        writer.revise(read).await?;
        let count = recipient::Entity::update_many()
            .col_expr(recipient::Column::Unread, Expr::val(person.unread))
            .filter(recipient::Column::Id.eq(user));
        writer.revise(count).await?;
        writer.record(Event::about(READ, id, json!({ "user": user }))).await?;
    }
    let answer = ReadNotification { notification: view(row, &person), unread_count: person.unread };
    Ok(writer.commit(Answer::ok(&answer)?).await?.into())
}

async fn mark_all(State(app): State<App>, Caller(mut ctx): Caller) -> web::Result {
    let user = person(&ctx)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let person = writer.select_with_deleted::<recipient::Entity>().id(user).lock().one().await?;
    let Some(person) = person else {
        return Ok(writer.commit(Answer::ok(&ReadAll { read_up_to: 0, unread_count: 0 })?).await?.into());
    };
    if person.read_up_to < person.last_number {
        let all = recipient::Entity::update_many()
            .col_expr(recipient::Column::ReadUpTo, Expr::val(person.last_number))
            .col_expr(recipient::Column::ReadUpToAt, Expr::val(writer.now()))
            .col_expr(recipient::Column::Unread, Expr::val(0i64))
            .filter(recipient::Column::Id.eq(user));
        writer.revise(all).await?;
        let data = json!({ "user": user, "upTo": person.last_number });
        writer.record(Event::about(READ, user, data)).await?;
    }
    let answer = ReadAll { read_up_to: person.last_number, unread_count: 0 };
    Ok(writer.commit(Answer::ok(&answer)?).await?.into())
}
