//! Where keys come from, and what happens when they do not come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use fixtures::eventually;
use issuers::Config;
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{Key, Reply, Server, answer, build, build_at, clock, code, config, set};

const UNAVAILABLE: &str = "gateway.issuer_unavailable";

fn from(server: &Server) -> Config {
    Config { jwks_url: server.url("/keys"), refetch_window_ms: 1, ..config() }
}

#[tokio::test]
async fn an_issuer_that_is_away_takes_no_known_key_with_it() {
    let key = Key::p256("known");
    let keys = set([&key]);
    let published = keys.clone();
    let server = Server::start(move |_| Reply::Json(published.clone())).await;
    let issuers = build(&from(&server));
    issuers.check(&key.token()).await.expect("believed");
    let too_long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(600 << 10));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()
        + &format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(9)
        + "0\r\n\r\n";
    let broken: Vec<(&str, String)> = vec![
        ("an error", answer("500 Internal Server Error", "", &keys)),
        ("not found", answer("404 Not Found", "", &keys)),
        ("nothing new", answer("304 Not Modified", "", "")),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".into()),
        ("a page", answer("200 OK", "", "<html>")),
        ("no list", answer("200 OK", "", "{}")),
        ("no key", answer("200 OK", "", r#"{"keys":[]}"#)),
        ("no key that can be used", answer("200 OK", "", r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#)),
        ("two lists", answer("200 OK", "", &keys.replacen('{', r#"{"keys":[],"#, 1))),
        ("too long", answer("200 OK", "", &too_long)),
        ("too long in pieces", chunked),
        ("cut off", format!("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{keys}")),
        ("compressed", answer("200 OK", "content-encoding: gzip\r\n", &keys)),
        ("a redirect to nowhere", answer("302 Found", "", "")),
        ("a redirect to itself", answer("302 Found", "location: /keys\r\n", "")),
        ("no HTTP", "SSH-2.0-x\r\n".into()),
        ("nothing", String::new()),
        ("an endless head", format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20))),
    ];
    let stranger = Key::ed("stranger");
    for (what, reply) in broken {
        server.say(move |_| Reply::Raw(reply.clone()));
        assert_eq!(code(&issuers, &stranger.token()).await, UNAVAILABLE, "{what}");
        issuers.check(&key.token()).await.expect(what);
        let state = &issuers.states()[0];
        assert!(state.failing && state.keys == 1, "{what}: {state:?}");
    }
    server.say(move |_| Reply::Json(keys.clone()));
    assert_eq!(code(&issuers, &stranger.token()).await, "gateway.token_invalid", "it is back");
    assert!(!issuers.states()[0].failing);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_not_waited_for() {
    let key = Key::p256("known");
    let keys = set([&key]);
    let server = Server::start(move |_| Reply::Json(keys.clone())).await;
    let issuers = build(&Config { fetch_timeout_ms: 100, unknown_key_wait_ms: 20_000, ..from(&server) });
    issuers.check(&key.token()).await.expect("believed");
    for beginning in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"] {
        server.say(move |_| Reply::Stall(beginning.to_owned()));
        assert_eq!(code(&issuers, &Key::ed("stranger").token()).await, UNAVAILABLE);
        issuers.check(&key.token()).await.expect("the known key");
    }
    let impatient = build(&Config { fetch_timeout_ms: 60_000, unknown_key_wait_ms: 50, ..from(&server) });
    let error = impatient.check(&key.token()).await.expect_err("no keys yet");
    assert_eq!((error.status(), error.code()), (503, "gateway.issuer_key_pending"));
}

#[tokio::test]
async fn an_issuer_that_is_away_at_the_start_is_found_later() {
    let key = Key::p256("known");
    let server = Server::start(|_| Reply::Raw(String::new())).await;
    let issuers = build(&from(&server));
    let error = issuers.check(&key.token()).await.expect_err("no keys");
    assert_eq!((error.status(), error.code()), (503, UNAVAILABLE));
    let keys = set([&key]);
    server.say(move |_| Reply::Json(keys.clone()));
    issuers.check(&key.token()).await.expect("believed");
    let nobody = build(&Config { jwks_url: "http://127.0.0.1:1/keys".into(), ..from(&server) });
    assert_eq!(code(&nobody, &key.token()).await, UNAVAILABLE);
}

#[tokio::test]
async fn keys_that_cannot_be_confirmed_are_believed_for_a_limited_time() {
    let (key, clock) = (Key::p256("known"), clock());
    let keys = set([&key]);
    let published = keys.clone();
    let server = Server::start(move |_| Reply::Json(published.clone())).await;
    let issuers = build_at(&Config { stale_limit_seconds: 3_600, ..from(&server) }, &clock);
    issuers.check(&key.token()).await.expect("believed");
    server.say(|_| Reply::Raw(String::new()));
    clock.shift(3_600_000_000);
    issuers.check(&key.token()).await.expect("for an hour");
    clock.shift(1);
    assert_eq!(code(&issuers, &key.token()).await, UNAVAILABLE);
    server.say(move |_| Reply::Json(keys.clone()));
    issuers.check(&key.token()).await.expect("confirmed");
}

#[tokio::test]
async fn a_token_ends_when_it_says() {
    let (key, clock) = (Key::p256("known"), clock());
    let keys = set([&key]);
    let server = Server::start(move |_| Reply::Json(keys.clone())).await;
    let issuers = build_at(&from(&server), &clock);
    let token = key.token();
    let until = issuers.check(&token).await.expect("believed").until;
    clock.shift(until.0 - clock.now().0 - 1);
    issuers.check(&token).await.expect("still believed");
    clock.shift(1);
    assert_eq!(code(&issuers, &token).await, "gateway.token_expired");
}

#[tokio::test]
async fn redirects_stay_on_the_host() {
    let key = Key::p256("known");
    let keys = set([&key]);
    let elsewhere = keys.clone();
    let other = Server::start(move |_| Reply::Json(elsewhere.clone())).await;
    let server = Server::start(move |path| match path {
        "/keys" => Reply::Raw(answer("307 Temporary Redirect", "location: /v2/keys\r\n", "")),
        _ => Reply::Json(keys.clone()),
    })
    .await;
    build(&from(&server)).check(&key.token()).await.expect("another path");
    for target in [other.url("/keys"), format!("//{}/keys", other.address), "file:///etc/passwd".to_owned()] {
        server.say(move |_| Reply::Raw(answer("302 Found", &format!("location: {target}\r\n"), "")));
        assert_eq!(code(&build(&from(&server)), &key.token()).await, UNAVAILABLE);
    }
    assert_eq!(other.asked(), 0);
}

#[tokio::test]
async fn keys_are_discovered() {
    let key = Key::p256("known");
    let keys = set([&key]);
    let server = Server::start(|_| Reply::Raw(String::new())).await;
    let (issuer, place) = (server.url("/realm"), server.url("/certs"));
    let document = move |issuer: &str, place: &str| json!({ "issuer": issuer, "jwks_uri": place }).to_string();
    let (said, where_to, published) = (issuer.clone(), place.clone(), keys.clone());
    server.say(move |path| match path {
        "/realm/.well-known/openid-configuration" => Reply::Json(document(&said, &where_to)),
        "/certs" => Reply::Json(published.clone()),
        _ => Reply::Raw(answer("404 Not Found", "", "")),
    });
    let config = Config { discover: true, issuer: issuer.clone(), refetch_window_ms: 1, ..config() };
    let issuers = build(&config);
    let token = key.with(&json!({ "iss": issuer }));
    issuers.check(&token).await.expect("believed");
    for (said, place) in [
        (server.url("/other"), place.clone()),
        (issuer.clone(), "ftp://a/".to_owned()),
        (issuer.clone(), "http://keys.example/".to_owned()),
        (issuer.clone(), String::new()),
    ] {
        let published = keys.clone();
        server.say(move |path| match path {
            "/certs" => Reply::Json(published.clone()),
            _ => Reply::Json(document(&said, &place)),
        });
        assert_eq!(code(&build(&config), &token).await, UNAVAILABLE);
    }
}

#[tokio::test]
async fn keys_come_over_tls_from_whom_the_certificate_names() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let encoded = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    let private = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private)
        .expect("they fit");
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let key = Key::p256("known");
    let keys = set([&key]);
    let wrap = move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    };
    let server = Server::start_with(move |_| Reply::Json(keys.clone()), wrap).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authorities.pem");
    std::fs::write(&file, pem).expect("written");
    let port = server.address.port();
    let at = |host: &str| format!("https://{host}:{port}/keys");
    let known = Config { certificate_file: file, jwks_url: at("localhost"), ..from(&server) };
    build(&known).check(&key.token()).await.expect("believed");
    let misnamed = Config { jwks_url: at("127.0.0.1"), ..known.clone() };
    assert_eq!(code(&build(&misnamed), &key.token()).await, UNAVAILABLE);
    let unknown = Config { certificate_file: Default::default(), ..known };
    assert_eq!(code(&build(&unknown), &key.token()).await, UNAVAILABLE);
}

#[tokio::test]
async fn a_file_is_read_at_the_start_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.json");
    let config = Config { jwks_file: file.clone(), refetch_window_ms: 1, ..config() };
    let start = || {
        let clock = clock();
        issuers::Issuers::build(std::slice::from_ref(&config), None, &tokio::runtime::Handle::current(), clock)
    };
    for wrong in [None, Some("{}"), Some(r#"{"keys":[]}"#)] {
        if let Some(text) = wrong {
            std::fs::write(&file, text).expect("written");
        }
        let Err(error) = start() else { panic!("{wrong:?}") };
        assert_eq!(error.code(), "config.invalid");
        assert!(error.message().contains("jwks_file"), "{}", error.message());
    }
    let (first, second) = (Key::p256("first"), Key::p256("second"));
    std::fs::write(&file, set([&first])).expect("written");
    let issuers = start().expect("issuers");
    issuers.check(&first.token()).await.expect("believed");
    std::fs::write(&file, set([&first, &second])).expect("written");
    issuers.check(&second.token()).await.expect("read again");
    std::fs::remove_file(&file).expect("removed");
    issuers.check(&first.token()).await.expect("kept");
}

#[tokio::test]
async fn keys_are_fetched_again_without_being_asked_for() {
    let key = Key::p256("known");
    let keys = set([&key]);
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    let server = Server::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::Json(keys.clone())
    })
    .await;
    let issuers = build(&Config { refresh_seconds: 1, ..from(&server) });
    eventually("three fetches", async || answers.load(Ordering::SeqCst) >= 3).await;
    assert!(issuers.states()[0].fetches >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_goes_away_leaves_its_fetch_to_the_others() {
    let key = Arc::new(Key::p256("new"));
    let old = Key::p256("old");
    let keys = set([&old]);
    let server = Server::start(move |_| Reply::Json(keys.clone())).await;
    let issuers = build(&Config { refetch_window_ms: 3_600_000, unknown_key_wait_ms: 20_000, ..from(&server) });
    issuers.check(&old.token()).await.expect("believed");
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let both = set([&old, &key]);
    server.say(move |_| {
        // Blocks one thread of the test's runtime, which has two.
        let _ = wait.recv();
        Reply::Json(both.clone())
    });
    let (first, token) = (issuers.clone(), key.token());
    let request = tokio::spawn(async move { first.check(&token).await.map(drop) });
    eventually("the fetch", async || server.asked() == 2).await;
    request.abort();
    assert!(request.await.expect_err("aborted").is_cancelled());
    go.send(()).expect("the server waits");
    issuers.check(&key.token()).await.expect("the fetch went on");
    assert_eq!(server.asked(), 2);
}
