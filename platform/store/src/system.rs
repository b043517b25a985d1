//! Work that no tenant asked for: looking a token up before its tenant is known, the relay,
//! housekeeping. Each reason is named, has a PostgreSQL role of its own, and is logged and
//! counted. Not a way around the tenant scope for convenience: a service that needs another
//! reason adds it here, where review sees it.

use kernel::{Ctx, CtxParts, PermissionSet, RequestId, Result, TenantId, Timestamp};
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryResult, Select, StatementBuilder};

use crate::change;
use crate::event::{Event, Stamp};
use crate::scope::locked;
use crate::session::Session;

/// Why something looks across tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Finding a person, a session or a token before the tenant is known, and what belongs to it.
    SignIn,
    /// Creating tenants and the people in them: first start, registration, invitations.
    Bootstrap,
    /// Reading and changing tenants themselves.
    Tenancy,
    /// Giving events their positions.
    Relay,
    /// Handing events to subscribers and to live streams.
    Dispatch,
    /// Leasing tasks to workers and starting what is scheduled.
    Tasks,
    /// Removing what has expired.
    Housekeeping,
    /// Turning the platform's switches, and knowing how everybody's stand.
    Switches,
    /// Counting and probing for health.
    Health,
    /// Copying everything: backup, restore, transfer.
    Transfer,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 10] = [
        Self::SignIn,
        Self::Bootstrap,
        Self::Tenancy,
        Self::Relay,
        Self::Dispatch,
        Self::Tasks,
        Self::Housekeeping,
        Self::Switches,
        Self::Health,
        Self::Transfer,
    ];

    /// Returns the PostgreSQL role that the work runs under.
    pub const fn role(self) -> &'static str {
        match self {
            Self::SignIn => "portico_sign_in",
            Self::Bootstrap => "portico_bootstrap",
            Self::Tenancy => "portico_tenancy",
            Self::Relay => "portico_relay",
            Self::Dispatch => "portico_dispatch",
            Self::Tasks => "portico_tasks",
            Self::Housekeeping => "portico_housekeeping",
            Self::Switches => "portico_switches",
            Self::Health => "portico_health",
            Self::Transfer => "portico_transfer",
        }
    }
}

/// A transaction under a system purpose.
pub struct System {
    pub(crate) session: Session,
    pub(crate) purpose: Purpose,
    pub(crate) now: Timestamp,
}

impl System {
    /// Returns the moment that this transaction stamps its rows with.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs a query and gives the first row.
    pub async fn one<E: EntityTrait>(&self, select: Select<E>) -> Result<Option<E::Model>> {
        let lent = self.session.lend().await?;
        let result = select.one(&*lent).await;
        lent.check(result)
    }

    /// Runs a query and gives the first row, locked until the transaction ends. On SQLite it is alone anyway.
    pub async fn one_locked<E: EntityTrait>(&self, select: Select<E>) -> Result<Option<E::Model>> {
        let lent = self.session.lend().await?;
        let select = locked(select, true, lent.get_database_backend());
        let result = select.one(&*lent).await;
        lent.check(result)
    }

    /// Runs a query and gives all rows.
    pub async fn all<E: EntityTrait>(&self, select: Select<E>) -> Result<Vec<E::Model>> {
        let lent = self.session.lend().await?;
        let result = select.all(&*lent).await;
        lent.check(result)
    }

    /// Inserts a row as it is.
    pub async fn insert<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + Send,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        let lent = self.session.lend().await?;
        let result = A::Entity::insert(row).exec_with_returning(&*lent).await;
        lent.check(result)
    }

    /// Runs a statement and gives the number of rows it touched.
    pub async fn execute(&self, statement: &impl StatementBuilder) -> Result<u64> {
        let lent = self.session.lend().await?;
        let result = lent.execute(statement).await;
        lent.check(result).map(|done| done.rows_affected())
    }

    /// Runs a query that is no entity's and gives all rows.
    pub async fn rows(&self, statement: &impl StatementBuilder) -> Result<Vec<QueryResult>> {
        let lent = self.session.lend().await?;
        let result = lent.query_all(statement).await;
        lent.check(result)
    }

    /// Appends an event of one tenant, done by this purpose.
    pub async fn record(&self, tenant: TenantId, actor: &str, request: &RequestId, event: &Event) -> Result<()> {
        let stamp = Stamp {
            tenant,
            actor: actor.to_owned(),
            request_id: request.as_str().to_owned(),
            correlation_id: request.as_str().to_owned(),
            reason: None,
            now: self.now,
        };
        change::record(&self.session, &stamp, event).await
    }

    /// Appends an event of one tenant, done by the caller of `ctx`, who may belong to another.
    pub async fn record_for(&self, tenant: TenantId, ctx: &Ctx, event: &Event) -> Result<()> {
        let stamp = Stamp { tenant, ..Stamp::of(ctx, self.now) };
        change::record(&self.session, &stamp, event).await
    }

    /// Commits; everything before is on disk afterwards.
    pub async fn commit(self) -> Result<()> {
        tracing::debug!(purpose = ?self.purpose, "system work committed");
        self.session.finish(true).await
    }

    /// Ends without keeping anything.
    pub async fn close(self) -> Result<()> {
        self.session.finish(false).await
    }
}

/// Returns a context in which the product itself acts for a tenant: first start, demo data, tests.
pub fn system_context(tenant: TenantId, permissions: PermissionSet) -> Ctx {
    let request_id = RequestId::create();
    Ctx::new(CtxParts {
        tenant,
        actor: kernel::Actor::System,
        permissions,
        correlation_id: request_id.clone(),
        request_id,
        idempotency: None,
        reason: None,
    })
}
