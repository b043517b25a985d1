//! How many requests an upstream has at once, and how many of them one tenant: beyond it a short queue,
//! and beyond that a refusal at once. Not for rates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::{Failure, FailureKind};
use crate::settings::BulkheadConfig;
use crate::tenants::TenantState;

/// The places of one upstream, for all cores.
pub(crate) struct Bulkhead {
    places: Option<Arc<Semaphore>>,
    /// Places that one tenant may hold or wait for.
    share: Option<usize>,
    queue: usize,
    patience: Duration,
    waiting: AtomicUsize,
    gauge: Gauge,
}

/// A place, until it is dropped.
pub(crate) struct Permit {
    _place: Option<OwnedSemaphorePermit>,
    _held: Option<Held>,
}

/// One of a tenant's places.
struct Held(Arc<TenantState>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Waiting<'a>(&'a Bulkhead);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

impl Bulkhead {
    pub(crate) fn new(config: &BulkheadConfig, gauge: Gauge) -> Self {
        let most = config.max_in_flight.min(Semaphore::MAX_PERMITS);
        let share =
            (most > 0 && config.tenant_share < 1.0).then(|| ((most as f64 * config.tenant_share) as usize).max(1));
        Self {
            places: (most > 0).then(|| Arc::new(Semaphore::new(most))),
            share,
            queue: config.queue,
            patience: Duration::from_millis(config.queue_ms),
            waiting: AtomicUsize::new(0),
            gauge,
        }
    }

    /// Says whether tenants have a share of their own, so that [`Bulkhead::enter`] needs their state.
    pub(crate) fn shares(&self) -> bool {
        self.share.is_some()
    }

    /// Takes a place if there is one now; `Ok(None)` means: wait with [`Bulkhead::enter`].
    pub(crate) fn try_enter(&self) -> Option<Option<Permit>> {
        let Some(places) = &self.places else { return Some(None) };
        if self.share.is_some() {
            return None;
        }
        let place = places.clone().try_acquire_owned().ok()?;
        Some(Some(Permit { _place: Some(place), _held: None }))
    }

    /// Takes a place, waiting for it where the queue is not full.
    pub(crate) async fn enter(
        &self,
        tenant: Option<Arc<TenantState>>,
        deadline: Instant,
    ) -> Result<Option<Permit>, Failure> {
        let busy = || Failure::new(FailureKind::Busy).retry_after(1);
        let Some(places) = &self.places else { return Ok(None) };
        let held = match (self.share, tenant) {
            (Some(share), Some(tenant)) => {
                let before = tenant.held.fetch_add(1, Ordering::Relaxed);
                let held = Held(tenant);
                if before >= share {
                    return Err(busy());
                }
                Some(held)
            }
            _ => None,
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(Some(Permit { _place: Some(place), _held: held }));
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        self.gauge.inc();
        let _waiting = Waiting(self);
        if before >= self.queue {
            return Err(busy());
        }
        let until = deadline.min(Instant::now() + self.patience);
        match tokio::time::timeout_at(until.into(), places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(Permit { _place: Some(place), _held: held })),
            _ if until == deadline => Err(Failure::new(FailureKind::Deadline)),
            _ => Err(busy()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::breaker::BreakerRules;
    use crate::settings::{BreakerConfig, RetryConfig};
    use crate::tenants::Tenants;

    fn bulkhead(max_in_flight: usize, queue: usize, tenant_share: f64) -> Bulkhead {
        let config = BulkheadConfig { max_in_flight, queue, tenant_share, queue_ms: 1_000, upload_share: 1.0 };
        Bulkhead::new(&config, Gauge::default())
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_places_a_queue_and_then_refusals() {
        let bulkhead = bulkhead(2, 1, 1.0);
        let deadline = Instant::now() + Duration::from_secs(60);
        let first = bulkhead.try_enter().expect("a place");
        let _second = bulkhead.enter(None, deadline).await.expect("a place");
        assert!(bulkhead.try_enter().is_none());
        let mut waiting = Box::pin(bulkhead.enter(None, deadline));
        assert!(waiting.as_mut().now_or_never().is_none());
        let refused = bulkhead.enter(None, deadline).await.err().expect("the queue is full");
        assert_eq!((refused.kind(), refused.retry_after_seconds()), (FailureKind::Busy, Some(1)));
        drop(first);
        assert!(waiting.await.is_ok());
        let _third = bulkhead.enter(None, deadline).await.expect("a place is free again");
        let late = bulkhead.enter(None, deadline).await.err().expect("nobody leaves");
        assert_eq!(late.kind(), FailureKind::Busy);
    }

    #[tokio::test]
    async fn a_tenant_has_its_share_and_no_more() {
        let bulkhead = bulkhead(4, 10, 0.5);
        let tenants = Tenants::new(BreakerRules::new(&BreakerConfig::default()), RetryConfig::default(), 100);
        let deadline = Instant::now() + Duration::from_secs(60);
        let (one, other) = (tenants.state(Some(kernel::TenantId::new())), tenants.state(Some(kernel::TenantId::new())));
        let held = [
            bulkhead.enter(one.clone(), deadline).await.expect("a place"),
            bulkhead.enter(one.clone(), deadline).await.expect("a place"),
        ];
        assert!(bulkhead.enter(one.clone(), deadline).await.is_err());
        assert!(bulkhead.enter(other, deadline).await.is_ok());
        drop(held);
        assert!(bulkhead.enter(one, deadline).await.is_ok());
    }
}
