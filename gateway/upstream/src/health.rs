//! Active checks, once for all cores, on the runtime of the services; and the upstream's housekeeping.
//! Not for what answers to real requests tell: that is `outlier` and `breaker`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use crate::config::Protocol;
use crate::connect;
use crate::failure::{Failure, FailureKind};
use crate::member::{Member, Speaks};
use crate::random::Random;
use crate::settings::HealthConfig;
use crate::upstream::Upstream;

const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// Starts what runs beside the requests; it ends with the upstream.
pub(crate) fn start(upstream: &Arc<Upstream>, runtime: &Handle) {
    runtime.spawn(keep_house(Arc::downgrade(upstream)));
    if !upstream.config.health.path.is_empty() {
        runtime.spawn(check_all(Arc::downgrade(upstream)));
    }
}

async fn keep_house(upstream: Weak<Upstream>) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        let Some(upstream) = upstream.upgrade() else { return };
        upstream.sweep(Instant::now());
    }
}

/// Checks in a row with the same result.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    good: u32,
    bad: u32,
}

impl Row {
    /// Counts a check; says what the server is from now on, if that is certain.
    fn count(&mut self, good: bool, config: &HealthConfig) -> Option<bool> {
        *self = match good {
            true => Self { good: self.good.saturating_add(1), bad: 0 },
            false => Self { good: 0, bad: self.bad.saturating_add(1) },
        };
        match good {
            true => (self.good >= config.healthy_after).then_some(true),
            false => (self.bad >= config.unhealthy_after).then_some(false),
        }
    }
}

async fn check_all(upstream: Weak<Upstream>) {
    let mut rows: HashMap<u64, Row> = HashMap::new();
    loop {
        let Some(strong) = upstream.upgrade() else { return };
        let members: Vec<Arc<Member>> = strong.members.load().slots.iter().map(|slot| slot.member.clone()).collect();
        let config = &strong.config.health;
        let results = join_all(members.iter().map(|member| check(&strong, member))).await;
        rows.retain(|id, _| members.iter().any(|member| member.id == *id));
        let mut unhealthy = 0;
        for (member, result) in members.iter().zip(results) {
            let good = result.as_ref().is_ok_and(|status| (config.expect[0]..=config.expect[1]).contains(status));
            if let Some(healthy) = rows.entry(member.id).or_default().count(good, config)
                && member.healthy.swap(healthy, Ordering::Relaxed) != healthy
            {
                tell(&strong, member, healthy, &result);
            }
            unhealthy += i64::from(!member.healthy.load(Ordering::Relaxed));
        }
        strong.metrics.unhealthy.set(unhealthy);
        // Gateways that started together do not ask together.
        let interval = Duration::from_millis(config.interval_ms);
        let pause = interval * 9 / 10 + Random::default().within(interval / 5);
        drop(strong);
        tokio::time::sleep(pause).await;
    }
}

fn tell(upstream: &Upstream, member: &Member, healthy: bool, result: &Result<u16, Failure>) {
    let (name, server) = (upstream.name(), member.server.address.as_str());
    let found = match result {
        Ok(status) => status.to_string(),
        Err(failure) => failure.to_string(),
    };
    match healthy {
        true => tracing::info!(upstream.name = name, server.address = server, "a server is healthy again"),
        false => tracing::warn!(upstream.name = name, server.address = server, found, "a server fails its checks"),
    }
}

/// Asks a server on a connection of its own and returns the status of its answer.
async fn check(upstream: &Upstream, member: &Member) -> Result<u16, Failure> {
    let within = Duration::from_millis(upstream.config.health.timeout_ms);
    match tokio::time::timeout(within, ask(upstream, member, within)).await {
        Ok(status) => status,
        Err(_) => Err(Failure::new(FailureKind::FirstByteTimeout)),
    }
}

async fn ask(upstream: &Upstream, member: &Member, within: Duration) -> Result<u16, Failure> {
    let only_http2 = upstream.config.protocol == Protocol::Http2;
    let tls: Option<TlsConnector> = match &member.name {
        None => None,
        Some(_) => {
            let tls = upstream.tls().map_err(|error| Failure::caused(FailureKind::Tls, error))?;
            Some(if only_http2 { tls.any } else { tls.http1 })
        }
    };
    let (wire, http2) = connect::open(member, tls.as_ref(), within).await?;
    let unsendable = |error| Failure::caused(FailureKind::Unsendable, error);
    let request = Request::get(upstream.config.health.path.as_str())
        .header(header::USER_AGENT, "portico-health")
        .body(Empty::<Bytes>::new())
        .map_err(unsendable)?;
    let broken = |error| Failure::caused(FailureKind::Reset, error);
    let response = if http2 || member.speaks() == Speaks::Http2 {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(wire)).await.map_err(broken)?;
        let _closes = Closes(tokio::spawn(connection));
        let (mut parts, body) = request.into_parts();
        parts.uri = http::Uri::builder()
            .scheme(member.scheme.clone())
            .authority(member.authority.clone())
            .path_and_query(upstream.config.health.path.as_str())
            .build()
            .map_err(unsendable)?;
        sender.send_request(Request::from_parts(parts, body)).await.map_err(broken)?
    } else {
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(broken)?;
        let _closes = Closes(tokio::spawn(connection));
        let mut request = request;
        request.headers_mut().insert(header::HOST, member.host.clone());
        request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        sender.send_request(request).await.map_err(broken)?
    };
    Ok(response.status().as_u16())
}

/// Ends a check's connection with the check.
struct Closes(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_row_to_change_a_mind() {
        let config = HealthConfig::default();
        let mut row = Row::default();
        let told: Vec<_> = [false, false, true, false, false, false, false, true, true, true]
            .into_iter()
            .map(|good| row.count(good, &config))
            .collect();
        let (no, yes) = (Some(false), Some(true));
        assert_eq!(told, [None, None, None, None, None, no, no, None, yes, yes]);
    }
}
