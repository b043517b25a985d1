//! From an origin's answer to an open socket: a 101 is checked and passed on, anything else is an ordinary answer.
//! Not for sending the request; the door does that, and says here how long the caller may stay.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use kernel::Result;
use web::{Connection, Connections};

use crate::config::Config;
use crate::handshake::{Handshake, complete_refusal};
use crate::relay::{not_opened, relay};
use crate::sockets::{Place, Reason};

/// How long the caller may stay.
#[derive(Debug, Default)]
pub struct Life {
    /// Where the caller stands among the connections that a revocation closes; nothing where nobody signed in.
    pub connection: Option<(Connections, Connection)>,
    /// When the credential ends by itself, from now.
    pub expires_in: Option<Duration>,
}

impl Life {
    /// Waits for the first of its ends.
    async fn ended(self) -> Reason {
        let expired = async {
            match self.expires_in {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        let closed = async {
            let Some((connections, connection)) = &self.connection else { return std::future::pending().await };
            connection.closed().await;
            if connections.is_closing() { Reason::Draining } else { Reason::Revoked }
        };
        tokio::select! {
            () = expired => Reason::Expired,
            reason = closed => reason,
        }
    }
}

/// What becomes of an origin's answer.
#[derive(Debug)]
pub struct Joined {
    /// What the client is answered.
    pub response: Response<Body>,
    /// The socket, where the answer is a 101: to be driven beside the connection that sends it.
    pub socket: Option<Socket>,
}

/// A socket that opens once the client has its 101.
#[derive(Debug)]
pub struct Socket {
    client: OnUpgrade,
    origin: OnUpgrade,
    reserved: u8,
    config: Arc<Config>,
    place: Place,
    life: Life,
}

/// Judges what the origin answered. `client` is the upgrade of the client's connection, taken with
/// `hyper::upgrade::on` before the request went on; the origin's is in the answer's extensions.
pub fn join(
    handshake: &Handshake,
    mut response: Response<Body>,
    client: OnUpgrade,
    config: Arc<Config>,
    place: Place,
    life: Life,
) -> Result<Joined> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Not one byte that the client sent behind its request reaches the origin.
        complete_refusal(&mut response);
        return Ok(Joined { response, socket: None });
    }
    let reserved = handshake.agree(&mut response)?;
    let origin = hyper::upgrade::on(&mut response);
    *response.body_mut() = Body::empty();
    let socket = Socket { client, origin, reserved, config, place, life };
    Ok(Joined { response, socket: Some(socket) })
}

impl Socket {
    /// Passes frames until the socket has ended, and says why it did.
    pub async fn run(self) -> Reason {
        let Self { client, origin, reserved, config, place, life } = self;
        // Boxed: the room for both upgrades is not needed while frames pass.
        let opened: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async { (origin.await, client.await) });
        let (Ok(origin), Ok(client)) = opened.await else { return not_opened(&place) };
        let mut stop = place.sockets().stop();
        let ending = async {
            tokio::select! {
                reason = life.ended() => reason,
                _ = stop.wait_for(|stop| *stop) => Reason::Draining,
            }
        };
        relay(client, origin, reserved, &config, &place, ending).await
    }
}
