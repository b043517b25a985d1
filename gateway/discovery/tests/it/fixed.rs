//! Servers that are written down, and what the guard says of any source.

use std::sync::{Arc, Mutex};

use discovery::{Config, Discovery, Endpoint, Static};
use tokio::runtime::Handle;

use crate::support::short;

#[tokio::test]
async fn a_static_list_is_there_at_once() {
    let endpoint = |url: &str, weight| Endpoint { url: url.into(), weight };
    let endpoints = vec![endpoint("http://b:1", 2), endpoint("http://a:1/", 0)];
    let config = Config::Static(Static { endpoints });
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = heard.clone();
    let guard = Discovery::start("items", &config, &Handle::current(), move |list| {
        told.lock().expect("not poisoned").push(short(&list));
    })
    .expect("started");
    assert_eq!(*heard.lock().expect("not poisoned"), ["a:1*1 b:1*2"]);
    assert_eq!(short(&guard.endpoints()), "a:1*1 b:1*2");
    let state = guard.state();
    assert_eq!((&*state.name, state.kind, state.endpoints, state.failing), ("items", "static", 2, None));
    let wrong = Config::Static(Static { endpoints: vec![endpoint("b", 1)] });
    assert!(Discovery::start("items", &wrong, &Handle::current(), |_| {}).is_err());
}
