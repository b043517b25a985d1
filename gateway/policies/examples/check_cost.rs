//! What the check of a limit costs: `cargo run --release -p policies --example check_cost`. It only prints, for what
//! it prints depends on the machine. Not a measure of the gateway.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use futures_util::FutureExt as _;
use http::HeaderMap;
use kernel::{TenantId, UserId};
use policies::{LimitConfig, LimitUse, Limiter, LimiterConfig, Limits, Phase, Subject};
use prometheus_client::registry::Registry;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let limiter = Limiter::new(&LimiterConfig::default(), None, runtime.handle(), &mut Registry::default());
    let limiter = limiter.expect("a limiter");
    let text = r#"
        address = { per = ["address"], requests = 100000000, window_seconds = 1 }
        user = { per = ["user"], requests = 100000000, window_seconds = 1 }
        tenant = { per = ["tenant", "route"], requests = 100000000, window_seconds = 1 }
    "#;
    let definitions: BTreeMap<String, LimitConfig> = toml::from_str(text).expect("TOML");
    let tenants: Vec<TenantId> = (0..100).map(|_| TenantId::new()).collect();
    let people: Vec<(IpAddr, TenantId, UserId)> = (0..20_000_u32)
        .map(|person| {
            let address = Ipv4Addr::from_bits(person.wrapping_mul(2_654_435_761));
            (address.into(), tenants[person as usize % 100], UserId::new())
        })
        .collect();
    let headers = HeaderMap::new();
    for names in [&["address"][..], &["user"], &["tenant"], &["user", "tenant"]] {
        let uses: Vec<LimitUse> = names.iter().map(|name| LimitUse::Name((*name).to_owned())).collect();
        let limits = Limits::compile(&limiter, &definitions, &uses, "GET /a/{id}").expect("compiles");
        let early = !limits.is_empty(Phase::BeforeAuthentication);
        let phase = if early { Phase::BeforeAuthentication } else { Phase::AfterAuthentication };
        let mut best = f64::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            for (address, tenant, user) in people.iter().cycle().take(500_000) {
                let subject = Subject {
                    address: Some(*address),
                    tenant: Some(*tenant),
                    user: Some(*user),
                    credential: None,
                    headers: &headers,
                };
                std::hint::black_box(limits.check(phase, &subject, began).now_or_never());
            }
            best = best.min(began.elapsed().as_nanos() as f64 / 500_000.0);
        }
        println!("{names:?}: {best:.0} ns");
    }
}
