//! Many ask at once, one fetches; whatever becomes of that one, the others get their answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::BodyExt as _;
use http_cache::{Config, Outcome, PolicyConfig};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

use crate::bench::{Bench, Got, ask, get, local, reply, settle};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn crowd(bench: &Bench, size: usize) -> Vec<JoinHandle<Got>> {
    let one = |_| {
        let bench = bench.clone();
        spawn_local(async move { bench.get("/a").await })
    };
    (0..size).map(one).collect()
}

async fn all(crowd: Vec<JoinHandle<Got>>) -> Vec<Got> {
    let mut got = Vec::new();
    for one in crowd {
        got.push(one.await.expect("no panic"));
    }
    got
}

/// A body of these chunks that goes on after the first when it is told to.
fn gated(gate: Arc<Notify>, chunks: &'static [&'static str]) -> Body {
    Body::from_stream(stream::iter(chunks.iter().enumerate()).then(move |(index, chunk)| {
        let gate = gate.clone();
        async move {
            if index == 1 {
                gate.notified().await;
            }
            Ok::<_, Infallible>(Bytes::from_static(chunk.as_bytes()))
        }
    }))
}

#[test]
fn a_thousand_misses_are_one_fetch() {
    local(async {
        let bench = Bench::new();
        let gate = bench.next_later(reply(&[FRESH], "once"));
        let crowd = crowd(&bench, 1_000);
        settle().await;
        gate.notify_one();
        let got = all(crowd).await;
        assert!(got.iter().all(|got| got.body == "once"));
        assert_eq!(bench.fetches(), 1);
        let coalesced = got.iter().filter(|got| got.outcome == Outcome::Coalesced).count();
        assert_eq!(coalesced, 999);
        assert_eq!(bench.get("/a").await.outcome, Outcome::Hit);
    });
}

#[test]
fn a_leader_that_goes_away_is_replaced_by_one() {
    local(async {
        let bench = Bench::new();
        let _never = bench.next_later(reply(&[FRESH], "lost"));
        let leader = {
            let bench = bench.clone();
            spawn_local(async move { bench.get("/a").await })
        };
        settle().await;
        let crowd = crowd(&bench, 100);
        settle().await;
        bench.next(reply(&[FRESH], "second"));
        leader.abort();
        assert!(all(crowd).await.iter().all(|got| got.body == "second"));
        assert_eq!(bench.fetches(), 2);
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_the_body_harms_nobody() {
    local(async {
        let bench = Bench::new();
        let gate = Arc::new(Notify::new());
        bench.next(reply(&[FRESH], gated(gate.clone(), &["one", "two"])));
        let mut first = bench.raw(get("/a")).await.unwrap();
        assert_eq!(first.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        let crowd = crowd(&bench, 10);
        settle().await;
        drop(first);
        gate.notify_one();
        assert!(all(crowd).await.iter().all(|got| got.body == "onetwo"));
        assert_eq!(bench.fetches(), 1);
    });
}

#[test]
fn an_answer_for_one_only_lets_the_others_go_at_once_and_is_remembered() {
    local(async {
        let bench = Bench::new();
        let gate = bench.next_later(reply(&[("cache-control", "private")], "0"));
        // None of these answers comes before all have asked: they do not wait for each other.
        let gates: Vec<_> = (1..10).map(|_| bench.next_later(reply(&[("cache-control", "private")], "own"))).collect();
        let crowd = crowd(&bench, 10);
        settle().await;
        assert_eq!(bench.fetches(), 1);
        gate.notify_one();
        settle().await;
        assert_eq!(bench.fetches(), 10, "all at once");
        gates.iter().for_each(|gate| gate.notify_one());
        assert!(all(crowd).await.iter().all(|got| got.outcome == Outcome::Miss));
        let gates: Vec<_> = (0..5).map(|_| bench.next_later(reply(&[("cache-control", "private")], "own"))).collect();
        let crowd = self::crowd(&bench, 5);
        settle().await;
        assert_eq!(bench.fetches(), 15, "nobody waits for what cannot be shared");
        gates.iter().for_each(|gate| gate.notify_one());
        all(crowd).await;
        // The memory of it ends: the next crowd tries again.
        bench.pass(6);
        let gate = bench.next_later(reply(&[FRESH], "shared"));
        let crowd = self::crowd(&bench, 5);
        settle().await;
        gate.notify_one();
        assert!(all(crowd).await.iter().all(|got| got.body == "shared"));
        assert_eq!(bench.fetches(), 16);
    });
}

#[test]
fn a_leader_whose_origin_fails_fails_alone() {
    local(async {
        let bench = Bench::new();
        bench.next_fails();
        bench.always(|_| reply(&[FRESH], "good"));
        let crowd: Vec<_> = (0..5)
            .map(|_| {
                let bench = bench.clone();
                spawn_local(async move { bench.raw(get("/a")).await.map(|response| response.status().as_u16()) })
            })
            .collect();
        let mut failures = 0;
        for one in crowd {
            failures += usize::from(one.await.unwrap().is_err());
        }
        assert_eq!(failures, 1);
    });
}

#[test]
fn a_slow_leader_is_not_waited_for_longer_than_the_limit() {
    local(async {
        let config = Config { wait_ms: 20, ..Config::default() };
        let bench = Bench::with(config, PolicyConfig::default());
        let slow = bench.next_later(reply(&[FRESH], "slow"));
        let leader = {
            let bench = bench.clone();
            spawn_local(async move { bench.get("/a").await })
        };
        settle().await;
        bench.always(|_| reply(&[FRESH], "own"));
        let got = tokio::time::timeout(Duration::from_secs(10), bench.get("/a")).await.expect("not as long as the leader");
        assert_eq!(got.body, "own");
        slow.notify_one();
        assert_eq!(leader.await.unwrap().body, "slow");
    });
}

#[test]
fn a_large_body_is_given_to_those_that_wait_while_it_comes() {
    local(async {
        let bench = Bench::new();
        let gate = Arc::new(Notify::new());
        let first: &'static str = "x".repeat(70_000).leak();
        let chunks: &'static [&'static str] = vec![first, "end"].leak();
        let length: &'static str = (first.len() + 3).to_string().leak();
        bench.next(reply(&[FRESH, ("content-length", length)], gated(gate.clone(), chunks)));
        let _leader = bench.raw(get("/a")).await.unwrap();
        let mut follower = bench.raw(get("/a")).await.unwrap();
        let chunk = follower.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(chunk.len(), first.len(), "before the origin has ended");
        gate.notify_one();
        assert_eq!(follower.into_body().collect().await.unwrap().to_bytes(), "end");
        assert_eq!(bench.fetches(), 1);
    });
}

#[test]
fn those_that_want_another_variant_do_not_get_this_one() {
    local(async {
        let bench = Bench::new();
        bench.always(|request| {
            let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
            reply(&[FRESH, ("vary", "accept-language")], language)
        });
        let crowd: Vec<_> = (0..40)
            .map(|index| {
                let (bench, language) = (bench.clone(), ["de", "en", "fr", "es"][index % 4]);
                spawn_local(async move {
                    assert_eq!(bench.send(ask("GET", "/a", &[("accept-language", language)])).await.body, language);
                })
            })
            .collect();
        for one in crowd {
            one.await.unwrap();
        }
        assert!(bench.fetches() <= 8, "{} fetches for four variants", bench.fetches());
    });
}
