//! A limit that nodes share: permits are taken here while there are some; otherwise one request asks Redis for
//! all that wait, under a short timeout. Without Redis the declared mode decides at once. Not for the rule of
//! how many permits to ask for: that is `lease`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::compiled::{Decided, Limit};
use super::config::OnRedisLoss;
use super::key::Subject;
use super::lease::{Lease, Take, Terms, Wish};
use super::redis::Redis;
use super::running::{Group, Limiter};

/// The permits of a key, and those who wait for more.
#[derive(Default)]
pub(crate) struct SharedLease {
    lease: Mutex<Lease>,
    answered: Notify,
}

/// What a limit in Redis has beside the others.
pub(crate) struct Spread {
    pub redis: Arc<Redis>,
    pub terms: Terms,
    pub on_loss: OnRedisLoss,
    pub nodes: u64,
}

impl SharedLease {
    fn lock(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_idle(&self, now: u64) -> bool {
        self.lock().is_idle(now)
    }

    pub(crate) fn give_back(&self, cost: u64, expires: u64, now: u64) {
        self.lock().give_back(cost, expires, now);
    }

    /// Returns in how many nanoseconds there is something, as far as is known without asking.
    pub(crate) fn wait(&self, cost: u64, now: u64, terms: &Terms) -> u64 {
        let mut lease = self.lock();
        match lease.take(cost, now, terms) {
            Take::Refused { wait } => wait,
            Take::Taken { expires, .. } => {
                lease.give_back(cost, expires, now);
                0
            }
            Take::Ask => 0,
        }
    }
}

impl Limit {
    /// Takes permits if they are here or known to be nowhere; nothing: Redis must be asked.
    pub(super) fn take_permits(
        &self,
        spread: &Spread,
        limiter: &Limiter,
        group: &Arc<Group>,
        (key, subject): (u128, &Subject<'_>),
        now: u64,
    ) -> Option<Decided> {
        let shared = group.lease(key, now);
        let (taken, wish, (remaining, debt)) = {
            let mut lease = shared.lock();
            let taken = lease.take(self.cost, now, &spread.terms);
            let renew = matches!(taken, Take::Taken { renew: true, .. }) && spread.redis.is_there();
            let wish = if renew { lease.begin(0, now, &spread.terms) } else { None };
            (taken, wish, lease.state(now, &spread.terms))
        };
        if let Some(wish) = wish {
            self.fetch(spread, limiter, group, &shared, key, subject, wish);
        }
        match taken {
            Take::Taken { expires, .. } => Some(Decided { expires, ..Decided::taken(remaining, debt) }),
            Take::Refused { wait } => Some(Decided { wait: wait.max(1), ..Decided::taken(0, debt) }),
            Take::Ask if spread.redis.is_there() => None,
            Take::Ask => Some(self.without_redis(spread, group, key, now)),
        }
    }

    /// Waits for permits from Redis, not for long.
    pub(super) async fn ask(
        &self,
        spread: &Spread,
        limiter: &Limiter,
        group: &Arc<Group>,
        key: u128,
        subject: &Subject<'_>,
    ) -> Decided {
        let began = Instant::now();
        let until = tokio::time::Instant::from_std(began + spread.redis.timeout());
        loop {
            let now = limiter.nanos(Instant::now());
            let shared = group.lease(key, now);
            // Before the look at the lease: an answer that comes between is not missed.
            let answered = shared.answered.notified();
            let mut answered = std::pin::pin!(answered);
            answered.as_mut().enable();
            if let Some(decided) = self.take_permits(spread, limiter, group, (key, subject), now) {
                return decided;
            }
            let wish = shared.lock().begin(self.cost, now, &spread.terms);
            if let Some(wish) = wish {
                self.fetch(spread, limiter, group, &shared, key, subject, wish);
            }
            if tokio::time::timeout_at(until, answered).await.is_err() {
                return self.without_redis(spread, group, key, limiter.nanos(Instant::now()));
            }
        }
    }

    /// Fetches permits in the background, for a client that leaves must not take the others' answer along.
    #[expect(clippy::too_many_arguments, reason = "the parts of one trip")]
    fn fetch(
        &self,
        spread: &Spread,
        limiter: &Limiter,
        group: &Arc<Group>,
        shared: &Arc<SharedLease>,
        key: u128,
        subject: &Subject<'_>,
        mut wish: Wish,
    ) {
        let tenant = self.tenant(subject);
        let name = self.keys.redis_key(limiter.namespace(), &self.name, tenant, subject);
        let (redis, terms, rate) = (spread.redis.clone(), spread.terms, self.rate);
        let (limiter, group, shared, counters) =
            (limiter.clone(), group.clone(), shared.clone(), self.counters.clone());
        let runtime = redis.runtime().clone();
        runtime.spawn(async move {
            let sent = limiter.nanos(Instant::now());
            // What passed here while Redis was away; nothing, when it was not.
            group.table.with_present(key, |bucket| wish.debt = wish.debt.max(bucket.debt(&rate, sent)));
            let grant = redis.grant(&name, rate.interval, rate.burst, wish).await;
            let now = limiter.nanos(Instant::now());
            match grant {
                Some(grant) => {
                    if grant.granted > 0 { &counters.granted } else { &counters.empty }.inc();
                    shared.lock().granted(grant, sent, now, &terms);
                    group.table.with(key, now, |bucket| bucket.learn(&rate, grant.debt, sent));
                }
                None => {
                    counters.failed.inc();
                    shared.lock().failed();
                }
            }
            shared.answered.notify_waiters();
        });
    }

    fn without_redis(&self, spread: &Spread, group: &Arc<Group>, key: u128, now: u64) -> Decided {
        self.counters.without_redis.inc();
        let force = match spread.on_loss {
            OnRedisLoss::Refuse => return Decided { unavailable: true, wait: 1_000_000_000, ..Decided::taken(0, 0) },
            OnRedisLoss::Allow => true,
            OnRedisLoss::Local => false,
        };
        // What passes here is counted as though every node had let as much through: together they keep the
        // limit, and Redis, which is told when it is back, is not told too little.
        let weight = if force { 1 } else { spread.nodes };
        let taken = group.table.with(key, now, |bucket| bucket.take(&self.rate, self.cost, weight, force, now));
        Decided { wait: taken.wait, ..Decided::taken(taken.remaining(self.rate.burst), taken.debt) }
    }
}
