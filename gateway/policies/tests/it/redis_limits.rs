//! Limits that several nodes share through a real Redis: the bound, and every way to lose Redis.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fixtures::{RedisServer, eventually};
use futures_util::FutureExt as _;
use http::HeaderMap;
use kernel::TenantId;
use policies::{LimitConfig, LimitUse, Limiter, LimiterConfig, Limits, Phase, Subject, Verdict};
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

/// One instance of the gateway, as far as limits go.
struct Node {
    limiter: Limiter,
    limits: Limits,
    registry: Registry,
    headers: HeaderMap,
}

impl Node {
    async fn start(redis: &RedisServer, limit: &str) -> Self {
        let mut registry = Registry::default();
        // A trip may take long on a machine that is busy with other tests.
        let config = LimiterConfig { redis_timeout_ms: 1_000, ..LimiterConfig::default() };
        let limiter = Limiter::new(&config, Some(&redis.url()), &Handle::current(), &mut registry).expect("a limiter");
        let definitions: BTreeMap<String, LimitConfig> = toml::from_str(limit).expect("TOML");
        let uses = [LimitUse::Name("l".to_owned())];
        let limits = Limits::compile(&limiter, &definitions, &uses, "r").expect("compiles");
        let node = Self { limiter, limits, registry, headers: HeaderMap::new() };
        node.redis_is(true).await;
        node
    }

    async fn redis_is(&self, there: bool) {
        eventually("Redis is seen or missed", async || self.limiter.redis_is_there() == Some(there)).await;
    }

    fn subject(&self, tenant: TenantId) -> Subject<'_> {
        Subject { address: None, tenant: Some(tenant), user: None, credential: None, headers: &self.headers }
    }

    async fn check(&self, tenant: TenantId) -> Verdict {
        self.limits.check(Phase::AfterAuthentication, &self.subject(tenant), Instant::now()).await
    }

    async fn passes(&self, tenant: TenantId) -> bool {
        !self.check(tenant).await.is_refused()
    }

    /// Decides without waiting for anything.
    fn passes_at_once(&self, tenant: TenantId) -> bool {
        let verdict = self.check(tenant).now_or_never().expect("nothing is waited for");
        !verdict.is_refused()
    }

    fn counter(&self, line: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("text");
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    fn trips(&self, outcome: &str) -> u64 {
        self.counter(&format!("rate_limit_redis_trips_total{{limit=\"l\",outcome=\"{outcome}\"}}"))
    }
}

async fn nodes(redis: &RedisServer, limit: &str, count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::start(redis, limit).await);
    }
    nodes
}

/// Asks all nodes in turn until all refuse; returns how many passed.
async fn exhaust(nodes: &[Node], tenant: TenantId) -> usize {
    let (mut passed, mut refused) = (0, 0);
    while refused < nodes.len() {
        refused = 0;
        for node in nodes {
            if node.passes(tenant).await { passed += 1 } else { refused += 1 }
        }
        assert!(passed < 100_000, "nobody refuses");
    }
    passed
}

async fn script_calls(redis: &RedisServer) -> u64 {
    let text: String = redis.ask(&["INFO", "commandstats"]).await;
    let line = text.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
}

/// Sixty units that are earned back in eleven days, leases of a minute: time plays no part.
const STILL: &str = r#"l = { per = ["tenant"], requests = 60, window_seconds = 1000000, store = "redis", lease_ms = 60000, nodes = 3, on_redis_loss = "MODE" }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nodes_together_keep_the_bound_with_few_trips() {
    let Some(redis) = RedisServer::start().await else { return };
    let (rate, burst, lease) = (1_500.0, 300.0, 0.05);
    let text = r#"l = { per = ["tenant"], requests = 1500, window_seconds = 1, burst = 300, store = "redis" }"#;
    let nodes = Arc::new(nodes(&redis, text, 4).await);
    let tenant = TenantId::new();
    let passed: Arc<Mutex<Vec<(Instant, Instant)>>> = Arc::default();
    let until = Instant::now() + Duration::from_secs(2);
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (nodes, passed) = (nodes.clone(), passed.clone());
            tokio::spawn(async move {
                let mut asked = 0_u64;
                while Instant::now() < until {
                    let before = Instant::now();
                    if nodes[task % 4].passes(tenant).await {
                        passed.lock().expect("not poisoned").push((before, Instant::now()));
                    }
                    asked += 1;
                    tokio::task::yield_now().await;
                }
                asked
            })
        })
        .collect();
    let mut asked = 0;
    for task in tasks {
        asked += task.await.expect("no panic");
    }
    let mut passed = std::mem::take(&mut *passed.lock().expect("not poisoned"));
    passed.sort_by_key(|(_, after)| *after);
    // In every window from before one to after another: burst + rate * (window + lease).
    for from in (0..passed.len()).step_by(7) {
        let (begin, mut inside) = (passed[from].0, 0.0);
        for (before, after) in &passed {
            if *before >= begin {
                inside += 1.0;
                let bound = burst + rate * ((*after - begin).as_secs_f64() + lease) + 1.0;
                assert!(inside <= bound, "{inside} passed where {bound} may");
            }
        }
    }
    assert!(passed.len() as f64 >= burst, "{} of {asked} passed", passed.len());
    // Each trip is one lease or one refusal that is remembered; a refused request seldom makes one.
    let sum = |outcome| nodes.iter().map(|node| node.trips(outcome)).sum::<u64>();
    let (granted, empty, failed) = (sum("granted"), sum("empty"), sum("failed"));
    let lost: u64 =
        nodes.iter().map(|node| node.counter("rate_limit_checks_total{limit=\"l\",outcome=\"without_redis\"}")).sum();
    println!(
        "{} of {asked} passed; {granted} leases, {empty} empty, {failed} failed; {lost} decided alone",
        passed.len()
    );
    assert_eq!((failed, lost), (0, 0));
    let calls = script_calls(&redis).await;
    assert!(calls >= granted + empty && calls <= granted + empty + 4, "{calls} calls");
    assert!(calls < asked / 2, "{calls} calls for {asked} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nodes_give_together_is_the_limit_and_a_flush_gives_nothing() {
    let Some(redis) = RedisServer::start().await else { return };
    let nodes = nodes(&redis, &STILL.replace("MODE", "local"), 3).await;
    let tenant = TenantId::new();
    assert_eq!(exhaust(&nodes, tenant).await, 60);
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 1);
    assert!(keys[0].starts_with("portico:limit:l:"), "{keys:?}");
    // Milliseconds, and no more than it takes to be full again.
    let left: i64 = redis.ask(&["PTTL", &keys[0]]).await;
    assert!((999_000_000..=1_000_002_000).contains(&left), "{left}");

    let _: () = redis.ask(&["FLUSHALL"]).await;
    let before = nodes.iter().map(|node| node.trips("empty")).collect::<Vec<_>>();
    eventually("every node asked again", async || {
        for node in &nodes {
            assert!(!node.passes(tenant).await, "the nodes remember what Redis forgot");
        }
        nodes.iter().zip(&before).all(|(node, before)| node.trips("empty") > *before)
    })
    .await;
    let _: () = redis.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(exhaust(&nodes, TenantId::new()).await, 60, "the script is sent again; another tenant has its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_node_gives_its_share_and_nothing_jumps_when_it_is_back() {
    let Some(mut redis) = RedisServer::start().await else { return };
    let nodes = nodes(&redis, &STILL.replace("MODE", "local"), 3).await;
    let (used_up, fresh) = (TenantId::new(), TenantId::new());
    assert_eq!(exhaust(&nodes, used_up).await, 60);
    redis.kill();
    for node in &nodes {
        node.redis_is(false).await;
        for _ in 0..100 {
            assert!(!node.passes_at_once(used_up), "what was known of Redis still counts");
        }
        assert_eq!((0..100).filter(|_| node.passes_at_once(fresh)).count(), 20);
    }
    redis.resume().await;
    for node in &nodes {
        node.redis_is(true).await;
    }
    assert_eq!(exhaust(&nodes, fresh).await, 0, "what passed meanwhile was told to Redis");
    eventually("every node asked again", async || {
        for node in &nodes {
            assert!(!node.passes(used_up).await, "an empty Redis learnt from the nodes");
        }
        nodes.iter().all(|node| node.trips("empty") >= 3)
    })
    .await;
    assert_eq!(exhaust(&nodes, TenantId::new()).await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_everything_or_nothing_passes_where_that_is_declared() {
    let Some(mut redis) = RedisServer::start().await else { return };
    let allowing = Node::start(&redis, &STILL.replace("MODE", "allow")).await;
    let refusing = Node::start(&redis, &STILL.replace("MODE", "refuse")).await;
    redis.kill();
    allowing.redis_is(false).await;
    refusing.redis_is(false).await;
    let tenant = TenantId::new();
    assert!((0..500).all(|_| allowing.passes_at_once(tenant)));
    let verdict = refusing.check(tenant).now_or_never().expect("at once");
    let error = refusing.limits.error(&verdict).expect("refused");
    assert_eq!((error.code(), error.status()), ("gateway.limiter_unavailable", 503));
    assert_eq!(error.retry_after_seconds(), Some(1));
    let mut headers = HeaderMap::new();
    refusing.limits.write_fields(&verdict, &mut headers);
    assert!(headers.is_empty(), "nothing is known of the limit");
    redis.resume().await;
    allowing.redis_is(true).await;
    refusing.redis_is(true).await;
    assert!(!allowing.passes(tenant).await, "what passed meanwhile was counted");
    let other = TenantId::new();
    assert!(allowing.passes(other).await && refusing.passes(other).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_waited_for_once_and_not_for_long() {
    let Some(redis) = RedisServer::start().await else { return };
    let node = Node::start(&redis, &STILL.replace("MODE", "local")).await;
    redis.hang(true);
    let asked = futures_util::future::join_all((0..50).map(|_| node.check(TenantId::new())));
    let answers = tokio::time::timeout(Duration::from_secs(15), asked).await.expect("the wait has an end");
    assert!(answers.iter().all(|verdict| !verdict.is_refused()), "each by its own count");
    node.redis_is(false).await;
    assert!(node.passes_at_once(TenantId::new()), "nobody waits for it again");
    redis.hang(false);
    node.redis_is(true).await;
    assert_eq!(exhaust(std::slice::from_ref(&node), TenantId::new()).await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_does_not_take_the_answer_of_the_others_along() {
    let Some(redis) = RedisServer::start().await else { return };
    let node = Node::start(&redis, &STILL.replace("MODE", "refuse")).await;
    for _ in 0..200 {
        let tenant = TenantId::new();
        // Polled once, then dropped with the trip under way.
        assert!(node.check(tenant).now_or_never().is_none_or(|verdict| !verdict.is_refused()));
        assert!(node.passes(tenant).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_in_redis_starts_without_redis_too() {
    let Some(mut redis) = RedisServer::start().await else { return };
    redis.kill();
    let mut registry = Registry::default();
    let config = LimiterConfig::default();
    let limiter = Limiter::new(&config, Some(&redis.url()), &Handle::current(), &mut registry).expect("a limiter");
    let definitions = toml::from_str(&STILL.replace("MODE", "local")).expect("TOML");
    let limits = Limits::compile(&limiter, &definitions, &[LimitUse::Name("l".to_owned())], "r").expect("compiles");
    let node = Node { limiter, limits, registry, headers: HeaderMap::new() };
    let tenant = TenantId::new();
    assert_eq!((0..100).filter(|_| node.passes_at_once(tenant)).count(), 20);
    redis.resume().await;
    node.redis_is(true).await;
    assert_eq!(exhaust(std::slice::from_ref(&node), TenantId::new()).await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_rate_reaches_redis_and_grants_nothing_extra() {
    let Some(redis) = RedisServer::start().await else { return };
    let text = STILL.replace("MODE", "local");
    let mut nodes = nodes(&redis, &text, 2).await;
    let tenant = TenantId::new();
    assert_eq!(exhaust(&nodes, tenant).await, 60);
    let reload = |nodes: &mut Vec<Node>, requests: u64| {
        for node in nodes {
            let text = text.replace("requests = 60", &format!("requests = {requests}"));
            let definitions = toml::from_str(&text).expect("TOML");
            let uses = [LimitUse::Name("l".to_owned())];
            node.limits = Limits::compile(&node.limiter, &definitions, &uses, "r").expect("compiles");
        }
    };
    reload(&mut nodes, 90);
    assert_eq!(exhaust(&nodes, tenant).await, 30, "90, of which 60 are taken");
    reload(&mut nodes, 45);
    assert_eq!(exhaust(&nodes, tenant).await, 0);
}
