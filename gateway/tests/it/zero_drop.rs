//! Nothing is lost of our own doing: constant load over HTTP/1.1 and HTTP/2 while the file is read again, signing
//! keys change, servers flap, the gateway is replaced and Redis goes away. A request that failed must have a
//! fault in the origin's own log; all others are ours, and there are none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::Drain;
use kernel::Clock;

use crate::flapping::Flapping;
use crate::front::{Front, Setting};
use crate::http2_origin::Graceful;
use crate::load::{Failed, Load, ONE, TWO, Token};
use crate::member;
use crate::signing::Issuer;

/// Returns the failures that none of these servers is to blame for.
fn ours<'f>(failed: &'f [Failed], servers: &[&Flapping]) -> Vec<&'f Failed> {
    let to_blame =
        |failed: &&Failed| servers.iter().any(|server| server.is_to_blame(&failed.id, failed.from, failed.to));
    failed.iter().filter(|failed| !to_blame(failed)).collect()
}

fn tallied(failed: &[Failed]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for failed in failed {
        *tally.entry(failed.what.chars().take(120).collect()).or_default() += 1;
    }
    tally
}

fn one() -> Token {
    Arc::new(|| "one".to_owned())
}

const DECLARED: &str = r#"
[upstreams.origin]
servers = [SERVERS]
retry = { max_attempts = 3, backoff_ms = 5 }
[limits.many]
per = ["tenant"]
requests = 1000000
window_seconds = 1
[[routes]]
path = "/probe"
upstream = "origin"
limits = ["many"]
timeout_ms = 20000
"#;

fn front(declared: &str, servers: &[&Flapping], setting: Setting) -> Front {
    let list: Vec<String> = servers.iter().map(|server| format!("\"http://{}\"", server.address)).collect();
    let front = Front::before(&declared.replace("SERVERS", &list.join(", ")), setting);
    front.tokens.add("one", &member("tok_1"));
    front
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_read_again_drops_nothing() {
    let server = Flapping::start();
    let front = front(DECLARED, &[&server], Setting::default());
    let load = Load::start(front.address, "/probe", one());
    for turn in 0..50 {
        load.runs(20).await;
        // The route alone, the limit, and the upstream with all its connections.
        let (from, to) = [
            ("timeout_ms = 20000", "timeout_ms = 20001"),
            ("1000000", "1000001"),
            ("backoff_ms = 5", "backoff_ms = 6"),
        ][turn % 3];
        let there = front.declared.lock().expect("not poisoned").contains(to);
        let (from, to) = if there { (to, from) } else { (from, to) };
        front.reload(from, to).await.expect("a reload");
    }
    load.runs(100).await;
    let (asked, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), tallied(&failed));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_that_change_refuse_nobody() {
    let (server, issuer) = (Flapping::start(), Issuer::default());
    issuer.rotate(0);
    let keys = issuer.start().await;
    let declared = format!(
        "{DECLARED}[[issuers]]\nname = \"login\"\nissuer = \"https://login.example\"\naudiences = [\"api\"]\n\
         jwks_url = \"http://{keys}/keys\"\nrefetch_window_ms = 100\nunknown_key_wait_ms = 20000\n"
    );
    let front = front(&declared, &[&server], Setting::default());
    let (signs, until) = (issuer.clone(), Clock::system().now().0 / 1_000_000 + 3_000);
    let load = Load::start(front.address, "/probe", Arc::new(move || signs.token(until)));
    for turn in 1..=6 {
        load.runs(100).await;
        issuer.rotate(turn);
    }
    load.runs(100).await;
    let (asked, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), tallied(&failed));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_flap_are_to_blame_for_every_failure() {
    let (mut flapping, steady) = (Flapping::start(), Flapping::start());
    let front = front(DECLARED, &[&flapping, &steady], Setting::default());
    let load = Load::start(front.address, "/probe", one());
    for _ in 0..10 {
        load.runs(100).await;
        flapping.kill().await;
        load.runs(100).await;
        flapping.resume();
    }
    load.runs(100).await;
    let (asked, failed) = load.end().await;
    let ours = ours(&failed, &[&flapping, &steady]);
    println!("{} of {asked} failed, {} of them ours: {:?}", failed.len(), ours.len(), tallied(&failed));
    assert!(ours.is_empty(), "{ours:?}");
    // The other one is there: what may be repeated is, so most of what breaks is never seen.
    assert!(failed.len() * 20 < asked, "{} of {asked} failed: {:?}", failed.len(), tallied(&failed));
    assert!(steady.answered() > 0 && flapping.answered() > 0);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_http2_that_restarts_gracefully_loses_nothing_and_does_nothing_twice() {
    let server = Graceful::start().await;
    let http2 = DECLARED.replace("retry = {", "protocol = \"http2\"\nretry = {");
    let front = Front::before(&http2.replace("SERVERS", &format!("\"http://{}\"", server.address)), Setting::default());
    front.tokens.add("one", &member("tok_1"));
    let load = Load::start(front.address, "/probe", one());
    for _ in 0..30 {
        load.runs(50).await;
        server.restart();
    }
    load.runs(50).await;
    server.restart_last();
    let (asked, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), tallied(&failed));
    assert_eq!(server.acted(), (asked, Vec::new()));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_replaced_at_its_port_drops_nothing() {
    replaced(0..ONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_replaced_at_its_port_drops_nothing_over_http2() {
    replaced(ONE..ONE + TWO).await;
}

/// What the gateway says that it has not acted on, the clients send again; if it had, the origin would see it twice.
async fn replaced(clients: std::ops::Range<usize>) {
    let server = Flapping::start();
    let mut current = front(DECLARED, &[&server], Setting::default());
    let load = Load::of(clients, current.address, "/probe", one());
    for _ in 0..3 {
        load.runs(200).await;
        let setting = Setting { listen: current.address, beside: true, ..Setting::default() };
        let next = front(DECLARED, &[&server], setting);
        let drain = Drain { notice: Duration::ZERO, limit: Duration::from_secs(10) };
        current.server.drain(drain).await;
        current = next;
    }
    load.runs(200).await;
    let (asked, failed) = load.end().await;
    let reached: Vec<_> = failed.iter().map(|failed| (&failed.id, server.has_seen(&failed.id))).collect();
    assert!(failed.is_empty(), "{} of {asked}, reached the origin {reached:?}: {:?}", failed.len(), tallied(&failed));
    assert!(server.twice().is_empty() && server.answered() == asked, "{:?} came twice", server.twice());
    current.stop().await;
}

/// A Redis server at this port.
struct Redis(std::process::Child);

impl Redis {
    fn start(port: u16) -> Option<Self> {
        let mut command = std::process::Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().ok().map(Self)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_away_drops_nothing() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let Some(mut redis) = Redis::start(free.port()) else {
        println!("skipped: there is no redis-server");
        return;
    };
    let server = Flapping::start();
    let declared = DECLARED.replace("window_seconds = 1", "window_seconds = 1\nstore = \"redis\"");
    let redis_url = Some(format!("redis://{free}/"));
    let front = front(&declared, &[&server], Setting { redis_url, ..Setting::default() });
    let load = Load::start(front.address, "/probe", one());
    let trips = || {
        let text = front.metrics.text().expect("the metrics");
        let lines =
            text.lines().filter(|line| line.contains("rate_limit_redis_trips_total") && line.contains("granted"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum::<u64>()
    };
    for _ in 0..3 {
        let (before, began) = (trips(), Instant::now());
        while trips() == before {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "Redis is not asked: {}",
                front.metrics.text().expect("text")
            );
            load.runs(50).await;
        }
        drop(redis);
        load.runs(300).await;
        redis = Redis::start(free.port()).expect("it was there before");
    }
    load.runs(100).await;
    let (asked, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), tallied(&failed));
    front.stop().await;
}
