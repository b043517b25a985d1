//! The limits of one route, and what a request's walk through them comes to. Not for remembering counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use kernel::{Error, Result};

use super::config::{LimitConfig, LimitUse, Store};
use super::fields::{self, Told};
use super::gcra::Rate;
use super::key::{KeyMaker, Part, Subject};
use super::lease::Terms;
use super::metrics::Counters;
use super::running::{Group, Limiter, Running};
use super::shared::Spread;
use super::verdict::{Tightest, Verdict};
use crate::wrong;

/// How many limits one route may have.
const MOST: usize = 16;

/// Which limits are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Those that need nobody's name: they protect authentication itself.
    BeforeAuthentication,
    /// The others.
    AfterAuthentication,
}

/// The compiled limits of a route.
pub struct Limits {
    limiter: Limiter,
    /// Those of before authentication first.
    limits: Box<[Limit]>,
    before: usize,
    policy: Option<HeaderValue>,
}

pub(super) struct Limit {
    pub name: Box<str>,
    pub rate: Rate,
    pub cost: u64,
    pub keys: KeyMaker,
    pub shared: bool,
    pub running: Arc<Running>,
    pub counters: Arc<Counters>,
    pub spread: Option<Spread>,
    /// In how many seconds a bucket fills, as clients are told.
    window: u64,
}

/// What one limit says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    /// In how many nanoseconds to come again; 0: let through.
    pub wait: u64,
    pub remaining: u64,
    /// In how many nanoseconds the quota is whole again.
    pub debt: u64,
    /// Until when the permits that were taken would have been good.
    pub expires: u64,
    pub unavailable: bool,
}

impl Decided {
    pub fn taken(remaining: u64, debt: u64) -> Self {
        Self { wait: 0, remaining, debt, expires: 0, unavailable: false }
    }
}

impl Limits {
    /// Compiles the limits that a route uses; `route` names it for limits per route.
    pub fn compile(
        limiter: &Limiter,
        definitions: &BTreeMap<String, LimitConfig>,
        uses: &[LimitUse],
        route: &str,
    ) -> Result<Self> {
        if uses.len() > MOST {
            return Err(wrong(format!("the route {route} has more than {MOST} limits")));
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for used in uses {
            let (name, cost) = used.parts();
            let config = definitions.get(name);
            let config = config.ok_or_else(|| wrong(format!("the route {route} uses the unknown limit {name}")))?;
            let (limit, early) = Limit::compile(limiter, name, config, cost, route)?;
            let known = before.iter().chain(after.iter()).any(|other: &Limit| *other.name == *name);
            if known {
                return Err(wrong(format!("the route {route} uses the limit {name} twice")));
            }
            if early { before.push(limit) } else { after.push(limit) }
        }
        let early = before.len();
        before.append(&mut after);
        let policy = fields::policy(before.iter().map(Limit::told));
        Ok(Self { limiter: limiter.clone(), limits: before.into(), before: early, policy })
    }

    /// Says whether there is anything to check in a phase.
    pub fn is_empty(&self, phase: Phase) -> bool {
        self.range(phase).is_empty()
    }

    /// Takes what the request costs from every limit of the phase, or from none of them: a request that one
    /// refuses costs nothing in the others. Waits only where permits must come from Redis first.
    pub async fn check(&self, phase: Phase, subject: &Subject<'_>, now: Instant) -> Verdict {
        let range = self.range(phase);
        let nanos = self.limiter.nanos(now);
        let mut verdict = Verdict::default();
        let mut expiries = [0; MOST];
        for index in range.clone() {
            let limit = &self.limits[index];
            let Some(key) = limit.keys.fingerprint(subject) else { continue };
            let mut decided = limit.decide(&self.limiter, key, subject, nanos);
            if decided.is_none()
                && let Some(spread) = &limit.spread
            {
                let group = limit.running.with(limit.tenant(subject), nanos, Arc::clone);
                decided = Some(limit.ask(spread, &self.limiter, &group, key, subject).await);
            }
            // Only a limit in Redis leaves it open, and that was asked.
            let Some(decided) = decided else { continue };
            verdict = verdict.and(limit.verdict(index, &decided));
            if decided.wait > 0 {
                limit.counters.refused.inc();
                self.give_back(range.start..index, &expiries, subject, nanos);
                // The others too may have to be waited for: one answer, and the client comes once.
                for later in index + 1..range.end {
                    verdict = verdict.and(self.limits[later].look(later, subject, nanos));
                }
                return verdict;
            }
            limit.counters.allowed.inc();
            expiries[index] = decided.expires;
        }
        verdict
    }

    /// Returns what a refused client is told.
    pub fn error(&self, verdict: &Verdict) -> Option<Error> {
        let tightest = verdict.0.filter(|tightest| tightest.refused)?;
        let seconds = u32::try_from(tightest.seconds).unwrap_or(u32::MAX);
        let name = &self.limits.get(tightest.index)?.name;
        let error = if tightest.unavailable {
            let message = "requests cannot be counted at the moment; try again shortly";
            Error::unavailable("gateway.limiter_unavailable", message).context(format!("the limit {name}"))
        } else {
            let message = format!("the limit {name} is used up; try again in {seconds} s");
            Error::limited("gateway.rate_limited", message)
        };
        Some(error.retry_after(seconds))
    }

    /// Tells the client about its tightest limit.
    pub fn write_fields(&self, verdict: &Verdict, headers: &mut HeaderMap) {
        let Some(tightest) = verdict.0.filter(|tightest| !tightest.unavailable) else { return };
        let Some(limit) = self.limits.get(tightest.index) else { return };
        let fields = self.limiter.fields();
        fields::write(fields, self.policy.as_ref(), &limit.told(), tightest.remaining, tightest.seconds, headers);
    }

    fn range(&self, phase: Phase) -> std::ops::Range<usize> {
        match phase {
            Phase::BeforeAuthentication => 0..self.before,
            Phase::AfterAuthentication => self.before..self.limits.len(),
        }
    }

    fn give_back(&self, range: std::ops::Range<usize>, expiries: &[u64; MOST], subject: &Subject<'_>, now: u64) {
        for index in range {
            let limit = &self.limits[index];
            let Some(key) = limit.keys.fingerprint(subject) else { continue };
            limit.running.with(limit.tenant(subject), now, |group| match expiries[index] {
                0 => group.table.with_present(key, |bucket| bucket.give_back(limit.cost)),
                expires => group.lease(key, now).give_back(limit.cost, expires, now),
            });
        }
    }
}

impl Limit {
    fn compile(limiter: &Limiter, name: &str, config: &LimitConfig, cost: u64, route: &str) -> Result<(Self, bool)> {
        config.check(name)?;
        let burst = config.burst();
        if cost == 0 || cost > burst {
            return Err(wrong(format!("the route {route} costs {cost} of the limit {name}: it must be 1 to {burst}")));
        }
        let read = |text: &String| match Part::read(text) {
            Ok(Part::Route(_)) => Ok(Part::Route(route.into())),
            other => other.map_err(wrong),
        };
        let parts: Box<[Part]> = config.per.iter().map(read).collect::<Result<_>>()?;
        let needs_nobody = !parts.iter().any(Part::needs_authentication);
        let early = needs_nobody && (config.shared || parts.contains(&Part::Address));
        let running = limiter.running(name, config.keys);
        let mut rate = Rate::new(config.requests, config.window_seconds, burst);
        (rate.generation, rate.since) = (running.next_generation(), limiter.nanos(Instant::now()));
        let window = (u128::from(config.window_seconds) * u128::from(burst)).div_ceil(u128::from(config.requests));
        let window = u64::try_from(window).unwrap_or(u64::MAX);
        let spread = match (config.store, limiter.redis()) {
            (Store::Local, _) => None,
            (Store::Redis, None) => return Err(wrong(format!("the limit {name} counts in Redis, and there is none"))),
            (Store::Redis, Some(redis)) => Some(Spread {
                redis: redis.clone(),
                terms: Terms { lifetime: config.lease_ns(), interval: rate.interval, burst },
                on_loss: config.on_redis_loss,
                nodes: config.nodes,
            }),
        };
        let limit = Self {
            name: name.into(),
            rate,
            cost,
            keys: KeyMaker::new(parts, config.absent, limiter.seed()),
            // Before authentication nobody has a tenant.
            shared: config.shared || early,
            running,
            counters: Arc::new(limiter.metrics().of(name)),
            spread,
            window,
        };
        Ok((limit, early))
    }

    /// Returns whose count it is.
    pub fn tenant(&self, subject: &Subject<'_>) -> Option<u128> {
        if self.shared { None } else { subject.tenant.map(|tenant| tenant.uuid().as_u128()) }
    }

    fn decide(&self, limiter: &Limiter, key: u128, subject: &Subject<'_>, now: u64) -> Option<Decided> {
        self.running.with(self.tenant(subject), now, |group: &Arc<Group>| match &self.spread {
            Some(spread) => self.take_permits(spread, limiter, group, (key, subject), now),
            None => {
                let taken = group.table.with(key, now, |bucket| bucket.take(&self.rate, self.cost, 1, false, now));
                Some(Decided { wait: taken.wait, ..Decided::taken(taken.remaining(self.rate.burst), taken.debt) })
            }
        })
    }

    /// Says what the limit would, and takes nothing.
    fn look(&self, index: usize, subject: &Subject<'_>, now: u64) -> Verdict {
        let Some(key) = self.keys.fingerprint(subject) else { return Verdict::default() };
        let wait = self.running.with(self.tenant(subject), now, |group| match &self.spread {
            Some(spread) => group.lease(key, now).wait(self.cost, now, &spread.terms),
            None => {
                let mut wait = 0;
                group.table.with_present(key, |bucket| {
                    wait = bucket.clone().take(&self.rate, self.cost, 1, false, now).wait;
                });
                wait
            }
        });
        if wait == 0 {
            return Verdict::default();
        }
        self.verdict(index, &Decided { wait, ..Decided::taken(0, 0) })
    }

    fn verdict(&self, index: usize, decided: &Decided) -> Verdict {
        let refused = decided.wait > 0;
        let nanos = if refused { decided.wait } else { decided.debt };
        Verdict(Some(Tightest {
            index,
            refused,
            unavailable: decided.unavailable,
            quota: self.rate.burst,
            remaining: decided.remaining,
            // Rounded up, so that nobody comes too early, but for what rounding the interval up has added; a
            // refusal is never for 0 seconds.
            seconds: nanos.saturating_sub(1_000).div_ceil(1_000_000_000).max(u64::from(refused)),
        }))
    }

    fn told(&self) -> Told<'_> {
        Told { name: &self.name, quota: self.rate.burst, window: self.window }
    }
}
