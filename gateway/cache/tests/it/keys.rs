//! No two different callers or requests share an answer, and nothing that is not keyed reaches the origin.

use std::collections::HashMap;

use http_cache::{Class, Config, Credentials, Outcome, PolicyConfig, Scope};
use kernel::TenantId;

use crate::bench::{Bench, ask, local, reply};

/// A small generator, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

#[test]
fn no_two_different_requests_share_an_entry() {
    local(async {
        let policy = PolicyConfig { credentials: Credentials::Class, cache_status: false, ..PolicyConfig::default() };
        let bench = Bench::with(Config::default(), policy);
        // The origin says exactly what it was asked; the scope is told to it by a header that it keys by nothing.
        bench.always(|request| {
            let header = |name| request.headers().get(name).map_or("-".into(), |value| format!("{value:?}"));
            let text = format!("{} {} {}", header("host"), request.uri(), header("accept"));
            reply(&[("cache-control", "max-age=3600"), ("vary", "accept")], text)
        });
        let tenants: Vec<Option<TenantId>> = vec![None, Some(TenantId::new()), Some(TenantId::new())];
        let classes = [Class::EVERYBODY, Class::of(&[b"a"]), Class::of(&[b"b"]), Class::of(&[b"a", b"b"]), Class::of(&[b"ab"])];
        let hosts = ["a.example", "b.example", "a.example:8080", "A.EXAMPLE", "a.exampl"];
        let targets = [
            "/", "/?", "/a", "/a?", "/a?b", "/a?b=c", "/a/?b", "/a/b", "/a%2fb", "/a%2Fb", "/%61", "/a?b&c", "/a?c&b",
            "/a?b%26c", "//a", "/a//b", "/e/a", "/a;b",
        ];
        let accepts: [&[(&str, &str)]; 6] = [
            &[],
            &[("accept", "")],
            &[("accept", "x")],
            &[("accept", "y")],
            &[("accept", "x,y")],
            &[("accept", "x"), ("accept", "y")],
        ];
        let mut numbers = Numbers(0x5eed);
        // Which scope fetched each answer first: nobody of another scope may hit it.
        let mut owners: HashMap<(Option<TenantId>, Class, bool, String), usize> = HashMap::new();
        let mut bench = bench;
        for _ in 0..20_000 {
            let (tenant, class, secure) = (numbers.pick(&tenants), numbers.pick(&classes), numbers.below(2) == 0);
            let (host, target, accept) = (numbers.pick(&hosts), numbers.pick(&targets), numbers.pick(&accepts));
            bench.scope = Scope { tenant, class, credentials: tenant.is_some(), secure };
            let mut request = ask("GET", target, accept);
            request.headers_mut().insert("host", host.parse().unwrap());
            // What the origin would say to this very request, with what RFC 3986 and 9110 hold to be the same made equal.
            let same_host = host.to_ascii_lowercase();
            let same_target = if target == "/%61" { "/a".to_owned() } else { target.replace("%2f", "%2F") };
            let same_accept = if accept.len() == 2 { "x,y".to_owned() } else { accept.first().map_or("none".into(), |(_, v)| format!("={v}")) };
            let same_accept = same_accept.trim_start_matches('=').to_owned() + if accept.is_empty() { "!" } else { "" };
            let identity = (tenant, class, secure, format!("{same_host} {same_target} {same_accept}"));
            let fetched = bench.fetches();
            let got = bench.send(request).await;
            match owners.insert(identity.clone(), 1) {
                None => assert_eq!(bench.fetches(), fetched + 1, "{identity:?} got somebody else's {got:?}"),
                Some(_) => assert_eq!(got.outcome, Outcome::Hit, "{identity:?}"),
            }
        }
        assert_eq!(bench.fetches(), owners.len());
    });
}

#[test]
fn a_follower_never_gets_another_principal_s_answer() {
    local(async {
        let policy = PolicyConfig { credentials: Credentials::Class, ..PolicyConfig::default() };
        let bench = Bench::with(Config::default(), policy);
        let (one, other) = (TenantId::new(), TenantId::new());
        let mut tasks = Vec::new();
        for index in 0..200 {
            let mut bench = bench.clone();
            let tenant = if index % 2 == 0 { one } else { other };
            bench.scope = Scope::of(tenant, Class::of(&[&[(index % 4) as u8]]), false);
            let own = format!("{:?}", bench.scope);
            tasks.push(tokio::task::spawn_local(async move {
                // Each caller's fetch knows whose it is.
                let origin = own.clone();
                let route = http_cache::Route { policy: &bench.policy, scope: &bench.scope, parameter: &|_| None };
                let fetch = move |_| {
                    let text = origin.clone();
                    async move {
                        tokio::task::yield_now().await;
                        Ok(reply(&[("cache-control", "max-age=60")], text))
                    }
                };
                let response = bench.cache.answer(&route, crate::bench::get("/me"), fetch).await.unwrap();
                let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
                assert_eq!(body, own);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn an_unkeyed_header_never_reaches_the_origin() {
    local(async {
        let config = PolicyConfig { ignore_query: vec!["utm_*".into()], ..PolicyConfig::default() };
        let bench = Bench::with(Config::default(), config);
        bench.always(|request| reply(&[("cache-control", "max-age=60")], format!("{} {:?}", request.uri(), request.headers())));
        let mut numbers = Numbers(7);
        let clean = bench.get("/clean?a=1").await.body;
        for round in 0..500 {
            let name = format!("x-{}", ["forwarded-host", "original-url", "rewrite-url", "foo"][numbers.below(4)]);
            let value = format!("evil{}", numbers.below(1_000));
            let path = format!("/clean?a=1&utm_source={round}");
            bench.cache.clear();
            let got = bench.send(ask("GET", &path, &[(&name, &value), ("cookie", &value)])).await;
            assert_eq!(got.body, clean, "{name}: {value}");
        }
    });
}
