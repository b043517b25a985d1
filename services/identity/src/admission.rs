//! Lets an attempt to prove something in, or says how long it has to wait. Not for the proof.

use kernel::Result;
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query};
use store::{Purpose, Store};

use crate::credentials::throttle::{Attempt, Counted, Network, Verdict, slow_down};
use crate::state::Identity;

/// Counts an attempt, and refuses it where too many came before.
pub(crate) async fn admit(store: &Store, identity: &Identity, attempt: Attempt) -> Result<Counted> {
    let counted = identity.throttle().begin(attempt, store.clock().now())?;
    let Verdict::KnownNetworksOnly(wait) = counted.verdict else { return Ok(counted) };
    let account = counted.account.as_deref().unwrap_or_default();
    if known_network(store, account, counted.network).await? { Ok(counted) } else { Err(slow_down(wait)) }
}

/// Says whether the account was used from this network, as far as sessions are remembered.
async fn known_network(store: &Store, email: &str, network: Network) -> Result<bool> {
    let column = |table: &str, name: &str| (Alias::new(table), Alias::new(name));
    let select = Query::select()
        .expr(Expr::val(1))
        .from_as(Alias::new("identity_user"), Alias::new("u"))
        .join_as(
            sea_orm::JoinType::InnerJoin,
            Alias::new("identity_session"),
            Alias::new("s"),
            Expr::col(column("s", "user_id")).equals(column("u", "id")),
        )
        .and_where(Expr::col(column("u", "email")).eq(email))
        .and_where(Expr::col(column("s", "network")).eq(network.to_string()))
        .limit(1)
        .take();
    let system = store.system_read(Purpose::SignIn).await?;
    let known = !system.rows(&select).await?.is_empty();
    system.close().await?;
    Ok(known)
}
