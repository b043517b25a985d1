//! Reads one tenant's rows, from one snapshot, for a bounded time. Not for writing and not for
//! waiting: a reader that is held too long is closed, so it cannot keep the WAL from shrinking.

use std::marker::PhantomData;

use kernel::{Ctx, Result, TenantId};

use crate::scope::{Scoped, TenantEntity, TenantRow};
use crate::session::Session;

/// Reads the rows of one tenant.
pub struct Reader<'c> {
    pub(crate) session: Session,
    pub(crate) tenant: TenantId,
    pub(crate) filtered: bool,
    pub(crate) context: PhantomData<&'c Ctx>,
}

impl Reader<'_> {
    /// Returns the tenant whose rows this reads.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Starts a query over the rows that are not deleted.
    pub fn select<E: TenantEntity>(&self) -> Scoped<'_, E> {
        self.select_with_deleted().live()
    }

    /// Starts a query over all rows, deleted ones too.
    pub fn select_with_deleted<E: TenantRow>(&self) -> Scoped<'_, E> {
        Scoped::new(&self.session, self.tenant, self.filtered)
    }

    /// Ends the read early; dropping it does the same a moment later.
    pub async fn close(self) -> Result<()> {
        self.session.finish(false).await
    }
}
