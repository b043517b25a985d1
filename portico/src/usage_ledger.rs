//! The ledger of the gateway's metering, kept by the usage service in the tenants' tables: it outlives the process.
//! What belongs to no tenant (nobody signed in, budgets that tenants share on a route) is counted in this process's
//! memory. Not for the rules, which `usage` and `metering` have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{Error, Period, Result, TenantId, Timestamp};
use metering::{Budget, Ledger, MemoryLedger, Outcome, Per, Reservation, ReservationId, Spent, Unit, Usage, Wanted};
use store::Store;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use usage::{Exhausted, Limit, Price, RecordId, Reserved, Tokens};

/// How many open calls are remembered before those that nobody will end are forgotten.
const MANY: usize = 8_192;

/// A ledger that outlives the process. Cloning it is cheap.
#[derive(Clone)]
pub struct UsageLedger(Arc<Inner>);

struct Inner {
    store: Store,
    /// The runtime that the store's connections live on; calls come from the gateway's cores.
    runtime: Handle,
    /// What belongs to no tenant.
    shared: MemoryLedger,
    /// The open calls of this process: metering names a call only by its id.
    open: Mutex<HashMap<ReservationId, Open>>,
}

#[derive(Clone, Copy)]
struct Open {
    /// Where its record is.
    record: Option<(TenantId, RecordId)>,
    /// Whether it is counted in memory too.
    shared: bool,
    /// When it is forgotten, should nobody end it.
    until: Timestamp,
}

impl UsageLedger {
    /// Returns a ledger over this store, whose connections live on `runtime`.
    pub fn new(store: Store, runtime: Handle) -> Self {
        let shared = MemoryLedger::new(store.clock().clone());
        Self(Arc::new(Inner { store, runtime, shared, open: Mutex::default() }))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ReservationId, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &ReservationId) -> Option<Open> {
        self.open().get(id).copied()
    }

    fn remember(&self, id: &ReservationId, record: Option<(TenantId, RecordId)>, shared: bool, lease: Duration) {
        let now = self.0.store.clock().now();
        let mut open = self.open();
        if open.len() >= MANY {
            open.retain(|_, call| call.until > now);
        }
        // A settlement may come a while after the lease has ended.
        open.insert(id.clone(), Open { record, shared, until: now.plus(lease.saturating_mul(2)) });
    }

    /// Does it on the store's runtime, to the end, whatever becomes of whoever waits.
    async fn there<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let done = self.0.runtime.spawn(work).await;
        done.unwrap_or_else(|error| Err(Error::internal("work of the ledger broke off").source_error(error)))
    }

    async fn reserve_all(self, wanted: Wanted) -> Result<Reservation> {
        let (shared, own): (Vec<_>, Vec<_>) = wanted
            .budgets
            .iter()
            .cloned()
            .partition(|budget| wanted.caller.tenant.is_none() || budget.per == Per::SharedRoute);
        let record = match wanted.caller.tenant {
            Some(tenant) => Some((tenant, record_of(&wanted.id)?)),
            None => None,
        };
        let in_memory = record.is_none() || !shared.is_empty();
        let mut most = wanted.most;
        if in_memory {
            most = self.0.shared.reserve(&Wanted { budgets: shared.into(), ..wanted.clone() }).await?.answer;
        }
        let reserved = match record {
            Some((tenant, id)) => {
                usage::reserve(&self.0.store, &as_kept(&wanted, tenant, id, &own, most)).await.and_then(granted)
            }
            None => Ok(Reservation { answer: most }),
        };
        match reserved {
            Ok(_) => self.remember(&wanted.id, record, in_memory, wanted.lease),
            Err(_) if in_memory => self.0.shared.release(&wanted.id).await?,
            Err(_) => {}
        }
        reserved
    }

    async fn extend_all(self, id: ReservationId, upto: Usage, cost_nano: i64) -> Result<bool> {
        let Some(open) = self.find(&id) else { return Ok(false) };
        if open.shared && !self.0.shared.extend(&id, upto, cost_nano).await? {
            return Ok(false);
        }
        match open.record {
            Some((tenant, record)) => usage::extend(&self.0.store, tenant, record, tokens(upto), cost_nano).await,
            None => Ok(true),
        }
    }

    async fn settle_all(self, id: ReservationId, spent: Spent) -> Result<()> {
        let Some(open) = self.find(&id) else { return Ok(()) };
        if let Some((tenant, record)) = open.record {
            usage::settle(&self.0.store, tenant, record, as_spent(spent)).await?;
        }
        self.0.shared.settle(&id, spent).await?;
        self.open().remove(&id);
        Ok(())
    }

    async fn release_all(self, id: ReservationId) -> Result<()> {
        let Some(open) = self.find(&id) else { return Ok(()) };
        if let Some((tenant, record)) = open.record {
            usage::release(&self.0.store, tenant, record).await?;
        }
        self.0.shared.release(&id).await?;
        self.open().remove(&id);
        Ok(())
    }
}

impl Ledger for UsageLedger {
    fn reserve<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Reservation>> {
        async move {
            let (tell, told) = oneshot::channel();
            let (ledger, wanted) = (self.clone(), wanted.clone());
            self.0.runtime.spawn(async move {
                let id = wanted.id.clone();
                let reserved = ledger.clone().reserve_all(wanted).await;
                // Dropped on the way it gives back what was reserved: then the call is not made.
                let unheard = reserved.is_ok().then(|| Unheard { ledger: Some(ledger), id });
                let _ = tell.send((reserved, unheard));
            });
            let Ok((reserved, unheard)) = told.await else {
                return Err(Error::internal("work of the ledger broke off"));
            };
            if let Some(mut unheard) = unheard {
                unheard.ledger = None;
            }
            reserved
        }
        .boxed()
    }

    fn extend<'a>(&'a self, id: &'a ReservationId, upto: Usage, cost_nano: i64) -> BoxFuture<'a, Result<bool>> {
        self.there(self.clone().extend_all(id.clone(), upto, cost_nano)).boxed()
    }

    fn settle<'a>(&'a self, id: &'a ReservationId, spent: Spent) -> BoxFuture<'a, Result<()>> {
        self.there(self.clone().settle_all(id.clone(), spent)).boxed()
    }

    fn release<'a>(&'a self, id: &'a ReservationId) -> BoxFuture<'a, Result<()>> {
        self.there(self.clone().release_all(id.clone())).boxed()
    }
}

/// A reservation that whoever asked for it does not know of yet.
struct Unheard {
    /// Nothing once it is known.
    ledger: Option<UsageLedger>,
    id: ReservationId,
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let Some(ledger) = self.ledger.take() else { return };
        let id = self.id.clone();
        ledger.0.runtime.clone().spawn(async move {
            if let Err(error) = ledger.release_all(id).await {
                tracing::warn!(error = %error, "a reservation that nobody uses stays until its lease ends");
            }
        });
    }
}

/// Metering makes ids that are UUIDs.
fn record_of(id: &ReservationId) -> Result<RecordId> {
    id.0.as_str().parse().map_err(|error| Error::internal("a reservation's id is no UUID").source_error(error))
}

fn as_kept(wanted: &Wanted, tenant: TenantId, id: RecordId, budgets: &[Budget], most: i64) -> usage::Wanted {
    usage::Wanted {
        id,
        tenant,
        user: wanted.caller.user.clone(),
        credential: wanted.caller.credential.clone(),
        route: wanted.caller.route.clone(),
        model: wanted.model.clone(),
        question: wanted.question,
        least: wanted.least,
        most,
        price: Price { input: wanted.price.input, output: wanted.price.output },
        limits: budgets.iter().map(limit).collect(),
        lease: wanted.lease,
    }
}

fn limit(budget: &Budget) -> Limit {
    Limit {
        name: budget.name.clone(),
        per: match budget.per {
            Per::Tenant => usage::Per::Tenant,
            Per::User => usage::Per::User,
            Per::Credential => usage::Per::Credential,
            Per::Route | Per::SharedRoute => usage::Per::Route,
        },
        unit: match budget.unit {
            Unit::Tokens => usage::Unit::Tokens,
            Unit::Nano => usage::Unit::Nano,
        },
        period: budget.period,
        most: budget.limit,
    }
}

fn tokens(usage: Usage) -> Tokens {
    let Usage { input, cached, cache_write, output } = usage;
    Tokens { input, cached, cache_write, output }
}

fn as_spent(spent: Spent) -> usage::Spent {
    usage::Spent {
        tokens: tokens(spent.usage),
        cost_nano: spent.cost_nano,
        estimated: spent.estimated,
        outcome: match spent.outcome {
            Outcome::Completed => usage::Outcome::Completed,
            Outcome::Aborted => usage::Outcome::Aborted,
            Outcome::CutOff => usage::Outcome::CutOff,
            Outcome::Failed => usage::Outcome::Failed,
            Outcome::Lapsed => usage::Outcome::Lapsed,
        },
    }
}

/// A budget without room is an answer to the usage service, and an error to the gateway.
fn granted(reserved: Reserved) -> Result<Reservation> {
    match reserved {
        Reserved::Granted { answer } => Ok(Reservation { answer }),
        Reserved::Exhausted(Exhausted { budget, period, retry_after }) => {
            let rate = period == Period::Minute;
            let message = if rate { "too many tokens a minute" } else { "the budget for language models is used up" };
            let error = Error::limited("gateway.budget_exhausted", message)
                .status_code(if rate { 429 } else { 402 })
                .context(format!("budget {budget}"));
            Err(match retry_after {
                Some(seconds) => error.retry_after(seconds),
                None => error,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use kernel::{RequestId, Timestamp};
    use metering::{Caller, Price as MeterPrice};
    use testkit::{TestApp, TestTenant};

    use super::*;

    fn budget(per: Per, limit: i64) -> Budget {
        Budget { name: format!("{per:?}").into(), per, unit: Unit::Tokens, limit, period: Period::Day }
    }

    fn wanted(tenant: Option<&TestTenant>, budgets: &[Budget]) -> Wanted {
        Wanted {
            id: ReservationId(RequestId::create()),
            caller: Caller {
                tenant: tenant.map(|tenant| tenant.id),
                user: "anna".into(),
                credential: "token".into(),
                route: "/chat".into(),
            },
            model: "large".into(),
            question: 10,
            least: 5,
            most: 40,
            price: MeterPrice::default(),
            budgets: budgets.into(),
            lease: Duration::from_secs(60),
        }
    }

    fn spent(output: i64) -> Spent {
        let usage = Usage { input: 10, output, ..Usage::default() };
        Spent { usage, cost_nano: 0, estimated: false, outcome: Outcome::Completed }
    }

    async fn app() -> (TestApp, UsageLedger) {
        let app = TestApp::sqlite(vec![usage::service()]).await;
        let ledger = UsageLedger::new(app.store().clone(), Handle::current());
        (app, ledger)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tenants_have_budgets_of_their_own_and_share_those_of_a_route() {
        let (app, ledger) = app().await;
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        let budgets = [budget(Per::SharedRoute, 100), budget(Per::Tenant, 60)];
        let first = wanted(Some(&farm), &budgets);
        assert_eq!(ledger.reserve(&first).await.expect("room").answer, 40);
        assert_eq!(ledger.reserve(&first).await.expect("the same").answer, 40);
        let second = wanted(Some(&farm), &budgets);
        let error = ledger.reserve(&second).await.expect_err("60 are all there is");
        assert_eq!((error.code(), error.status()), ("gateway.budget_exhausted", 402));
        assert!(error.retry_after_seconds().is_some(), "a day ends");
        // What the farm was refused it does not hold of what they share.
        let other = wanted(Some(&mill), &budgets);
        assert_eq!(ledger.reserve(&other).await.expect("room").answer, 40);
        let nobody = wanted(None, &budgets);
        assert_eq!(ledger.reserve(&nobody).await.expect_err("100 are shared").status(), 402);
        ledger.settle(&other.id, spent(1)).await.expect("settled");
        ledger.settle(&other.id, spent(99)).await.expect("twice is once");
        assert_eq!(ledger.reserve(&nobody).await.expect("room again").answer, 29);
        ledger.release(&nobody.id).await.expect("released");
        let usage = Usage { input: 10, output: 45, ..Usage::default() };
        assert!(ledger.extend(&first.id, usage, 0).await.expect("answered"));
        let usage = Usage { output: 51, ..usage };
        assert!(!ledger.extend(&first.id, usage, 0).await.expect("answered"), "60 are all there is");
        assert!(!ledger.extend(&second.id, usage, 0).await.expect("answered"), "it was refused");
        ledger.settle(&first.id, spent(40)).await.expect("settled");
        assert!(ledger.open().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reservation_that_nobody_heard_of_is_given_back() {
        let (app, ledger) = app().await;
        let farm = app.tenant("farm").await;
        let budgets = [budget(Per::Tenant, 50)];
        let call = wanted(Some(&farm), &budgets);
        {
            let mut reserving = ledger.reserve(&call);
            // Polled once, it is on its way; then whoever asked goes.
            let first = std::future::poll_fn(|context| Poll::Ready(reserving.poll_unpin(context))).await;
            assert!(first.is_pending());
        }
        let until = Timestamp(app.clock().now().0);
        let again = async {
            loop {
                if let Ok(reserved) = ledger.reserve(&wanted(Some(&farm), &budgets)).await
                    && ledger.find(&call.id).is_none()
                {
                    return reserved;
                }
                tokio::task::yield_now().await;
            }
        };
        let reserved = tokio::time::timeout(Duration::from_secs(10), again).await.expect("it is given back");
        assert_eq!((reserved.answer, app.clock().now()), (40, until), "long before its lease ends");
    }
}
