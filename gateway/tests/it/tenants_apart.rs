//! Tenants do not show in each other's answers: random programs of two tenants, which are alike in all but their
//! tenant, run alone, in turns and at the same time over the same routes. What each sees, and what is counted,
//! must be the same. What is shared by design is tested as such at the end, and said in docs/gateway.md.

use std::collections::BTreeMap;

use crate::two_tenants::{Act, Drawn, Run, Step, Tenant, program, tenants};

const DECLARED: &str = r#"
[upstreams.shaky]
servers = ["http://ORIGIN"]
retry = { max_attempts = 2, backoff_ms = 1, budget_floor = 2 }
breaker = { failure_ratio = 0.5, min_requests = 4, window_ms = 600000, open_ms = 600000 }
[upstreams.calm]
servers = ["http://ORIGIN"]
[upstreams.pair]
servers = ["http://ORIGIN", "http://SECOND"]
retry = { max_attempts = 1 }
breaker = { enabled = false }
outlier = { consecutive_failures = 2, base_ms = 600000, max_ms = 600000 }
[upstreams.narrow]
servers = ["http://ORIGIN"]
bulkhead = { max_in_flight = 4, tenant_share = 0.5, queue = 0 }

[limits.of_tenant]
per = ["tenant"]
requests = 4
window_seconds = 360000
[limits.of_user]
per = ["user"]
requests = 3
window_seconds = 360000
# Alone, an address is counted before anybody is known: see what is shared by design.
[limits.of_address]
per = ["address", "tenant"]
requests = 3
window_seconds = 360000
[limits.of_credential]
per = ["credential"]
requests = 2
window_seconds = 360000
[limits.of_device]
per = ["header:x-shop-device"]
requests = 2
window_seconds = 360000

[caches.kept]
default_ttl_ms = 600000
credentials = "class"
tags = ["things", "thing-{id}"]
[requests.marked]
headers = { set = { "x-shop-mark" = "{tenant}/{path.id}" } }
[responses.marked]
headers = { set = { "x-shop-for" = "{tenant}" } }
[compositions.both.parts.mine]
path = "/marked/7"
[compositions.both.parts.kept]
path = "/kept/1"
[compositions.both.parts.shaky]
path = "/shaky/{path.what}"
mode = "optional"
[compositions.both.parts.staff]
path = "/staff"
mode = "optional"

[[routes]]
path = "/kept/{id}"
upstream = "calm"
cache = "kept"
[[routes]]
path = "/limited/tenant"
upstream = "calm"
limits = ["of_tenant"]
[[routes]]
path = "/limited/user"
upstream = "calm"
limits = ["of_user"]
[[routes]]
path = "/limited/address"
upstream = "calm"
limits = ["of_address"]
[[routes]]
path = "/limited/credential"
upstream = "calm"
limits = ["of_credential"]
[[routes]]
path = "/limited/header"
upstream = "calm"
limits = ["of_device"]
[[routes]]
path = "/shaky/{what}"
upstream = "shaky"
[[routes]]
path = "/degraded/{what}"
upstream = "shaky"
fallback = { body = "[]" }
[[routes]]
path = "/pair/{what}"
upstream = "pair"
[[routes]]
path = "/both/{what}"
composition = "both"
[[routes]]
path = "/marked/{id}"
upstream = "calm"
request = "marked"
response = "marked"
[[routes]]
path = "/switched/{what}"
upstream = "calm"
feature = "shop.switched"
[[routes]]
path = "/held/{key}"
upstream = "narrow"
[[routes]]
path = "/staff"
upstream = "calm"
access = { roles = ["staff"] }
[[routes]]
path = "/fixed"
respond = { body = "1" }
"#;

/// What two tenants saw, and what was counted.
type Outcome = ([Vec<String>; 2], BTreeMap<String, f64>);

async fn alone(
    declared: &str,
    tenants: &[Tenant; 2],
    whose: usize,
    steps: &[Step],
) -> (Vec<String>, BTreeMap<String, f64>) {
    let run = Run::open(declared, tenants).await;
    let mut view = run.view(&tenants[whose]);
    for step in steps {
        view.step(step).await;
    }
    let seen = view.end().await;
    (seen, run.counted().await)
}

async fn in_turns(declared: &str, tenants: &[Tenant; 2], programs: &[Vec<Step>; 2], drawn: &mut Drawn) -> Outcome {
    let run = Run::open(declared, tenants).await;
    let mut views = [run.view(&tenants[0]), run.view(&tenants[1])];
    let mut next = [0, 0];
    while next[0] < programs[0].len() || next[1] < programs[1].len() {
        let mut whose = drawn.below(2);
        if next[whose] == programs[whose].len() {
            whose = 1 - whose;
        }
        views[whose].step(&programs[whose][next[whose]]).await;
        next[whose] += 1;
    }
    let [one, other] = views;
    let seen = [one.end().await, other.end().await];
    (seen, run.counted().await)
}

async fn at_once(declared: &str, tenants: &[Tenant; 2], programs: &[Vec<Step>; 2]) -> Outcome {
    let run = Run::open(declared, tenants).await;
    let one = async |whose: usize| {
        let mut view = run.view(&tenants[whose]);
        for step in &programs[whose] {
            view.step(step).await;
        }
        view.end().await
    };
    let seen = tokio::join!(one(0), one(1));
    (seen.into(), run.counted().await)
}

fn sum(one: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let mut sum = one.clone();
    other.iter().for_each(|(name, value)| *sum.entry(name.clone()).or_default() += value);
    sum
}

/// Returns where two runs differ.
fn differences(seed: u64, how: &str, together: &Outcome, apart: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    for whose in 0..2 {
        let (seen, expected) = (&together.0[whose], &apart.0[whose]);
        if let Some(at) = seen.iter().zip(expected).position(|(seen, expected)| seen != expected) {
            found.push(format!(
                "seed {seed}, {how}, tenant {whose}, step {at}:\n  alone    {}\n  together {}",
                expected[at], seen[at]
            ));
        }
    }
    for name in together.1.keys().chain(apart.1.keys()) {
        let (counted, expected) = (together.1.get(name), apart.1.get(name));
        if counted != expected {
            found.push(format!("seed {seed}, {how}: {name} is {counted:?} instead of {expected:?}"));
        }
    }
    found
}

/// Runs the programs of one seed in all ways.
async fn compared(declared: &str, seed: u64, reached: &mut Vec<String>) -> Vec<String> {
    let mut drawn = Drawn(seed);
    let tenants = tenants();
    // One of them fails a lot, the other hardly.
    let programs = [program(&mut drawn, 70, 8), program(&mut drawn, 70, 2)];
    let (one, counted) = alone(declared, &tenants, 0, &programs[0]).await;
    let (other, others) = alone(declared, &tenants, 1, &programs[1]).await;
    reached.extend(one.iter().chain(&other).cloned());
    let apart = ([one, other], sum(&counted, &others));
    let turns = in_turns(declared, &tenants, &programs, &mut drawn).await;
    let mut found = differences(seed, "in turns", &turns, &apart);
    let once = at_once(declared, &tenants, &programs).await;
    found.extend(differences(seed, "at once", &once, &apart));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_sees_never_depends_on_another() {
    let mut reached = Vec::new();
    let mut found = Vec::new();
    for seed in 1..=16 {
        found.extend(compared(DECLARED, seed, &mut reached).await);
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    // The programs have met everything that could bring tenants together.
    for met in [
        "gateway.rate_limited",
        "gateway.circuit_open",
        "gateway.upstream_busy",
        "gateway.upstream_unreachable",
        "flags.feature_disabled",
        "portico-degraded: fallback",
        "portico; hit",
        "request.forbidden",
        "\"number\":2",
        "x-shop-for: ten_",
        "held",
    ] {
        assert!(reached.iter().any(|seen| seen.contains(met)), "no program met {met}");
    }
}

/// The test is worth nothing if it does not see what tenants do share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_as_shared_is_seen_to_be() {
    let (one_each, address) = ("per = [\"address\", \"tenant\"]", "per = [\"address\"]");
    let address = DECLARED.replace(one_each, address);
    let shared = DECLARED.replace("per = [\"credential\"]", "per = [\"credential\"]\nshared = true");
    let narrow = DECLARED.replace("tenant_share = 0.5", "tenant_share = 1.0");
    for (declared, step) in [
        (&address, Act::Ask { method: "GET", target: "/limited/address".to_owned() }),
        (&shared, Act::Ask { method: "GET", target: "/limited/credential".to_owned() }),
        (&narrow, Act::Hold(1)),
    ] {
        let steps = |from: usize| -> Vec<Step> {
            let act = |number| match &step {
                Act::Hold(_) => Act::Hold(from + number),
                other => other.clone(),
            };
            (0..3).map(|number| Step { person: 0, act: act(number) }).collect()
        };
        let (tenants, programs) = (tenants(), [steps(0), steps(10)]);
        let (one, _) = alone(declared, &tenants, 0, &programs[0]).await;
        let (other, _) = alone(declared, &tenants, 1, &programs[1]).await;
        let together = at_once(declared, &tenants, &programs).await;
        let found = differences(0, "shared", &together, &([one, other], together.1.clone()));
        assert!(!found.is_empty(), "{step:?}");
    }
}

fn get(target: &str, times: usize) -> impl Iterator<Item = Step> + use<> {
    let act = Act::Ask { method: "GET", target: target.to_owned() };
    (0..times).map(move |_| Step { person: 0, act: act.clone() })
}

/// Says how what the second tenant sees alone differs from what it sees after the first.
async fn after(declared: &str, programs: &[Vec<Step>; 2]) -> Vec<(String, String)> {
    let tenants = tenants();
    let (alone, _) = alone(declared, &tenants, 1, &programs[1]).await;
    let run = Run::open(declared, &tenants).await;
    let (mut first, mut second) = (run.view(&tenants[0]), run.view(&tenants[1]));
    for step in &programs[0] {
        first.step(step).await;
    }
    for step in &programs[1] {
        second.step(step).await;
    }
    alone.into_iter().zip(second.seen).filter(|(alone, after)| alone != after).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_retries_all_it_may_leaves_another_its_own_retries() {
    let breaker = "breaker = { failure_ratio = 0.5, min_requests = 4, window_ms = 600000, open_ms = 600000 }";
    let declared = DECLARED.replace(breaker, "breaker = { enabled = false }");
    let greedy = get("/shaky/fine", 60).chain(get("/shaky/flaky", 40)).collect();
    let differ = after(&declared, &[greedy, get("/shaky/flaky", 2).collect()]).await;
    assert!(differ.is_empty(), "{differ:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenant_has_kept_may_make_room_for_anothers_and_nothing_else() {
    // The bytes of the cache are everybody's: what is pushed out is asked for anew, and that is all that shows.
    let declared = format!(
        "[cache]\nmemory_bytes = 1048576\n{DECLARED}[[routes]]\npath = \"/large/{{id}}\"\nupstream = \"calm\"\ncache = \"kept\"\n"
    );
    let greedy = (0..40).flat_map(|number| get(&format!("/large/{number}"), 1)).collect();
    let differ = after(&declared, &[greedy, get("/kept/1", 3).collect()]).await;
    assert!(differ.iter().all(|(alone, after)| alone.contains("hit") && after.contains("\"number\":2")), "{differ:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_not_there_for_anybody() {
    let declared = DECLARED.replace("[upstreams.calm]\nservers = [\"http://ORIGIN\"]", "[upstreams.calm]\nservers = [\"http://127.0.0.1:1\"]\nretry = { max_attempts = 1 }\nbreaker = { min_requests = 4 }");
    let differ = after(&declared, &[get("/marked/1", 6).collect(), get("/marked/1", 1).collect()]).await;
    let [(alone, after)] = &differ[..] else { panic!("{differ:?}") };
    assert!(alone.contains("gateway.upstream_unreachable") && after.contains("gateway.circuit_open"), "{differ:?}");
}
