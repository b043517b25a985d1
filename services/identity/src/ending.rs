//! Ends sessions of a person in all organisations at once, with an event in each, so that every
//! process forgets them. Not for a person's own choice of one session: see `routes::sessions`.

use kernel::{RequestId, Result, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QuerySelect as _, QueryTrait as _};
use serde_json::json;
use store::{Event, System};

use crate::tables::session::{Column, Entity, SessionId};

/// Which of a person's sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    AllBut(SessionId),
    /// Those in which the person runs the platform.
    Elevated,
}

/// Ends the sessions. The caller has changed the person's row in the same transaction, so nobody opens
/// another meanwhile: see `opening::hold_account`.
pub(crate) async fn end_sessions(
    system: &System,
    user: UserId,
    which: Which,
    actor: &str,
    request: &RequestId,
) -> Result<()> {
    let mut those = Condition::all().add(Column::UserId.eq(user)).add(Column::DeletedAt.is_null());
    match which {
        Which::All => {}
        Which::AllBut(kept) => those = those.add(Column::Id.ne(kept)),
        Which::Elevated => those = those.add(Column::Elevation.is_not_null()),
    }
    let still_works = Column::ExpiresAt.gt(system.now());
    let tenants = Entity::find().select_only().column(Column::TenantId).distinct().filter(those.clone());
    let tenants = system.rows(&tenants.filter(still_works).into_query()).await?;
    let end = Entity::update_many().col_expr(Column::DeletedAt, Expr::val(system.now())).filter(those);
    system.execute(end.as_query()).await?;
    // One event an organisation, however many sessions there were.
    for row in tenants {
        let tenant = row.try_get_by_index(0).map_err(store::from_database)?;
        system.record(tenant, actor, request, &Event::about(SIGNED_OUT, user, json!({}))).await?;
    }
    Ok(())
}

/// Says that sessions of a person were ended all at once.
pub(crate) const SIGNED_OUT: &str = "identity.user.signed_out";
