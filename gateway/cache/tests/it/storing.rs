//! What is stored and what is not: sizes, truncation, validation, stale answers, ranges, HEAD.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use http_cache::{Config, Outcome, PolicyConfig};

use crate::bench::{Bench, ask, get, local, reply, settle, status};

fn stream(chunks: &[&'static str]) -> Body {
    Body::from_stream(stream::iter(chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes()))).collect::<Vec<_>>()))
}

#[test]
fn a_hit_has_its_age_and_says_that_it_is_one() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[("cache-control", "max-age=60"), ("connection", "x-hop"), ("x-hop", "1"), ("x-request-id", "r")], "a"));
        let miss = bench.get("/a").await;
        assert_eq!(miss.headers["cache-status"], "portico; fwd=uri-miss");
        bench.pass(7);
        let hit = bench.get("/a").await;
        assert_eq!((hit.outcome, &*hit.body), (Outcome::Hit, &b"a"[..]));
        assert_eq!(hit.headers["age"], "7");
        assert_eq!(hit.headers["cache-status"], "portico; hit; ttl=53");
        for gone in ["connection", "x-hop", "x-request-id"] {
            assert!(!hit.headers.contains_key(gone), "{gone}");
        }
        assert!(hit.headers.contains_key("date"));
    });
}

#[test]
fn a_body_that_breaks_off_is_not_stored() {
    local(async {
        let bench = Bench::new();
        let broken = vec![Ok(Bytes::from("half")), Err(std::io::Error::other("broke"))];
        bench.next(reply(&[("cache-control", "max-age=60")], Body::from_stream(stream::iter(broken))));
        let response = bench.raw(get("/a")).await.unwrap();
        assert!(response.into_body().collect().await.is_err(), "the client learns of it");
        bench.next(reply(&[("cache-control", "max-age=60"), ("content-length", "9")], stream(&["short"])));
        assert!(bench.raw(get("/a")).await.unwrap().into_body().collect().await.is_err());
        settle().await;
        bench.next(reply(&[("cache-control", "max-age=60")], "whole"));
        assert_eq!(bench.get("/a").await.outcome, Outcome::Miss);
        assert_eq!(bench.get("/a").await.body, "whole");
    });
}

#[test]
fn what_is_too_large_streams_through() {
    local(async {
        let policy = PolicyConfig { max_object_bytes: 10, ..PolicyConfig::default() };
        let bench = Bench::with(Config::default(), policy);
        for _ in 0..2 {
            bench.next(reply(&[("cache-control", "max-age=60")], stream(&["12345", "67890", "abc", "def"])));
            let got = bench.get("/a").await;
            assert_eq!((got.outcome, &*got.body), (Outcome::Miss, &b"1234567890abcdef"[..]));
        }
        for _ in 0..2 {
            bench.next(reply(&[("cache-control", "max-age=60"), ("content-length", "11")], stream(&["12345678901"])));
            assert_eq!(bench.get("/b").await.outcome, Outcome::Miss);
        }
        assert_eq!(bench.cache.size(), (0, 0));
    });
}

#[test]
fn memory_is_bounded() {
    local(async {
        let bench = Bench::with(Config { memory_bytes: 1 << 20, ..Config::default() }, PolicyConfig::default());
        bench.always(|_| reply(&[("cache-control", "max-age=60"), ("cache-tag", "all")], "x".repeat(10_000)));
        for number in 0..500 {
            bench.get(&format!("/{number}")).await;
        }
        let (entries, bytes) = bench.cache.size();
        assert!(bytes <= 1 << 20 && entries > 10, "{entries} entries, {bytes} bytes");
        let known = bench.cache.invalidate(None, &["all"]);
        assert_eq!(known, entries, "the index has forgotten what was evicted");
        assert_eq!(bench.cache.size(), (0, 0));
    });
}

#[test]
fn a_304_brings_the_stored_head_up_to_date() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[("cache-control", "max-age=5"), ("etag", "\"a\""), ("x", "1")], "body"));
        bench.get("/a").await;
        bench.pass(6);
        bench.next(status(304, &[("cache-control", "max-age=50"), ("etag", "\"a\""), ("x", "2")], Body::empty()));
        let got = bench.get("/a").await;
        assert_eq!((got.outcome, got.status, &*got.body), (Outcome::Revalidated, 200, &b"body"[..]));
        assert_eq!((&got.headers["x"], &bench.last_seen().2["if-none-match"]), (&"2".parse().unwrap(), &"\"a\"".parse().unwrap()));
        bench.pass(49);
        assert_eq!(bench.get("/a").await.outcome, Outcome::Hit);
    });
}

#[test]
fn a_client_s_condition_is_answered_from_the_store() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[("cache-control", "max-age=5"), ("etag", "\"a\"")], "body"));
        bench.get("/a").await;
        let asked = || ask("GET", "/a", &[("if-none-match", "\"a\"")]);
        let got = bench.send(asked()).await;
        assert_eq!((got.status, got.body.len(), &got.headers["etag"]), (304, 0, &"\"a\"".parse().unwrap()));
        bench.pass(9);
        bench.next(reply(&[("cache-control", "max-age=5"), ("etag", "\"b\"")], "new"));
        assert_eq!(bench.send(asked()).await.body, "new");
        assert_eq!(bench.get("/a").await.body, "new");
    });
}

#[test]
fn stale_answers_are_given_while_they_are_renewed() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[("cache-control", "max-age=5, stale-while-revalidate=10")], "old"));
        bench.get("/a").await;
        bench.pass(6);
        let gate = bench.next_later(reply(&[("cache-control", "max-age=5")], "new"));
        for _ in 0..5 {
            let got = bench.get("/a").await;
            assert_eq!((got.outcome, &*got.body), (Outcome::Stale, &b"old"[..]));
        }
        settle().await;
        assert_eq!(bench.fetches(), 2, "one in the background");
        gate.notify_one();
        settle().await;
        assert_eq!(bench.get("/a").await.body, "new");
    });
}

#[test]
fn stale_answers_stand_in_for_an_origin_that_fails_and_no_longer() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[("cache-control", "max-age=5, stale-if-error=10")], "old"));
        bench.get("/a").await;
        bench.pass(6);
        bench.next_fails();
        assert_eq!(bench.get("/a").await.outcome, Outcome::Stale);
        bench.next(status(503, &[], "down"));
        assert_eq!(bench.get("/a").await.body, "old");
        bench.pass(10);
        bench.next(status(503, &[], "down"));
        assert_eq!(bench.get("/a").await.status, 503);
    });
}

#[test]
fn what_must_be_revalidated_never_stands_in() {
    local(async {
        for strict in ["must-revalidate", "proxy-revalidate", "s-maxage=5", "no-cache"] {
            let bench = Bench::with(
                Config::default(),
                PolicyConfig { stale_if_error_ms: 60_000, stale_while_revalidate_ms: 60_000, ..PolicyConfig::default() },
            );
            let control = format!("max-age=5, stale-if-error=60, {strict}");
            bench.next(reply(&[("cache-control", &control), ("etag", "\"a\"")], "old"));
            bench.get("/a").await;
            bench.pass(6);
            bench.next_fails();
            assert!(bench.raw(get("/a")).await.is_err(), "{strict}");
        }
    });
}

#[test]
fn ranges_are_cut_from_what_is_stored_and_put_together_by_strong_tag() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[("cache-control", "max-age=60")], "0123456789"));
        bench.get("/whole").await;
        let got = bench.send(ask("GET", "/whole", &[("range", "bytes=2-4")])).await;
        assert_eq!((got.status, &*got.body, &got.headers["content-range"]), (206, &b"234"[..], &"bytes 2-4/10".parse().unwrap()));
        assert_eq!(bench.send(ask("GET", "/whole", &[("range", "bytes=10-")])).await.status, 416);
        let part = |range, body: &'static str| {
            status(206, &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-range", range)], body)
        };
        bench.next(part("bytes 0-4/10", "01234"));
        bench.send(ask("GET", "/part", &[("range", "bytes=0-4")])).await;
        assert_eq!(bench.send(ask("GET", "/part", &[("range", "bytes=1-2")])).await.body, "12");
        bench.next(part("bytes 4-9/10", "456789"));
        bench.send(ask("GET", "/part", &[("range", "bytes=4-9")])).await;
        let fetched = bench.fetches();
        let got = bench.get("/part").await;
        assert_eq!((got.status, &*got.body, got.outcome), (200, &b"0123456789"[..], Outcome::Hit));
        assert_eq!(bench.fetches(), fetched);
    });
}

#[test]
fn a_part_whose_length_is_a_lie_is_not_stored() {
    local(async {
        let bench = Bench::new();
        for _ in 0..2 {
            bench.next(status(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 4-9/10")], "01234"));
            assert_eq!(bench.send(ask("GET", "/a", &[("range", "bytes=-5")])).await.outcome, Outcome::Miss);
        }
    });
}

#[test]
fn head_is_answered_and_corrects_what_is_stored() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[("cache-control", "max-age=5"), ("etag", "\"a\"")], "body"));
        bench.get("/a").await;
        let got = bench.send(ask("HEAD", "/a", &[])).await;
        assert_eq!((got.outcome, got.body.len(), &got.headers["content-length"]), (Outcome::Hit, 0, &"4".parse().unwrap()));
        bench.pass(6);
        bench.next(reply(&[("cache-control", "max-age=5"), ("etag", "\"a\"")], Body::empty()));
        bench.send(ask("HEAD", "/a", &[])).await;
        assert_eq!(bench.get("/a").await.body, "body", "fresh again");
        bench.pass(6);
        bench.next(reply(&[("cache-control", "max-age=5"), ("etag", "\"b\"")], Body::empty()));
        bench.send(ask("HEAD", "/a", &[])).await;
        assert_eq!(bench.cache.size().0, 0, "it is another one now");
    });
}

#[test]
fn only_if_cached_asks_nobody() {
    local(async {
        let bench = Bench::new();
        let error = bench.raw(ask("GET", "/a", &[("cache-control", "only-if-cached")])).await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("gateway.not_cached", 504));
    });
}

#[test]
fn a_request_with_a_body_or_a_condition_for_the_origin_is_its_own() {
    local(async {
        let bench = Bench::new();
        bench.always(|_| reply(&[("cache-control", "max-age=60")], "a"));
        let with_body = || {
            let mut request = get("/a");
            *request.body_mut() = Body::from("poison");
            request
        };
        bench.send(with_body()).await;
        for request in [with_body(), ask("GET", "/a", &[("if-match", "\"a\"")]), ask("GET", "/a", &[("upgrade", "websocket")])] {
            assert_eq!(bench.send(request).await.outcome, Outcome::Bypass);
        }
        assert_eq!(bench.get("/a").await.outcome, Outcome::Miss);
    });
}
