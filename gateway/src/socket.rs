//! A WebSocket to an upstream: room for it, the handshake judged from both sides, and how long it may stay.
//! Not for the frames; see `ws_proxy`.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};
use kernel::{Clock, Error, Result};
use metering::Metering;
use upstream::{Call, Client, Tunnel, Upstream};
use web::{Connections, Principal, Standing};
use ws_proxy::{Config, Handshake, Life, OriginRule, Sockets};

use crate::arrival::Arrivals;

/// The rules for the sockets of a route.
pub(crate) struct SocketRules {
    config: Arc<Config>,
    origins: OriginRule,
}

/// What lasts longer than a request's head needs of the door.
pub(crate) struct SocketDesk {
    pub sockets: Sockets,
    pub metering: Metering,
    pub connections: Connections,
    pub clock: Clock,
    pub arrivals: Arrivals,
    /// How many requests may be under way.
    pub in_flight: usize,
}

/// Who opens a socket.
pub(crate) struct Opener<'o> {
    pub caller: Option<&'o Arc<Principal>>,
    pub standing: Option<Standing>,
    pub address: Option<std::net::IpAddr>,
}

impl SocketRules {
    pub(crate) fn compile(config: &Config) -> Result<Self> {
        config.check()?;
        Ok(Self { origins: OriginRule::new(config), config: Arc::new(config.clone()) })
    }

    /// Opens a socket to the upstream, or returns what it answers instead.
    pub(crate) async fn open(
        &self,
        desk: &SocketDesk,
        opener: Opener<'_>,
        client: &Client,
        upstream: &Arc<Upstream>,
        mut request: Request,
        call: &Call,
    ) -> Result<Response> {
        self.origins.check(request.headers())?;
        // They were dropped with what concerns one connection, and this is the end of it.
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        let version = request.version();
        let handshake = Handshake::read(request.method(), version, request.headers(), self.config.extensions)?;
        let nowhere = || Error::internal("a socket comes from no address");
        let address = opener.address.ok_or_else(nowhere)?;
        let place = desk.sockets.admit(&self.config, opener.caller.map(|caller| &**caller), address)?;
        let life = life(desk, &opener)?;
        let own = hyper::upgrade::on(&mut request);
        request.extensions_mut().clear();
        handshake.ask(request.headers_mut());
        let mut response = client.send(upstream, request, call).await?;
        let tunnel = response.extensions_mut().remove::<Tunnel>();
        let joined = ws_proxy::join(&handshake, response, own, self.config.clone(), place, life)?;
        if let Some(socket) = joined.socket {
            tokio::task::spawn_local(async move {
                let reason = socket.run().await;
                tracing::debug!(socket.end = ?reason, "a socket has ended");
                drop(tunnel);
            });
        }
        Ok(joined.response)
    }
}

fn life(desk: &SocketDesk, opener: &Opener<'_>) -> Result<Life> {
    let (Some(caller), Some(standing)) = (opener.caller, opener.standing) else { return Ok(Life::default()) };
    let revoked = || Error::unauthenticated("request.unauthenticated", "the credential was revoked");
    let connection = desk.connections.open(caller.clone(), standing.since).ok_or_else(revoked)?;
    let left = standing.until.0.saturating_sub(desk.clock.now().0);
    let left = std::time::Duration::from_micros(u64::try_from(left).unwrap_or_default());
    Ok(Life { connection: Some((desk.connections.clone(), connection)), expires_in: Some(left) })
}
