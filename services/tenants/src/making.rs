//! The steps of making a tenant that are this service's: the row, the quotas, and in the end the state
//! that lets people work. Between them come the parts of other services. Each step is safe to repeat
//! and to take back, and none records an event before the last. Not for the request: see `provision`.

use futures_util::future::BoxFuture;
use kernel::Result;
use serde_json::{Value, json};
use service::{NewTenant, Provisioning, check_slug, taken_back};
use store::{Event, Purpose, TenantChange, TenantDraft};
use tasks::{Saga, SagaRun, Step, StepWork};

use crate::quota;
use crate::tenant::TenantState;

/// How a tenant is made.
pub(crate) struct Making {
    pub saga: Saga,
    checks: Vec<fn(&NewTenant) -> Result<()>>,
}

impl Making {
    pub(crate) fn of(parts: Vec<Provisioning>) -> Self {
        let checks = [check as fn(&NewTenant) -> Result<()>].into_iter().chain(parts.iter().map(|part| part.check));
        let first = [Step::new("tenants.begin", Begin), Step::new("tenants.quotas", Quotas)];
        // The last step: from then on people may be at work, and nothing is taken back.
        let last = [Step::new("tenants.activate", Activate)];
        let checks = checks.collect();
        let steps = first.into_iter().chain(parts.into_iter().map(|part| part.step)).chain(last).collect();
        Self { saga: Saga { name: "tenants.provision", version: 1, steps }, checks }
    }

    /// Refuses what one of the steps could never do.
    pub(crate) fn check(&self, new: &NewTenant) -> Result<()> {
        self.checks.iter().try_for_each(|check| check(new))
    }
}

fn check(new: &NewTenant) -> Result<()> {
    let wrong = |why| kernel::Error::invalid("request.invalid_body", "the body is not valid").field("slug", why);
    check_slug(&new.slug).map_err(wrong)?;
    quota::check(&new.quotas)
}

/// Makes the tenant's row, in a state in which nobody gets in.
struct Begin;

impl StepWork for Begin {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let system = run.store().system(Purpose::Bootstrap).await?;
            // There is no row yet that would say so.
            if !run.is_on_its_way(&system).await? {
                system.close().await?;
                return Err(taken_back());
            }
            match system.tenant(new.id).await {
                Ok(_) => system.close().await?,
                Err(error) if error.kind() == kernel::Kind::NotFound => {
                    let (plan, time_zone) = (new.plan.as_deref(), new.time_zone.as_deref());
                    let currency = new.currency.as_deref();
                    let (id, slug, name) = (new.id, new.slug.as_str(), new.name.as_str());
                    system.begin_tenant(TenantDraft { id, slug, name, plan, time_zone, currency }).await?;
                    system.commit().await?;
                }
                Err(error) => return Err(error),
            }
            Ok(json!({ "tenant": new.id }))
        })
    }

    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let Some(system) = new.take_back(run).await? else { return Ok(()) };
            system.abandon_tenant(new.id).await?;
            system.commit().await
        })
    }
}

/// Sets the first quotas.
struct Quotas;

impl StepWork for Quotas {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let system = new.build(run).await?;
            quota::set(&system, new.id, &new.asked_by, &new.quotas).await?;
            system.commit().await?;
            Ok(json!({ "quotas": new.quotas.len() }))
        })
    }

    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let Some(system) = new.take_back(run).await? else { return Ok(()) };
            quota::remove(&system, new.id).await?;
            system.commit().await
        })
    }
}

/// Lets people in, and tells of it: the tenant's first event.
struct Activate;

impl StepWork for Activate {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let system = run.store().system(Purpose::Tenancy).await?;
            // Locked: of letting people in and taking the tenant back only one happens.
            let present = system.tenant_locked(new.id).await?;
            if present.is_abandoned() {
                system.close().await?;
                return Err(taken_back());
            }
            if !present.is_provisioning() {
                system.close().await?;
                return Ok(json!({ "tenant": new.id }));
            }
            let change = TenantChange { state: Some(TenantState::Active.name()), ..TenantChange::default() };
            let tenant = system.change_tenant(new.id, Some(present.version), change).await?;
            let event = Event {
                kind: "tenants.tenant.provisioned".to_owned(),
                subject: new.id.to_string(),
                version: tenant.version,
                data: json!({
                    "slug": tenant.slug, "name": tenant.name, "plan": tenant.plan, "reason": new.reason,
                }),
            };
            // The actor is whoever asked; the chain of requests is that of the saga.
            system.record(new.id, &new.asked_by, run.ctx().correlation_id(), &event).await?;
            system.commit().await?;
            Ok(json!({ "tenant": new.id }))
        })
    }

    /// Has nothing to take back unless it has happened, and then refuses: an operator has to decide.
    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            match new.take_back(run).await? {
                // From here on a worker that was overtaken cannot let people in.
                Some(system) => system.commit().await,
                None => Ok(()),
            }
        })
    }
}
