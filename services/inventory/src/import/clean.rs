//! Removes what is left of old imports: pieces of files that nobody works on any more, and what is known
//! of imports that ended long ago. Not for pieces of an import that ends well, which go with it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Result, Timestamp};
use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryTrait as _};
use store::{Purpose, Store, TenantRow};
use tasks::Scheduled;

use super::{errors, record, source};

/// How long a file waits for somebody to try a failed import again.
const PIECES: Duration = Duration::from_secs(7 * 86_400);
/// How long an import is remembered.
const IMPORTS: Duration = Duration::from_secs(90 * 86_400);

/// Removes what is old.
pub(crate) struct Forget;

impl Scheduled for Forget {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let now = store.clock().now();
            remove::<source::Entity>(store, now.minus(PIECES)).await?;
            remove::<errors::Entity>(store, now.minus(IMPORTS)).await?;
            remove::<record::Entity>(store, now.minus(IMPORTS)).await
        })
    }
}

async fn remove<E: TenantRow>(store: &Store, before: Timestamp) -> Result<()> {
    let system = store.system(Purpose::Housekeeping).await?;
    system.execute(&E::delete_many().filter(E::CREATED_AT.lt(before)).into_query()).await?;
    system.commit().await
}
