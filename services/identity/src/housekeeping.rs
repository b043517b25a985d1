//! Removes what has expired: sessions, codes, registrations, refused sign-ins. Not for events, whose
//! types say how long they are kept.

use std::time::Duration;

use kernel::Result;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use store::{Purpose, Store};

use crate::tables::{code, refused, registration, reset, session, signing_key};

/// How long what has expired stays, for questions.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long refused sign-ins of nobody known stay; a flood makes many.
const REFUSED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Removes what expired a month ago, and says how many rows that were.
pub async fn remove_expired(store: &Store) -> Result<u64> {
    let system = store.system(Purpose::Housekeeping).await?;
    let before = system.now().minus(KEPT);
    let mut removed = 0;
    let sessions = session::Entity::delete_many().filter(session::Column::ExpiresAt.lt(before));
    removed += system.execute(sessions.as_query()).await?;
    let codes = code::Entity::delete_many().filter(code::Column::ExpiresAt.lt(before));
    removed += system.execute(codes.as_query()).await?;
    let resets = reset::Entity::delete_many().filter(reset::Column::ExpiresAt.lt(before));
    removed += system.execute(resets.as_query()).await?;
    let registrations = registration::Entity::delete_many().filter(registration::Column::ExpiresAt.lt(before));
    removed += system.execute(registrations.as_query()).await?;
    let before = system.now().minus(REFUSED_KEPT);
    let refused = refused::Entity::delete_many().filter(refused::Column::CreatedAt.lt(before));
    removed += system.execute(refused.as_query()).await?;
    system.commit().await?;
    Ok(removed)
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
