//! Gives one stored answer again and again: `hits COUNT`, to be looked at with a profiler or an allocation counter.
//! Not for numbers by itself.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::{Request, Response};
use http_cache::{Cache, Class, Config, Credentials, Policy, PolicyConfig, Route, Scope};
use kernel::{Clock, TenantId};
use tokio::task::LocalSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(1_000), |count| count.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let cache = Cache::new(&Config::default(), Clock::system(), &tokio::runtime::Handle::current())?;
        let policy = PolicyConfig { credentials: Credentials::Class, cache_status: false, ..PolicyConfig::default() };
        let policy = Arc::new(Policy::compile(&policy)?);
        let scope = Scope::of(TenantId::new(), Class::of(&[b"staff"]), true);
        let route = Route { policy: &policy, scope: &scope, parameter: &|_| None };
        let template =
            Request::get("/api/items?limit=50").header("host", "shop.example").header("accept", "*/*").body(())?;
        let (template, ()) = template.into_parts();
        let requests: Vec<Request<Body>> =
            (0..count).map(|_| Request::from_parts(template.clone(), Body::empty())).collect();
        let fetch = |_| async {
            let response = Response::builder().header("cache-control", "max-age=3600").header("etag", "\"a\"");
            let response = response.header("content-type", "application/json").header("server", "origin");
            response.body(Body::from("x".repeat(300))).map_err(|error| kernel::Error::internal(error.to_string()))
        };
        for _ in 0..2 {
            let request = Request::from_parts(template.clone(), Body::empty());
            drop(cache.answer(&route, request, fetch).await?);
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        for request in requests {
            drop(cache.answer(&route, request, fetch).await?);
        }
        println!("{count} hits, {} ns each", began.elapsed().as_nanos() / count.max(1) as u128);
        Ok(())
    })
}
