//! The servers of an upstream as all cores see them: their counters, whether they may be used, and the
//! list, which changes while requests run. Not for connections, which belong to a core.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use http::HeaderValue;
use http::uri::{self, Authority};
use kernel::{Error, Result};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::{Protocol, Scheme, Server, TlsConfig};
use crate::latency::PeakEwma;
use crate::outlier::Outlier;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// What is known of the protocol a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// ALPN will tell.
    Unknown,
    Http1,
    Http2,
}

/// One server of one upstream.
#[derive(Debug)]
pub(crate) struct Member {
    /// Unique in the process: pools are found by it, so settings of two upstreams never share a connection.
    pub id: u64,
    pub server: Server,
    pub host: HeaderValue,
    pub authority: Authority,
    pub scheme: uri::Scheme,
    /// Where it is, when that takes no lookup.
    pub address: Option<SocketAddr>,
    pub name: Option<ServerName<'static>>,
    pub in_flight: AtomicU32,
    pub latency: PeakEwma,
    pub outlier: Outlier,
    /// What the active checks say.
    pub healthy: AtomicBool,
    /// No longer in the list: its connections are not kept.
    pub retired: AtomicBool,
    speaks: AtomicU8,
}

/// A member and its share.
#[derive(Debug)]
pub(crate) struct Slot {
    pub member: Arc<Member>,
    pub weight: u32,
}

/// The servers at one moment.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub slots: Box<[Slot]>,
    /// Indexes of slots in the order in which weighted round robin takes them.
    pub turns: Box<[u16]>,
}

/// Counts a request at a server until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Member>);

impl Member {
    fn new(server: Server, protocol: Protocol, tls: &TlsConfig) -> Result<Self> {
        let wrong = || Error::invalid("config.upstream_server", format!("{} is not host:port", server.address));
        let authority: Authority = server.address.parse().map_err(|_| wrong())?;
        if authority.port_u16().is_none() || authority.host().is_empty() {
            return Err(wrong());
        }
        // A Host header leaves the scheme's own port out, as browsers do (RFC 9110, section 4.2.3).
        let own_port = match server.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let authority = match authority.port_u16() == Some(own_port) {
            true => authority.host().parse().map_err(|_| wrong())?,
            false => authority,
        };
        let speaks = match (protocol, server.scheme) {
            (Protocol::Http2, Scheme::Http) => Speaks::Http2,
            (Protocol::Http1, _) | (_, Scheme::Http) => Speaks::Http1,
            (Protocol::Http2 | Protocol::Auto, Scheme::Https) => Speaks::Unknown,
        };
        let address = server.address.parse().ok();
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            host: HeaderValue::try_from(authority.as_str()).map_err(|_| wrong())?,
            authority,
            scheme: match server.scheme {
                Scheme::Http => uri::Scheme::HTTP,
                Scheme::Https => uri::Scheme::HTTPS,
            },
            address,
            name: (server.scheme == Scheme::Https).then(|| tls.name_for(&server)).transpose()?,
            in_flight: AtomicU32::new(0),
            latency: PeakEwma::new(Instant::now()),
            outlier: Outlier::default(),
            healthy: AtomicBool::new(true),
            retired: AtomicBool::new(false),
            speaks: AtomicU8::new(speaks as u8),
            server,
        })
    }

    /// Says whether requests may go there; `now` is the upstream's clock.
    pub(crate) fn is_usable(&self, now: impl FnOnce() -> u64) -> bool {
        self.healthy.load(Ordering::Relaxed) && !self.outlier.is_out(now)
    }

    pub(crate) fn speaks(&self) -> Speaks {
        match self.speaks.load(Ordering::Relaxed) {
            1 => Speaks::Http1,
            2 => Speaks::Http2,
            _ => Speaks::Unknown,
        }
    }

    pub(crate) fn learn(&self, speaks: Speaks) {
        self.speaks.store(speaks as u8, Ordering::Relaxed);
    }
}

impl InFlight {
    pub(crate) fn new(member: &Arc<Member>) -> Self {
        member.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(member.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Members {
    /// Returns the new list; servers that stay keep their counters and connections.
    pub(crate) fn from(servers: &[Server], before: &Self, protocol: Protocol, tls: &TlsConfig) -> Result<Self> {
        let mut slots: Vec<Slot> = Vec::with_capacity(servers.len());
        for server in servers {
            let same =
                |member: &Member| member.server.address == server.address && member.server.scheme == server.scheme;
            if slots.iter().any(|slot| same(&slot.member)) {
                continue;
            }
            let kept = before.slots.iter().find(|slot| same(&slot.member)).map(|slot| slot.member.clone());
            let member = match kept {
                Some(member) => member,
                None => Arc::new(Member::new(server.clone(), protocol, tls)?),
            };
            slots.push(Slot { member, weight: server.weight.clamp(1, 1000) });
        }
        if slots.len() > usize::from(u16::MAX) {
            return Err(Error::invalid("config.upstream_server", "an upstream has at most 65535 servers"));
        }
        let turns = turns(&slots.iter().map(|slot| slot.weight).collect::<Vec<_>>());
        Ok(Self { slots: slots.into(), turns })
    }

    /// Marks those that are not in the list after this one.
    pub(crate) fn retire_all_but(&self, after: &Self) {
        for slot in &self.slots {
            if !after.slots.iter().any(|kept| Arc::ptr_eq(&kept.member, &slot.member)) {
                slot.member.retired.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Returns how many are left out at this moment of the upstream's clock.
    pub(crate) fn ejected(&self, now: u64) -> usize {
        self.slots.iter().filter(|slot| slot.member.outlier.is_out(|| now)).count()
    }
}

const LONGEST_ROUND: usize = 4096;

/// Spreads weights smoothly over one round (nginx's smooth weighted round robin).
fn turns(weights: &[u32]) -> Box<[u16]> {
    fn gcd(a: u32, b: u32) -> u32 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    // Equal shares, or more servers than a round is worth spreading for.
    if sum == weights.len() as u64 || weights.len() > LONGEST_ROUND {
        return (0..weights.len()).map(|index| index as u16).collect();
    }
    let scale = (LONGEST_ROUND as f64 / sum as f64).min(1.0);
    let scaled = |weight: &u32| ((f64::from(weight / divisor) * scale) as i64).max(1);
    let weights: Vec<i64> = weights.iter().map(scaled).collect();
    let all: i64 = weights.iter().sum();
    let mut current = vec![0_i64; weights.len()];
    let mut turns = Vec::with_capacity(all as usize);
    for _ in 0..all {
        let mut best = 0;
        for index in 0..weights.len() {
            current[index] += weights[index];
            if current[index] > current[best] {
                best = index;
            }
        }
        current[best] -= all;
        turns.push(best as u16);
    }
    turns.into()
}

/// Returns an IP address without the brackets of a URL.
pub(crate) fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str, weight: u32) -> Server {
        Server { address: address.to_owned(), weight, scheme: Scheme::Http }
    }

    #[test]
    fn turns_follow_the_weights_smoothly() {
        assert_eq!(*turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*turns(&[10, 10]), [0, 1]);
        assert!(turns(&[]).is_empty());
        let long: Vec<u32> = (1..=1000).collect();
        assert!((1000..=6000).contains(&turns(&long).len()));
    }

    #[test]
    fn servers_that_stay_keep_what_is_known_of_them() {
        let tls = TlsConfig::default();
        let members = |servers: &[Server], before: &Members| {
            Members::from(servers, before, Protocol::Auto, &tls).expect("servers")
        };
        let first = members(&[server("a:1", 1), server("b:1", 1), server("a:1", 1)], &Members::default());
        assert_eq!(first.slots.len(), 2, "one server is one server");
        let second = members(&[server("b:1", 3), server("c:1", 1)], &first);
        first.retire_all_but(&second);
        assert!(first.slots[0].member.retired.load(Ordering::Relaxed));
        assert!(Arc::ptr_eq(&first.slots[1].member, &second.slots[0].member));
        assert!(!first.slots[1].member.retired.load(Ordering::Relaxed));
        assert!(Members::from(&[server("no port", 1)], &first, Protocol::Auto, &tls).is_err());
    }

    #[test]
    fn the_host_header_leaves_the_usual_port_out() {
        let tls = TlsConfig::default();
        let member = Member::new(server("a.example:80", 1), Protocol::Auto, &tls).expect("a member");
        assert_eq!(member.host, "a.example");
        let member = Member::new(server("[::1]:8080", 1), Protocol::Auto, &tls).expect("a member");
        assert_eq!(member.host, "[::1]:8080");
        assert!(member.address.is_some());
    }
}
