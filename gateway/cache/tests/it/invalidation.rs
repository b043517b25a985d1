//! After an invalidation nothing of before is given: not from the store, not from what was on its way.

use std::sync::Arc;

use http_cache::{Class, Config, Credentials, Outcome, Policy, PolicyConfig, Scope};
use kernel::TenantId;
use tokio::task::spawn_local;

use crate::bench::{Bench, ask, get, local, reply, settle, status};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn tags_of_the_route_and_of_the_origin() {
    local(async {
        let policy = PolicyConfig { tags: vec!["item:{id}".into()], ..PolicyConfig::default() };
        let bench = Bench::with(Config::default(), policy);
        bench.always(|_| reply(&[FRESH, ("cache-tag", "one, two")], "a"));
        for tag in ["item:7", "one", "two"] {
            let got = bench.get("/a").await;
            assert!(got.outcome == Outcome::Miss && !got.headers.contains_key("cache-tag"));
            assert_eq!(bench.get("/a").await.outcome, Outcome::Hit);
            assert_eq!(bench.cache.invalidate(None, &["item:8", "nothing"]), 0);
            assert_eq!(bench.cache.invalidate(Some(TenantId::new()), &[tag]), 0, "another tenant's");
            assert_eq!(bench.get("/a").await.outcome, Outcome::Hit);
            assert_eq!(bench.cache.invalidate(None, &[tag]), 1);
        }
    });
}

#[test]
fn a_fill_that_began_before_is_not_stored_and_not_shared() {
    local(async {
        let policy = PolicyConfig { tags: vec!["items".into()], ..PolicyConfig::default() };
        let bench = Bench::with(Config::default(), policy);
        let gate = bench.next_later(reply(&[FRESH], "old"));
        let leader = spawn_local({
            let bench = bench.clone();
            async move { bench.get("/a").await }
        });
        settle().await;
        bench.cache.invalidate(None, &["items"]);
        let follower = spawn_local({
            let bench = bench.clone();
            async move { bench.get("/a").await }
        });
        settle().await;
        bench.next(reply(&[FRESH], "new"));
        gate.notify_one();
        assert_eq!(leader.await.unwrap().body, "old", "it was asked for before");
        assert_eq!(follower.await.unwrap().body, "new");
        assert_eq!(bench.get("/a").await.body, "new");
    });
}

#[test]
fn after_everything_is_cleared_nothing_of_before_is_given_or_stored() {
    local(async {
        let bench = Bench::new();
        bench.next(reply(&[FRESH], "old"));
        bench.get("/a").await;
        for tenant in [None, Some(TenantId::new())] {
            let scope = tenant.map_or(bench.scope.clone(), |tenant| Scope::of(tenant, Class::EVERYBODY, false));
            let bench = Bench { scope, ..bench.clone() };
            let gate = bench.next_later(reply(&[("cache-control", "public, max-age=60")], "old"));
            let filling = spawn_local({
                let bench = bench.clone();
                async move { bench.get("/b").await }
            });
            settle().await;
            bench.cache.clear();
            gate.notify_one();
            filling.await.unwrap();
            for path in ["/a", "/b"] {
                bench.next(reply(&[("cache-control", "public, max-age=60")], "new"));
                assert_eq!(bench.get(path).await.body, "new", "{path}");
                assert_eq!(bench.get(path).await.outcome, Outcome::Hit, "later fills are stored");
            }
        }
    });
}

#[test]
fn answers_that_came_another_way_are_other_answers() {
    local(async {
        let bench = Bench::new();
        let by = |way: &str| {
            let policy = Policy::compile(&PolicyConfig::default()).unwrap().by_way(way);
            Bench { policy: Arc::new(policy), ..bench.clone() }
        };
        let (one, other) = (by("one"), by("other"));
        bench.next(reply(&[FRESH], "1")).next(reply(&[FRESH], "2"));
        assert_eq!((one.get("/a").await.body, other.get("/a").await.body), ("1".into(), "2".into()));
        assert_eq!((one.get("/a").await.body, by("other").get("/a").await.body), ("1".into(), "2".into()));
        // What changes the resource changes it, whichever way it goes.
        bench.next(status(204, &[], ""));
        one.send(ask("DELETE", "/a", &[])).await;
        bench.next(reply(&[FRESH], "3"));
        assert_eq!(other.get("/a").await.body, "3");
    });
}

#[test]
fn many_forgotten_tags_make_nothing_old_come_back() {
    local(async {
        let bench = Bench::new();
        let gate = bench.next_later(reply(&[FRESH, ("cache-tag", "mine")], "old"));
        let leader = spawn_local({
            let bench = bench.clone();
            async move { bench.get("/a").await }
        });
        settle().await;
        bench.cache.invalidate(None, &["mine"]);
        for number in 0..5_000 {
            bench.cache.invalidate(None, &[&format!("other-{number}")]);
        }
        gate.notify_one();
        leader.await.unwrap();
        bench.next(reply(&[FRESH], "new"));
        assert_eq!(bench.get("/a").await.body, "new");
        assert_eq!(bench.get("/a").await.outcome, Outcome::Hit, "later fills are stored");
    });
}

#[test]
fn revoked_rights_leave_nothing_to_stand_in() {
    local(async {
        let policy = PolicyConfig {
            credentials: Credentials::Class,
            stale_if_error_ms: 60_000,
            stale_while_revalidate_ms: 60_000,
            ..PolicyConfig::default()
        };
        let mut bench = Bench::with(Config::default(), policy);
        let (tenant, class) = (TenantId::new(), Class::of(&[b"admin"]));
        bench.scope = Scope::of(tenant, class, false);
        bench.next(reply(&[FRESH], "secret"));
        bench.get("/a").await;
        assert_eq!(bench.cache.invalidate_scope(Some(tenant), &Class::of(&[b"other"])), 0);
        assert_eq!(bench.cache.invalidate_scope(Some(tenant), &class), 1);
        bench.next_fails();
        assert!(bench.raw(get("/a")).await.is_err());
        // And not while the origin was being asked about it.
        bench.next(reply(&[("cache-control", "max-age=1"), ("etag", "\"a\"")], "secret"));
        bench.get("/b").await;
        bench.pass(62);
        let gate = bench.next_later(status(304, &[("etag", "\"a\"")], ""));
        let asking = spawn_local({
            let bench = bench.clone();
            async move { bench.get("/b").await }
        });
        settle().await;
        assert_eq!(bench.cache.invalidate_scope(Some(tenant), &class), 1);
        bench.next(status(403, &[], "no longer"));
        gate.notify_one();
        assert_eq!(asking.await.unwrap().status, 403);
    });
}

#[test]
fn what_changes_something_invalidates_its_uri_in_every_class_of_the_tenant() {
    local(async {
        let policy = PolicyConfig { credentials: Credentials::Class, ..PolicyConfig::default() };
        let bench = Bench::with(Config::default(), policy);
        let (one, other) = (TenantId::new(), TenantId::new());
        let as_caller = |tenant, class: &[u8]| {
            let mut bench = bench.clone();
            bench.scope = Scope::of(tenant, Class::of(&[class]), false);
            bench
        };
        bench.always(|request| match request.method().as_str() {
            "GET" => reply(&[FRESH], "a"),
            "PUT" => status(500, &[], "failed"),
            _ => status(201, &[("location", "/list/9"), ("content-location", "http://api.example/list?x")], "done"),
        });
        let (admin, staff, foreign) = (as_caller(one, b"admin"), as_caller(one, b"staff"), as_caller(other, b"admin"));
        let paths = ["/list", "/list/9", "/list?x", "/list/10"];
        for caller in [&admin, &staff, &foreign] {
            for path in paths {
                caller.get(path).await;
            }
        }
        admin.send(ask("PUT", "/list/10", &[])).await;
        admin.send(ask("POST", "/list", &[])).await;
        for (path, expected) in paths.into_iter().zip([Outcome::Miss, Outcome::Miss, Outcome::Miss, Outcome::Hit]) {
            assert_eq!(staff.get(path).await.outcome, expected, "{path}");
            assert_eq!(foreign.get(path).await.outcome, Outcome::Hit, "{path} of another tenant");
        }
    });
}

#[test]
fn another_origin_named_by_an_answer_is_left_alone() {
    local(async {
        let bench = Bench::new();
        bench.always(|request| match request.method().as_str() {
            "GET" => reply(&[FRESH], "a"),
            _ => status(200, &[("location", "http://other.example/a"), ("content-location", "//other.example/a")], ""),
        });
        bench.get("/a").await;
        bench.send(ask("DELETE", "/b", &[])).await;
        assert_eq!(bench.get("/a").await.outcome, Outcome::Hit);
    });
}
