//! One attempt as breakers, ejection and metrics see it: admitted, then judged once, or taken back when
//! its client leaves. Not for retries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use kernel::TenantId;

use crate::breaker::Ticket;
use crate::failure::{Failure, FailureKind};
use crate::member::Member;
use crate::outlier::Blame;
use crate::tenants::TenantState;
use crate::upstream::Upstream;

/// An attempt that was admitted.
pub(crate) struct Watch<'a> {
    upstream: &'a Upstream,
    tenant: Option<TenantId>,
    state: Option<Arc<TenantState>>,
    /// At the tenant's breaker, and at the upstream's.
    own: Option<Ticket>,
    shared: Option<Ticket>,
}

impl<'a> Watch<'a> {
    /// Asks both breakers.
    pub(crate) fn admit(
        upstream: &'a Upstream,
        tenant: Option<TenantId>,
        state: Option<&Arc<TenantState>>,
        now: Instant,
    ) -> Result<Self, Failure> {
        let mut watch = Self { upstream, tenant, state: state.cloned(), own: None, shared: None };
        if !upstream.config.breaker.enabled {
            return Ok(watch);
        }
        let refused = |wait: Duration| {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            Failure::new(FailureKind::CircuitOpen).retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
        };
        watch.shared = Some(upstream.breaker.admit(&upstream.rules, now).map_err(refused)?);
        if watch.state.is_none() && upstream.tenants.any_busy() {
            watch.state = upstream.tenants.state(tenant);
        }
        watch.own = Some(match &watch.state {
            Some(state) => state.breaker.admit(&upstream.rules, now).map_err(refused)?,
            None => Ticket::Quiet,
        });
        Ok(watch)
    }

    /// There is a connection.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.judge_shared(now, true);
    }

    /// An answer's head is there. Any 5xx speaks against the server, no 4xx does; `good` says so.
    pub(crate) fn answered(mut self, member: &Member, status: StatusCode, good: bool, now: Instant) {
        self.upstream.metrics.answered(status);
        self.judge_own(now, good);
        match good {
            true => member.outlier.good(),
            false => self.blame(member, Blame::Tenant(self.tenant), now),
        }
    }

    /// There is no answer; `counts` says whether that may be the server's fault: the request had a
    /// connection, and its client was not what took so long.
    pub(crate) fn failed(mut self, member: &Member, kind: FailureKind, counts: bool, now: Instant) {
        self.upstream.metrics.failed(kind);
        if kind.before_request() {
            self.judge_shared(now, false);
            self.blame(member, Blame::Server, now);
        } else if counts && (kind.of_server() || kind == FailureKind::Deadline) {
            self.judge_own(now, false);
            self.blame(member, Blame::Tenant(self.tenant), now);
        }
    }

    fn judge_shared(&mut self, now: Instant, good: bool) {
        let Some(ticket) = self.shared.take() else { return };
        let effect = self.upstream.breaker.record(&self.upstream.rules, ticket, now, good);
        if effect.opened {
            self.upstream.metrics.breakers.inc();
            tracing::warn!(upstream.name = self.upstream.name, "the circuit of an upstream opened for everybody");
        }
        if effect.closed {
            self.upstream.metrics.breakers.dec();
            tracing::info!(upstream.name = self.upstream.name, "the circuit of an upstream closed again");
        }
    }

    fn judge_own(&mut self, now: Instant, good: bool) {
        let Some(ticket) = self.own.take() else { return };
        let upstream = self.upstream;
        if self.state.is_none() && !good {
            self.state = upstream.tenants.state(self.tenant);
        }
        let Some(state) = &self.state else { return };
        let effect = state.breaker.record(&upstream.rules, ticket, now, good);
        upstream.tenants.note(effect);
        if effect.opened {
            upstream.metrics.breakers.inc();
            let tenant = self.tenant.map(|tenant| tenant.to_string());
            tracing::warn!(upstream.name = upstream.name, tenant.id = tenant, "a tenant's circuit opened");
        }
        if effect.closed {
            upstream.metrics.breakers.dec();
            let tenant = self.tenant.map(|tenant| tenant.to_string());
            tracing::info!(upstream.name = upstream.name, tenant.id = tenant, "a tenant's circuit closed again");
        }
    }

    fn blame(&self, member: &Member, blame: Blame, now: Instant) {
        let config = &self.upstream.config.outlier;
        if !member.outlier.bad(config, blame) {
            return;
        }
        let members = self.upstream.members.load();
        let tick = self.upstream.tick(now);
        let most = (members.slots.len() as f64 * config.max_share) as usize;
        if !member.outlier.is_out(|| tick) && members.ejected(tick) < most {
            member.outlier.eject(config, tick);
            self.upstream.metrics.ejected.set(members.ejected(tick) as i64);
            let server = member.server.address.as_str();
            tracing::warn!(upstream.name = self.upstream.name, server.address = server, "a server is left out");
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.shared.take() {
            self.upstream.breaker.release(ticket);
        }
        if let (Some(ticket), Some(state)) = (self.own.take(), &self.state) {
            state.breaker.release(ticket);
        }
    }
}
