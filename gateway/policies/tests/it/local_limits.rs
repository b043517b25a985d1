//! Limits on one node, as the door walks through them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::HeaderMap;
use kernel::{TenantId, UserId};
use policies::{LimitConfig, LimitUse, Limiter, LimiterConfig, Limits, Phase, Subject, Verdict};
use prometheus_client::registry::Registry;

pub struct Ground {
    limiter: Limiter,
    pub registry: Registry,
    headers: HeaderMap,
}

impl Ground {
    pub fn new(config: &str) -> Self {
        let config: LimiterConfig = toml::from_str(config).expect("TOML");
        let mut registry = Registry::default();
        let runtime = tokio::runtime::Handle::current();
        let limiter = Limiter::new(&config, None, &runtime, &mut registry).expect("a limiter");
        Self { limiter, registry, headers: HeaderMap::new() }
    }

    pub fn limits(&self, definitions: &str, uses: &[LimitUse], route: &str) -> kernel::Result<Limits> {
        let definitions: BTreeMap<String, LimitConfig> = toml::from_str(definitions).expect("TOML");
        Limits::compile(&self.limiter, &definitions, uses, route)
    }

    fn subject(&self) -> Subject<'_> {
        Subject { address: None, tenant: None, user: None, credential: None, headers: &self.headers }
    }
}

fn named(names: &[&str]) -> Vec<LimitUse> {
    names.iter().map(|name| LimitUse::Name((*name).to_owned())).collect()
}

async fn after(limits: &Limits, subject: &Subject<'_>, now: Instant) -> Verdict {
    limits.check(Phase::AfterAuthentication, subject, now).await
}

async fn passed(limits: &Limits, subject: &Subject<'_>, now: Instant, times: usize) -> usize {
    let mut passed = 0;
    for _ in 0..times {
        passed += usize::from(!after(limits, subject, now).await.is_refused());
    }
    passed
}

#[tokio::test]
async fn tenants_never_share_a_count_unless_it_is_said() {
    let ground = Ground::new("");
    let text = r#"
        route = { per = ["route"], requests = 5, window_seconds = 100 }
        header = { per = ["header:x-key"], requests = 5, window_seconds = 100 }
        user = { per = ["user"], requests = 5, window_seconds = 100 }
        all = { per = ["tenant"], requests = 5, window_seconds = 100, shared = true }
        together = { per = ["header:x-key"], requests = 8, window_seconds = 100, shared = true }
    "#;
    let now = Instant::now();
    let user = UserId::new();
    let (one, two) = (TenantId::new(), TenantId::new());
    let of = |tenant| Subject { tenant: Some(tenant), user: Some(user), ..ground.subject() };
    for name in ["route", "header", "user", "all"] {
        let limits = ground.limits(text, &named(&[name]), "GET /a").expect("compiles");
        assert_eq!(passed(&limits, &of(one), now, 50).await, 5, "{name}");
        assert_eq!(passed(&limits, &of(two), now, 50).await, 5, "{name}");
    }
    let shared = ground.limits(text, &named(&["together"]), "GET /a").expect("compiles");
    let mut seen = 0;
    for tenant in [one, two] {
        for _ in 0..10 {
            let verdict = shared.check(Phase::BeforeAuthentication, &of(tenant), now).await;
            seen += usize::from(!verdict.is_refused());
        }
    }
    assert_eq!(seen, 8, "said to be shared");
}

#[tokio::test]
async fn a_tenant_that_floods_a_limit_with_keys_pushes_nobody_of_another_tenant_out() {
    let ground = Ground::new("");
    let text = r#"l = { per = ["header:x-key"], requests = 5, window_seconds = 1000, keys = 8 }"#;
    let limits = ground.limits(text, &named(&["l"]), "r").expect("compiles");
    let now = Instant::now();
    let (loud, quiet) = (TenantId::new(), TenantId::new());
    let mut alone = Vec::new();
    for flooded in [false, true] {
        let quiet = if flooded { quiet } else { TenantId::new() };
        let mut seen = Vec::new();
        for turn in 0_u64..600 {
            let mut headers = HeaderMap::new();
            if flooded {
                for key in 0..5 {
                    headers.insert("x-key", http::HeaderValue::from(turn * 5 + key));
                    after(&limits, &Subject { tenant: Some(loud), headers: &headers, ..ground.subject() }, now).await;
                }
            }
            headers.insert("x-key", http::HeaderValue::from(turn % 6));
            let subject = Subject { tenant: Some(quiet), headers: &headers, ..ground.subject() };
            seen.push(after(&limits, &subject, now).await);
        }
        if flooded { assert_eq!(seen, alone) } else { alone = seen }
    }
    assert_eq!(alone.iter().filter(|verdict| !verdict.is_refused()).count(), 30);
}

#[tokio::test]
async fn routes_share_a_limit_unless_it_counts_per_route() {
    let ground = Ground::new("");
    let text = r#"
        both = { per = ["tenant"], requests = 5, window_seconds = 100 }
        each = { per = ["tenant", "route"], requests = 5, window_seconds = 100 }
    "#;
    let now = Instant::now();
    let subject = Subject { tenant: Some(TenantId::new()), ..ground.subject() };
    let on = |name, route| ground.limits(text, &named(&[name]), route).expect("compiles");
    assert_eq!(passed(&on("both", "GET /a"), &subject, now, 3).await, 3);
    assert_eq!(passed(&on("both", "GET /b"), &subject, now, 9).await, 2);
    assert_eq!(passed(&on("each", "GET /a"), &subject, now, 9).await, 5);
    assert_eq!(passed(&on("each", "GET /b"), &subject, now, 9).await, 5);
}

#[tokio::test]
async fn a_request_that_one_limit_refuses_costs_nothing_in_the_others() {
    let ground = Ground::new("");
    let text = r#"
        wide = { per = ["tenant"], requests = 10, window_seconds = 1000 }
        narrow = { per = ["user"], requests = 2, window_seconds = 10 }
    "#;
    let limits = ground.limits(text, &named(&["wide", "narrow"]), "r").expect("compiles");
    let (now, tenant) = (Instant::now(), TenantId::new());
    let of = |user| Subject { tenant: Some(tenant), user: Some(user), ..ground.subject() };
    let (one, two) = (UserId::new(), UserId::new());
    assert_eq!(passed(&limits, &of(one), now, 100).await, 2);
    // 98 refusals of the first user did not eat what the second may still use: 10 - 2.
    let wide = ground.limits(text, &named(&["wide"]), "r").expect("compiles");
    assert_eq!(passed(&wide, &of(two), now, 100).await, 8);
    // Both are used up now: one answer names the longer wait.
    let verdict = after(&limits, &of(one), now).await;
    let error = limits.error(&verdict).expect("refused");
    assert_eq!((error.code(), error.status(), error.retry_after_seconds()), ("gateway.rate_limited", 429, Some(100)));
    let mut headers = HeaderMap::new();
    limits.write_fields(&verdict, &mut headers);
    assert_eq!(headers["ratelimit"], "\"wide\";r=0;t=100");
    let other_way = ground.limits(text, &named(&["narrow", "wide"]), "r").expect("compiles");
    let error = other_way.error(&after(&other_way, &of(one), now).await).expect("refused");
    assert_eq!(error.retry_after_seconds(), Some(100));
}

#[tokio::test]
async fn addresses_are_counted_before_anybody_is_known() {
    let ground = Ground::new("");
    let text = r#"
        address = { per = ["address"], requests = 5, window_seconds = 100 }
        user = { per = ["user"], requests = 3, window_seconds = 100 }
    "#;
    let limits = ground.limits(text, &named(&["user", "address"]), "r").expect("compiles");
    let now = Instant::now();
    let at = |text: &str| {
        let address: IpAddr = text.parse().expect("an address");
        Subject { address: Some(address), ..ground.subject() }
    };
    for (address, refused) in [
        ("2001:db8::1", false),
        ("2001:db8::2", false),
        ("2001:db8::3", false),
        ("2001:db8::4", false),
        ("2001:db8::5", false),
        ("2001:db8::6", true),
        ("2001:db8:0:1::6", false),
    ] {
        let verdict = limits.check(Phase::BeforeAuthentication, &at(address), now).await;
        assert_eq!(verdict.is_refused(), refused, "{address}");
    }
    // What is told is the tighter of both phases.
    let early = limits.check(Phase::BeforeAuthentication, &at("192.0.2.1"), now).await;
    let known = Subject { user: Some(UserId::new()), tenant: Some(TenantId::new()), ..at("192.0.2.1") };
    let both = early.and(limits.check(Phase::AfterAuthentication, &known, now).await);
    let mut headers = HeaderMap::new();
    limits.write_fields(&both, &mut headers);
    assert_eq!(headers["ratelimit"], "\"user\";r=2;t=34");
    assert_eq!(headers["ratelimit-policy"], "\"address\";q=5;w=100, \"user\";q=3;w=100");
}

#[tokio::test]
async fn requests_may_weigh_more() {
    let ground = Ground::new("");
    let text = r#"heavy = { per = ["tenant"], requests = 10, window_seconds = 100, burst = 20 }"#;
    let weighted = |cost| vec![LimitUse::Weighted { limit: "heavy".to_owned(), cost }];
    let limits = ground.limits(text, &weighted(6), "r").expect("compiles");
    let subject = Subject { tenant: Some(TenantId::new()), ..ground.subject() };
    let now = Instant::now();
    assert_eq!(passed(&limits, &subject, now, 10).await, 3);
    let error = limits.error(&after(&limits, &subject, now).await).expect("refused");
    assert_eq!(error.retry_after_seconds(), Some(40), "four more units, ten seconds each");
    let later = now + Duration::from_secs(40);
    assert_eq!(passed(&limits, &subject, later, 10).await, 1, "Retry-After was neither too short nor too long");
    let refused = ground.limits(text, &weighted(21), "r").map(drop).expect_err("can never pass");
    assert_eq!(refused.code(), "config.invalid");
}

#[tokio::test]
async fn a_reload_keeps_counts_and_a_new_rate_grants_nothing_extra() {
    let ground = Ground::new("");
    let text = |requests| format!("l = {{ per = [\"tenant\"], requests = {requests}, window_seconds = 1000 }}");
    let subject = Subject { tenant: Some(TenantId::new()), ..ground.subject() };
    let old = ground.limits(&text(10), &named(&["l"]), "r").expect("compiles");
    let now = Instant::now();
    assert_eq!(passed(&old, &subject, now, 8).await, 8);
    let same = ground.limits(&text(10), &named(&["l"]), "r").expect("compiles");
    assert_eq!(passed(&same, &subject, now, 8).await, 2, "the same bucket");
    let more = ground.limits(&text(15), &named(&["l"]), "r").expect("compiles");
    let now = Instant::now();
    assert_eq!(passed(&more, &subject, now, 80).await, 5, "15, of which 10 are taken");
    let fewer = ground.limits(&text(5), &named(&["l"]), "r").expect("compiles");
    assert_eq!(passed(&fewer, &subject, now, 80).await, 0);
    assert_eq!(passed(&old, &subject, now, 80).await, 0, "a request on the old plan");
}

#[tokio::test]
async fn fields_come_in_three_styles() {
    let text = r#"l = { per = ["tenant"], requests = 100, window_seconds = 10, burst = 50 }"#;
    for (style, expected) in [
        ("draft", vec![("ratelimit", "\"l\";r=49;t=1"), ("ratelimit-policy", "\"l\";q=50;w=5")]),
        ("legacy", vec![("x-ratelimit-limit", "50"), ("x-ratelimit-remaining", "49"), ("x-ratelimit-reset", "1")]),
        ("none", vec![]),
    ] {
        let ground = Ground::new(&format!("fields = \"{style}\""));
        let limits = ground.limits(text, &named(&["l"]), "r").expect("compiles");
        let subject = Subject { tenant: Some(TenantId::new()), ..ground.subject() };
        let mut headers = HeaderMap::new();
        limits.write_fields(&after(&limits, &subject, Instant::now()).await, &mut headers);
        let mut told: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect();
        told.sort_unstable();
        assert_eq!(told, expected, "{style}");
    }
}

#[tokio::test]
async fn outcomes_are_counted_by_name_and_nothing_of_a_clients() {
    let ground = Ground::new("");
    let text = r#"l = { per = ["header:x-key"], requests = 3, window_seconds = 100 }"#;
    let limits = ground.limits(text, &named(&["l"]), "r").expect("compiles");
    let now = Instant::now();
    for key in 0..2_000 {
        let mut headers = HeaderMap::new();
        headers.insert("x-key", http::HeaderValue::from(key % 500));
        let subject = Subject { tenant: None, headers: &headers, ..ground.subject() };
        after(&limits, &subject, now).await;
    }
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &ground.registry).expect("text");
    assert!(metrics.contains("rate_limit_checks_total{limit=\"l\",outcome=\"allowed\"} 1500"), "{metrics}");
    assert!(metrics.contains("rate_limit_checks_total{limit=\"l\",outcome=\"refused\"} 500"), "{metrics}");
    assert!(metrics.lines().count() < 30, "{metrics}");
}

#[tokio::test]
async fn limits_that_cannot_be_meant_are_refused() {
    let ground = Ground::new("");
    for text in [
        "l = { per = [] }",
        "l = { per = [\"adress\"] }",
        "l = { per = [\"user\", \"user\"] }",
        "l = { requests = 0 }",
        "l = { window_seconds = 0 }",
        "l = { burst = 0 }",
        "l = { requests = 1, window_seconds = 2678400, burst = 1000 }",
        "l = { requests = 1000000000, window_seconds = 1, burst = 100000000000000000 }",
        "l = { keys = 0 }",
        "l = { nodes = 0 }",
        "l = { lease_ms = 1 }",
        "l = { store = \"redis\" }",
        "other = {}",
    ] {
        let error = ground.limits(text, &named(&["l"]), "r").map(drop).expect_err(text);
        assert_eq!(error.code(), "config.invalid", "{text}");
    }
    let twice = ground.limits("l = {}", &named(&["l", "l"]), "r").map(drop).expect_err("twice");
    assert_eq!(twice.code(), "config.invalid");
    let odd = ground.limits("\"a b\" = {}", &named(&["a b"]), "r").map(drop).expect_err("a name for no header");
    assert_eq!(odd.code(), "config.invalid");
}
