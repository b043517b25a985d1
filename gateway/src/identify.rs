//! Who is asking: the signed context of another gateway, a token, a ticket, a cookie. Not for what the
//! caller may do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use kernel::{Result, Timestamp};
use service::Access;
use web::{ClientAddress, Operator, PeerAddress, Principal, SignedContext};

use crate::browser::{self, Brought};
use crate::door::{DoorParts, Entry};
use crate::errand::FORWARDED_PROTO;
use crate::gate;
use crate::plan::Route;
use crate::tls::OverTls;

impl DoorParts {
    /// Returns who the socket and the trusted proxies say that a request comes from.
    pub(crate) fn nearest(&self, request: &Request) -> Option<ClientAddress> {
        let PeerAddress(peer) = request.extensions().get()?;
        Some(ClientAddress(match self.entry {
            Entry::Public(_) => self.trusted_proxies.client(peer.ip(), request.headers()),
            Entry::Internal(_) => peer.ip().to_canonical(),
        }))
    }

    /// Returns how much time the gateway in front has left for the request.
    pub(crate) fn told_time(&self, request: &Request) -> Option<Duration> {
        let (Entry::Internal(_), Some(left)) = (&self.entry, request.headers().get(upstream::TIME_LEFT)) else {
            return None;
        };
        left.to_str().ok()?.parse().ok().map(Duration::from_millis)
    }

    /// Says whether the client came over TLS: to us, or to a proxy of ours that says so.
    pub(crate) fn is_secure(&self, request: &Request) -> bool {
        if request.extensions().get::<OverTls>().is_some() {
            return true;
        }
        let said = request.headers().get_all(FORWARDED_PROTO).iter().next_back();
        said.is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(b"https"))
            && matches!(self.entry, Entry::Public(_))
            && request
                .extensions()
                .get::<PeerAddress>()
                .is_some_and(|peer| self.trusted_proxies.trust(peer.0.ip().to_canonical()))
    }

    /// Checks the signed context of a request that comes from a gateway.
    pub(crate) fn open(&self, request: &Request, header: Option<&HeaderValue>) -> Result<Option<SignedContext>> {
        let (Entry::Internal(key), Some(header)) = (&self.entry, header) else { return Ok(None) };
        key.verify(request.method(), request.uri().path(), header, self.clock.now()).map(Some)
    }

    /// Returns the caller and until when its credential is good. What it was shown with is taken off the
    /// request, unless the route hands it on.
    pub(crate) async fn identify(
        &self,
        request: &mut Request,
        signed: Option<SignedContext>,
        route: &Route,
    ) -> Result<Option<(Arc<Principal>, Timestamp)>> {
        let access = route.access;
        let header = gate::authorization(request.headers())?;
        let token = header.as_ref().map(gate::bearer).transpose();
        // What a public route of somebody else is sent is that route's affair: Basic, or no token of ours.
        let token = if access == Access::Public && route.steps.forward_authorization { None } else { token? };
        if access == Access::Operator {
            if token.is_some_and(|token| self.operator.is(token)) {
                request.extensions_mut().insert(Operator);
            }
            return Ok(None);
        }
        let brought = match self.entry {
            Entry::Public(_) => browser::take(request, &self.origin, route.live, route.steps.forward_cookies),
            Entry::Internal(_) => Ok(Brought::Nothing),
        };
        match (&self.entry, token) {
            (Entry::Internal(_), _) => {
                // A gateway of the version before does not say until when: as long as its word is good.
                let until = |signed: &SignedContext| signed.until.unwrap_or_else(|| self.clock.now());
                Ok(signed.and_then(|signed| Some((Arc::new(signed.principal.clone()?), until(&signed)))))
            }
            (Entry::Public(gate), Some(token)) if access != Access::Public => {
                if !route.steps.forward_authorization {
                    request.headers_mut().remove(AUTHORIZATION);
                }
                let verified = gate.check(token, &self.runtime).await?;
                Ok(Some((verified.principal.clone(), verified.until)))
            }
            (Entry::Public(gate), None) if access != Access::Public => match brought? {
                Brought::Nothing => Ok(None),
                Brought::Ticket { ticket, path } => {
                    let verified = gate.spend(ticket, path, &self.runtime).await?;
                    Ok(Some((verified.principal.clone(), verified.until)))
                }
                Brought::Cookie(token) => {
                    let verified = gate.check(&token, &self.runtime).await?;
                    Ok(Some((verified.principal.clone(), verified.until)))
                }
            },
            (Entry::Public(_), _) => Ok(None),
        }
    }
}
