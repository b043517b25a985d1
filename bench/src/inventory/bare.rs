//! Portico stripped: the inventory service's own routes and store, behind axum's plain server, for one
//! caller who is always let in. Without the gateway, its envelope, access log and token check, and
//! without the work in the background. Not for anything but to see what those cost.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::serve::ListenerExt as _;
use events::Hub;
use futures_util::future::BoxFuture;
use kernel::{Actor, Clock, Error, PermissionSet, TenantId, UserId};
use service::{AllOn, App, Live, Peers, Role};
use store::{Config, Store};
use web::{Authenticate, Connections, CredentialKind, Principal, RequestIds, Verified};

use crate::Outcome;

/// What the program is called with, before the tenant.
pub const NAME: &str = "bare-inventory";

/// Serves the tenant's items on a free port until it is ended.
pub fn serve(tenant: &str) -> Outcome {
    let tenant: TenantId = tenant.parse()?;
    let url = std::env::var("DATABASE_URL")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let services = portico::services::described();
        store::register_constraints(services.iter().flat_map(|service| service.constraints.clone()).collect());
        let store = Store::open(Config::at(url), Clock::system()).await?;
        let live = Live {
            hub: Hub::start(&store).await?,
            connections: Connections::default(),
            authenticate: Arc::new(Nobody),
        };
        let app = App { store, live, features: Arc::new(AllOn), peers: Peers::default() };
        let inventory = services.iter().find(|service| service.name == "inventory").ok_or("no inventory service")?;
        let permissions = inventory.permissions.iter().map(|permission| permission.name);
        let principal = Principal {
            tenant,
            actor: Actor::User(UserId::new()),
            role: Role::Admin.name().into(),
            permissions: PermissionSet::new(permissions),
            credential: "bench".into(),
            kind: CredentialKind::ApiToken,
            elevated: None,
        };
        let router = inventory.router(&app).layer(from_fn(with_ids)).layer(Extension(principal));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", serde_json::json!({ "address": listener.local_addr()? }));
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, router).await?)
    })
}

async fn with_ids(mut request: Request, next: Next) -> axum::response::Response {
    let anybody = request.headers().contains_key(http::header::AUTHORIZATION);
    if !anybody {
        request.extensions_mut().remove::<Principal>();
    }
    let ids = RequestIds::from_headers(request.headers());
    request.extensions_mut().insert(ids);
    next.run(request).await
}

/// Nobody asks it: the caller is known.
struct Nobody;

impl Authenticate for Nobody {
    fn bearer<'a>(&'a self, _: &'a str) -> BoxFuture<'a, kernel::Result<Verified>> {
        Box::pin(async { Err(Error::unauthenticated("request.unauthenticated", "there are no tokens here")) })
    }
}
