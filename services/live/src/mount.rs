//! Between HTTP and the engine: one server for the process, made when the first client comes;
//! bodies within bounds; only what the engine needs of a request. Not for packets.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, Uri};
use hyper::upgrade::OnUpgrade;
use kernel::{Error, Result};
use service::App;
use tower::ServiceExt as _;
use web::ClientAddress;

use crate::BODY_LIMIT;
use crate::connect::{HeaderToken, closing};
use crate::server::Server;
use crate::wire::Wires;

/// The place of the server in the service's routes.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    wires: Arc<Wires>,
    server: Arc<OnceLock<Arc<Server>>>,
}

impl Mount {
    pub(crate) fn new(wires: Wires) -> Self {
        Self { wires: Arc::new(wires), server: Arc::default() }
    }

    /// Answers a request of a client.
    pub(crate) async fn answer(self, State(app): State<App>, request: Request) -> web::Result<Response> {
        let server = self.server.get_or_init(|| Server::start(app, self.wires.clone()));
        let opens = parameter(request.uri(), "sid").is_none();
        if opens && server.is_closing() {
            return Err(closing().into());
        }
        let client = request.extensions().get::<ClientAddress>().copied();
        let request = within_bounds(request, opens).await?;
        // After the body has come: until then, others may have opened.
        if opens && !server.has_room(client) {
            let message = "too many sockets are about to say who they are; try again shortly";
            return Err(Error::unavailable("live.too_many_handshakes", message).retry_after(1).into());
        }
        let Ok(response) = server.engine.clone().oneshot(request).await;
        Ok(response.map(Body::new))
    }
}

/// Returns what the engine needs of a request, which it keeps as long as the socket lives.
async fn within_bounds(request: Request, opens: bool) -> Result<Request> {
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    if parameter(&parts.uri, "transport") == Some("websocket") {
        let version = parts.headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
        let named = parts.headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if parts.method != Method::GET || upgrade.is_none() || !(version && named) {
            let message = "open a WebSocket of version 13 over HTTP/1.1, or use transport=polling";
            return Err(Error::invalid("live.no_upgrade", message).status_code(426));
        }
    }
    let bytes = web::bytes_within(body, BODY_LIMIT).await?;
    let token = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim().to_owned());
    let mut headers = HeaderMap::new();
    for name in [SEC_WEBSOCKET_KEY, CONTENT_TYPE] {
        if let Some(value) = parts.headers.remove(&name) {
            headers.insert(name, value);
        }
    }
    let mut request = Request::builder().method(parts.method).uri(parts.uri);
    if let Some(kept) = request.headers_mut() {
        *kept = headers;
    }
    if let Some(extensions) = request.extensions_mut() {
        if let Some(upgrade) = upgrade {
            extensions.insert(upgrade);
        }
        if opens {
            extensions.insert(HeaderToken::new(token));
            if let Some(client) = parts.extensions.remove::<ClientAddress>() {
                extensions.insert(client);
            }
        }
    }
    request.body(Body::from(bytes)).map_err(|error| Error::internal("a request for the engine").source_error(error))
}

fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}
