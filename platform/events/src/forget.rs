//! Forgets a subscription or a sink that nobody runs any more, so that events need not be kept for it.
//! Not for one in use: see `replay` for starting that anew.

use kernel::{Error, Result};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use store::{Purpose, Store};

use crate::operate::{mark, unknown};
use crate::tables::{cursor, mark, parked};

/// Removes how far a subscription or a sink has come, and what it had set aside; refused where it is one
/// of those `in_use`, or where a process works on it.
pub async fn forget(store: &Store, in_use: &[&str], name: &str) -> Result<()> {
    if in_use.contains(&name) {
        let message = format!("{name} is in use: it would begin anew, and do everything again");
        return Err(Error::conflict(IN_USE, message));
    }
    let system = store.system(Purpose::Dispatch).await?;
    let Some(mark) = mark(&system, name).await? else { return Err(unknown(name)) };
    if mark.lease_holder.is_some() && mark.lease_until > system.now() {
        let message =
            format!("a process works on {name}, maybe one of another version: stop it, or try again in a minute");
        return Err(Error::conflict(IN_USE, message));
    }
    let marks = Query::delete().from_table(mark::Entity).and_where(Expr::col(mark::Column::Name).eq(name)).take();
    let cursors =
        Query::delete().from_table(cursor::Entity).and_where(Expr::col(cursor::Column::Subscription).eq(name)).take();
    let set_aside =
        Query::delete().from_table(parked::Entity).and_where(Expr::col(parked::Column::Subscription).eq(name)).take();
    system.execute(&marks).await?;
    system.execute(&cursors).await?;
    let dropped = system.execute(&set_aside).await?;
    system.commit().await?;
    tracing::warn!(subscription = name, position = mark.position, dropped, "a subscription was forgotten");
    Ok(())
}

const IN_USE: &str = "events.subscription_in_use";
