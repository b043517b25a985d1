//! Keys that come and go while requests run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use fixtures::eventually;
use issuers::{Config, Issuers};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::support::{Key, Reply, Server, build, clock, code, config, set};

async fn server(keys: &Arc<RwLock<Vec<Arc<Key>>>>) -> Server {
    let keys = keys.clone();
    Server::start(move |_| Reply::Json(set(keys.read().expect("not poisoned").iter().map(|key| &**key)))).await
}

fn fetching(server: &Server) -> Config {
    Config { jwks_url: server.url("/keys"), ..config() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_under_load_refuse_nobody() {
    const ROTATIONS: usize = 6;
    let keys = Arc::new(RwLock::new(vec![Arc::new(Key::p256("k0"))]));
    let server = server(&keys).await;
    let issuers = build(&Config { refetch_window_ms: 200, unknown_key_wait_ms: 20_000, ..fetching(&server) });
    let (done, checked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let (keys, issuers, done, checked) = (keys.clone(), issuers.clone(), done.clone(), checked.clone());
        load.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                // Signed with the newest key from the moment on at which it is there.
                let key = keys.read().expect("not poisoned").last().cloned().expect("a key");
                issuers.check(&key.token()).await.expect("a good token");
                checked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
    }
    for turn in 1..=ROTATIONS {
        let before = checked.load(Ordering::SeqCst);
        eventually("the load runs", async || checked.load(Ordering::SeqCst) > before + 50).await;
        let mut keys = keys.write().expect("not poisoned");
        keys.push(Arc::new(Key::p256(&format!("k{turn}"))));
        // The one before stays; older ones go.
        if keys.len() > 2 {
            keys.remove(0);
        }
    }
    let before = checked.load(Ordering::SeqCst);
    eventually("the load runs", async || checked.load(Ordering::SeqCst) > before + 50).await;
    done.store(true, Ordering::SeqCst);
    while let Some(ended) = load.join_next().await {
        ended.expect("no token was refused");
    }
    assert!(server.asked() <= 1 + ROTATIONS, "one fetch at the start and one for each new key: {}", server.asked());
    assert_eq!(issuers.states()[0].refused, 0);
}

#[tokio::test]
async fn many_who_miss_the_same_key_cause_one_fetch() {
    let keys = Arc::new(RwLock::new(vec![Arc::new(Key::p256("old"))]));
    let server = server(&keys).await;
    let issuers = build(&fetching(&server));
    eventually("the first fetch", async || issuers.states()[0].keys == 1).await;
    let new = Arc::new(Key::p256("new"));
    keys.write().expect("not poisoned").push(new.clone());
    let token = new.token();
    let mut checks = JoinSet::new();
    for _ in 0..200 {
        let (issuers, token) = (issuers.clone(), token.clone());
        checks.spawn(async move { issuers.check(&token).await.map(drop) });
    }
    while let Some(checked) = checks.join_next().await {
        checked.expect("not cancelled").expect("believed");
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_names_causes_one_fetch_and_harms_nobody() {
    let key = Arc::new(Key::p256("known"));
    let keys = Arc::new(RwLock::new(vec![key.clone()]));
    let server = server(&keys).await;
    let long = Config { refetch_window_ms: 3_600_000, unknown_key_wait_ms: 500, ..fetching(&server) };
    let issuers = build(&long);
    eventually("the first fetch", async || issuers.states()[0].keys == 1).await;
    let mut codes = Vec::new();
    for n in 0..500 {
        let stranger = Key::ed(&format!("stranger-{n}"));
        codes.push(code(&issuers, &stranger.token()).await);
        if n % 50 == 0 {
            issuers.check(&key.token()).await.expect("the known key");
        }
    }
    assert_eq!(server.asked(), 2);
    assert_eq!(codes[0], "gateway.token_invalid", "the issuer was asked for this one");
    assert!(codes[1..].iter().all(|code| *code == "gateway.issuer_key_pending"), "nobody knows about the others");
    let again = issuers.check(&Key::ed("stranger-7").token()).await.expect_err("pending");
    assert_eq!(again.status(), 503);
    assert!(again.retry_after_seconds().is_some_and(|seconds| (3_000..=3_600).contains(&seconds)));
    assert_eq!(code(&issuers, &Key::ed("stranger-0").token()).await, "gateway.token_invalid", "remembered");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_key_that_goes_is_told_to_those_who_remember() {
    let (old, new) = (Arc::new(Key::p256("old")), Arc::new(Key::p256("new")));
    let keys = Arc::new(RwLock::new(vec![old.clone()]));
    let server = server(&keys).await;
    let issuers = build(&Config { refetch_window_ms: 1, ..fetching(&server) });
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = told.clone();
    issuers.on_change(move |issuer| telling.lock().expect("not poisoned").push(issuer.to_owned()));
    issuers.check(&old.token()).await.expect("the only key");
    keys.write().expect("not poisoned").push(new.clone());
    issuers.check(&new.token()).await.expect("one more key");
    assert!(told.lock().expect("not poisoned").is_empty(), "what was checked stays good");
    assert_eq!(issuers.generation(), 0);
    keys.write().expect("not poisoned").remove(0);
    assert_eq!(code(&issuers, &Key::ed("stranger").token()).await, "gateway.token_invalid");
    assert_eq!(*told.lock().expect("not poisoned"), ["login"]);
    assert_eq!(issuers.generation(), 1);
    assert_eq!(code(&issuers, &old.token()).await, "gateway.token_invalid");
    issuers.check(&new.token()).await.expect("the key that stays");
}

#[tokio::test]
async fn issuers_that_are_built_anew_keep_keys_and_listeners() {
    let key = Arc::new(Key::p256("known"));
    let keys = Arc::new(RwLock::new(vec![key.clone()]));
    let server = server(&keys).await;
    let config = Config { refetch_window_ms: 1, ..fetching(&server) };
    let first = build(&config);
    first.check(&key.token()).await.expect("believed");
    let told = Arc::new(AtomicUsize::new(0));
    let telling = told.clone();
    first.on_change(move |_| {
        telling.fetch_add(1, Ordering::SeqCst);
    });
    let narrower = Config { audiences: vec!["app".into()], ..config.clone() };
    let second = Issuers::build(&[narrower], Some(&first), &Handle::current(), clock()).expect("issuers");
    drop(first);
    assert_eq!(code(&second, &key.token()).await, "gateway.token_invalid", "the new rules");
    assert_eq!((second.states()[0].keys, server.asked()), (1, 1), "the old keys");
    keys.write().expect("not poisoned")[0] = Arc::new(Key::p256("next"));
    code(&second, &Key::ed("stranger").token()).await;
    assert_eq!(told.load(Ordering::SeqCst), 1);
    let elsewhere = Config { jwks_url: server.url("/other"), ..config };
    let third = Issuers::build(&[elsewhere], Some(&second), &Handle::current(), clock()).expect("issuers");
    assert_eq!(third.states()[0].keys, 0, "another place has other keys");
    assert!(Issuers::build(&[], Some(&third), &Handle::current(), clock()).expect("none").is_empty());
}
