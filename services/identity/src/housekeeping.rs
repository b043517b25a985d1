//! Removes what has expired: sessions, tokens, codes, registrations, keys, refused sign-ins. Not for events, whose
//! types say how long they are kept.

use std::time::Duration;

use kernel::{Result, Timestamp};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use store::{Purpose, Store};

use crate::tables::{code, invitation, refused, registration, reset, session, signing_key, ticket, token};

/// How long what has expired stays, for questions.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long refused sign-ins of nobody known stay; a flood makes many.
const REFUSED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a ticket stays that was used or came too late; each opened one connection.
const TICKETS_KEPT: Duration = Duration::from_secs(3600);

/// How long a confirmed registration stays: its person has been made.
const CONFIRMED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Removes what expired a month ago, and says how many rows that were.
pub async fn remove_expired(store: &Store) -> Result<u64> {
    let now = store.clock().now();
    let before = now.minus(KEPT);
    let confirmed = registration::Column::UsedAt.lt(now.minus(CONFIRMED_KEPT));
    let mut removed = 0;
    for old in [
        session::Entity::delete_many().filter(session::Column::ExpiresAt.lt(before)).into_query(),
        token::Entity::delete_many().filter(token::Column::ExpiresAt.lt(before)).into_query(),
        invitation::Entity::delete_many().filter(invitation::Column::ExpiresAt.lt(before)).into_query(),
        code::Entity::delete_many().filter(code::Column::ExpiresAt.lt(before)).into_query(),
        reset::Entity::delete_many().filter(reset::Column::ExpiresAt.lt(before)).into_query(),
        registration::Entity::delete_many().filter(registration::Column::ExpiresAt.lt(before)).into_query(),
        registration::Entity::delete_many().filter(confirmed).into_query(),
        ticket::Entity::delete_many().filter(ticket::Column::ExpiresAt.lt(now.minus(TICKETS_KEPT))).into_query(),
        refused::Entity::delete_many().filter(refused::Column::CreatedAt.lt(now.minus(REFUSED_KEPT))).into_query(),
        // A key that its successor replaced a month ago has signed nothing that still works.
        signing_key::Entity::delete_many()
            .filter(signing_key::Column::Serial.in_subquery(replaced(before)))
            .into_query(),
    ] {
        // Each in a transaction of its own: nobody waits long, and one that fails stops no other for good.
        let system = store.system(Purpose::Housekeeping).await?;
        removed += system.execute(&old).await?;
        system.commit().await?;
    }
    Ok(removed)
}

/// Selects the keys that have a successor which signed before that moment.
fn replaced(before: Timestamp) -> SelectStatement {
    let successor = |column| (Alias::new("later"), column);
    let later = Query::select()
        .expr(Expr::val(1))
        .from_as(signing_key::Entity, Alias::new("later"))
        .and_where(Expr::col(successor(signing_key::Column::SignsFrom)).lt(before))
        .and_where(
            Expr::col(successor(signing_key::Column::Serial))
                .gt(Expr::col((signing_key::Entity, signing_key::Column::Serial))),
        )
        .take();
    Query::select()
        .column((signing_key::Entity, signing_key::Column::Serial))
        .from(signing_key::Entity)
        .and_where(Expr::exists(later))
        .take()
}

/// Removes all that was sealed under a master key that is lost, and says how many rows that were:
/// signing keys and sessions. People keep their passwords and sign in again.
pub async fn forget_secrets(store: &Store) -> Result<u64> {
    let system = store.system(Purpose::Housekeeping).await?;
    let mut removed = system.execute(session::Entity::delete_many().as_query()).await?;
    removed += system.execute(signing_key::Entity::delete_many().as_query()).await?;
    system.commit().await?;
    Ok(removed)
}
