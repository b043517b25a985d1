//! What a new configuration keeps and what it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use upstream::{Client, Config, Server, ServerConfig, Upstreams};

use crate::support::{answer, call, environment, get, origin, run, text};

fn configs(pairs: &[(&str, &Config)]) -> BTreeMap<String, Config> {
    pairs.iter().map(|(name, config)| ((*name).to_owned(), (*config).clone())).collect()
}

#[test]
fn an_unchanged_upstream_is_the_same_one() {
    run(async {
        let (one, other) =
            (origin(|_| async { answer(200, "one") }).await, origin(|_| async { answer(200, "other") }).await);
        let environment = environment();
        let with = |url: String| Config { servers: vec![ServerConfig::Url(url)], ..Config::default() };
        let first = Upstreams::build(&configs(&[("a", &with(one.url())), ("b", &with(one.url()))]), None, &environment);
        let first = first.expect("upstreams");
        let client = Client::new(1);
        let ask = async |upstreams: &Upstreams, name: &str| {
            text(client.send(upstreams.get(name).expect("it"), get("/"), &call()).await.expect("an answer")).await
        };
        assert_eq!(ask(&first, "a").await, "one");
        // Discovery moved `b`; the configuration names what it named before.
        let moved = Server::parse(&other.url(), 1).expect("a server");
        first.get("b").expect("it").set_servers(vec![moved]).expect("servers");

        let mut strict = with(one.url());
        strict.timeouts.first_byte_ms = 5;
        let next = configs(&[("a", &with(other.url())), ("b", &with(one.url())), ("c", &strict)]);
        let second = Upstreams::build(&next, Some(&first), &environment).expect("upstreams");
        for name in ["a", "b"] {
            assert!(Arc::ptr_eq(first.get(name).expect("it"), second.get(name).expect("it")));
        }
        assert_eq!(ask(&second, "a").await, "other", "its servers changed");
        assert_eq!(ask(&second, "b").await, "other", "discovery's word stands");

        let third = Upstreams::build(&configs(&[("a", &strict)]), Some(&second), &environment).expect("upstreams");
        assert!(!Arc::ptr_eq(second.get("a").expect("it"), third.get("a").expect("it")));
        assert_eq!(third.iter().count(), 1);
    });
}

#[test]
fn one_wrong_upstream_changes_nothing() {
    run(async {
        let environment = environment();
        let with = |url: &str| Config { servers: vec![ServerConfig::Url(url.into())], ..Config::default() };
        let first = Upstreams::build(&configs(&[("a", &with("http://a:1"))]), None, &environment).expect("upstreams");
        let next = configs(&[("a", &with("http://b:1")), ("z", &with("z:1"))]);
        let error = Upstreams::build(&next, Some(&first), &environment).expect_err("z is wrong");
        assert!(error.to_string().contains("upstream z"), "{error}");
        assert_eq!(first.get("a").expect("it").servers()[0].address, "a:1");
    });
}

#[test]
fn configurations_are_read_and_unknown_keys_refused() {
    let read = |text: &str| serde_json::from_str::<Config>(text);
    let config = read(
        r#"{ "servers": ["http://a:1", { "url": "https://b:2", "weight": 3 }], "balance": "p2c", "protocol": "http1",
             "retry": { "max_attempts": 2 }, "timeouts": { "connect_ms": 100 } }"#,
    )
    .expect("a configuration");
    assert!(config.check().is_ok());
    assert_eq!(config.servers().expect("servers")[1].weight, 3);
    assert_eq!(config.retry.budget_ratio, 0.2);
    for wrong in [
        r#"{ "server": [] }"#,
        r#"{ "servers": [{ "url": "http://a:1", "wait": 3 }] }"#,
        r#"{ "balance": "random" }"#,
        r#"{ "retry": { "attempts": 2 } }"#,
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
