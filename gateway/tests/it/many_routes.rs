//! Thousands of routes cost a request no more than ten: what is allocated for it is the same to the byte, and what
//! is searched does not grow with them. Not for how long a request takes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use gateway::{Core, Door, Entry, Gate, Metrics, TokenCache, TokenCacheConfig};
use kernel::Clock;
use service::Service;

use crate::{START, Stand, Tokens, ask};

/// Returns a door with so many routes: under one prefix and under many, with parts that vary, some for one
/// host, some with several methods.
fn door(routes: usize) -> Door {
    let mut declared = String::new();
    for number in 0..routes {
        let path = match number % 4 {
            0 => format!("/api/things{number}/{{id}}"),
            1 => format!("/area{number}/{{id}}/parts/{{part}}"),
            2 => format!("/api/v1/{number}"),
            _ => format!("/deep/{number}/a/b/c/d/{{*rest}}"),
        };
        let host = if number % 10 == 7 { format!("hosts = [\"h{number}.example\"]\n") } else { String::new() };
        let route = format!("[[routes]]\npath = \"{path}\"\n{host}access = \"public\"\nrespond = {{ body = \"{number}\" }}\n");
        declared.push_str(&route);
    }
    let (metrics, clock) = (Metrics::default(), Clock::manual(START));
    let cache = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
    let entry = Entry::Public(Gate { cache, authenticate: Arc::new(Tokens::default()) });
    let mut stand = Stand::new(Service::new("probe", "Nothing"), Router::new(), entry, &clock, metrics);
    stand.declared = declared;
    stand.door(&Rc::new(Core::new(1))).expect("a door")
}

/// Paths that are there with ten routes, and some that are not.
const ASKED: [(&str, u16); 8] = [
    ("/api/things0/1", 200),
    ("/area1/7/parts/wheel", 200),
    ("/api/v1/2", 200),
    ("/deep/3/a/b/c/d/e/f/g", 200),
    ("/api/things8/1", 200),
    ("/api/v1/nothing", 404),
    ("/area1/7/parts", 404),
    ("/", 404),
];

async fn round(door: &Door) {
    for (path, status) in ASKED {
        let answer = ask(door, "203.0.113.9", path, &[("host", "gateway.test"), ("x-request-id", "one")]).await;
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[test]
fn thousands_of_routes_cost_no_more_than_ten() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (few, many) = runtime.block_on(async { (door(10), door(5_000)) });
    let counted = |door: &Door| {
        let allocated = allocation_counter::measure(|| runtime.block_on(round(door)));
        (allocated.count_total, allocated.bytes_total)
    };
    // What is made once for a core, and a first time for a thread, is made before.
    counted(&few);
    counted(&many);
    assert_eq!(counted(&few), counted(&many), "what is allocated depends on the routes");
    // The least of many rounds, in turns, is what the work takes when nothing else runs. A search through all
    // would be five hundred times as long: the bound is far from both, whatever the machine does meanwhile.
    let mut least = [Duration::MAX; 2];
    for _ in 0..100 {
        for (door, least) in [&few, &many].into_iter().zip(&mut least) {
            let began = Instant::now();
            runtime.block_on(round(door));
            *least = began.elapsed().min(*least);
        }
    }
    println!("ten routes: {:?}, five thousand: {:?}", least[0], least[1]);
    assert!(least[1] < least[0] * 3, "{least:?}");
}
