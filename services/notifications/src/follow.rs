//! What the service does with each event that it follows: keeps its own list of who is a member of
//! what role, and tells people what concerns them. One subscription for both, so that nobody is told
//! before being a member. Not for the words.

use events::{Kinds, Subscriber, Subscription};
use futures_util::future::BoxFuture;
use kernel::{Result, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde::Deserialize;
use service::Role;
use store::{EventRow, Writer};

use crate::tables::recipient::{ActiveModel, Column, Entity};
use crate::{notice, raise};

const JOINED: &str = "identity.user.created";
const CHANGED: &str = "identity.user.updated";
const LEFT: &str = "identity.user.deactivated";

/// Returns the subscription. Applying an event again changes nothing.
pub(crate) fn subscription() -> Subscription {
    const KINDS: &[&str] =
        &[JOINED, CHANGED, LEFT, notice::LOW_STOCK, notice::ADJUSTED, notice::QC_FAILED, notice::ALERT];
    Subscription::new("notifications.items", Kinds::Of(KINDS), Follower)
}

struct Follower;

impl Subscriber for Follower {
    fn apply<'a, 'c: 'a>(&'a self, writer: &'a mut Writer<'c>, event: &'a EventRow) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match event.kind.as_str() {
                JOINED | CHANGED | LEFT => keep_member(writer, event).await,
                _ => match notice::read(event, writer.now()) {
                    Some(notice) => raise::raise(writer, &notice).await,
                    None => Ok(()),
                },
            }
        })
    }
}

#[derive(Deserialize)]
struct Membership {
    role: Option<String>,
}

async fn keep_member(writer: &mut Writer<'_>, event: &EventRow) -> Result<()> {
    let Ok(user) = event.subject.parse::<UserId>() else { return Ok(()) };
    let said = serde_json::from_str::<Membership>(&event.data).ok().and_then(|said| said.role);
    let role = said.filter(|_| event.kind != LEFT).and_then(|role| Role::named(&role));
    if role.is_none() && event.kind != LEFT {
        // Something else about the person: the platform role, for one.
        return Ok(());
    }
    let role = role.map(|role| role.name().to_owned());
    let update = Entity::update_many().col_expr(Column::Role, Expr::val(role.clone())).filter(Column::Id.eq(user));
    if writer.revise(update).await? == 0 && role.is_some() {
        let row = ActiveModel {
            id: Set(user),
            role: Set(role),
            last_number: Set(0),
            read_up_to: Set(0),
            read_up_to_at: Set(None),
            unread: Set(0),
            ..Default::default()
        };
        writer.append::<Entity>(row).await?;
    }
    Ok(())
}
