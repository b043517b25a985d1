//! What a real etcd does not do on demand: a watch whose revision is gone, one that falls silent, one
//! that comes byte by byte, and nonsense.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use discovery::{Config, Etcd};
use fixtures::eventually;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{becomes, short, start};

/// What a watch says, and whether it then stays open.
#[derive(Clone)]
struct Watch {
    says: String,
    stays: bool,
}

struct Play {
    /// One answer for each time that all is read; the last for ever.
    reads: Mutex<Vec<String>>,
    watches: Mutex<Vec<Watch>>,
    watched: AtomicUsize,
    asked_from: Mutex<Vec<String>>,
}

fn read(revision: u32, servers: &[&str]) -> String {
    let pair = |url: &&str| json!({ "key": STANDARD.encode(url), "value": STANDARD.encode(url) });
    let kvs: Vec<Value> = servers.iter().map(pair).collect();
    json!({ "header": { "revision": revision.to_string() }, "kvs": kvs }).to_string()
}

fn event(url: &str) -> String {
    let pair = json!({ "key": STANDARD.encode(url), "value": STANDARD.encode(url) });
    format!("{}\n", json!({ "result": { "header": { "revision": "9" }, "events": [{ "kv": pair }] } }))
}

fn next<T: Clone>(list: &Mutex<Vec<T>>) -> T {
    let mut list = list.lock().expect("not poisoned");
    if list.len() > 1 { list.remove(0) } else { list[0].clone() }
}

async fn play(reads: Vec<String>, watches: Vec<Watch>) -> (SocketAddr, Arc<Play>) {
    let (reads, watches) = (Mutex::new(reads), Mutex::new(watches));
    let play = Arc::new(Play { reads, watches, watched: AtomicUsize::new(0), asked_from: Mutex::default() });
    let router = Router::new()
        .route("/v3/kv/range", post(|State(play): State<Arc<Play>>| async move { next(&play.reads) }))
        .route("/v3/watch", post(watch))
        .with_state(play.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, play)
}

async fn watch(State(play): State<Arc<Play>>, body: Bytes) -> Body {
    play.watched.fetch_add(1, Ordering::SeqCst);
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    let from = asked["create_request"]["start_revision"].as_str().expect("a revision").to_owned();
    play.asked_from.lock().expect("not poisoned").push(from);
    let Watch { says, stays } = next(&play.watches);
    let bytes = says.into_bytes();
    Body::from_stream(futures_util::stream::unfold(0, move |place| {
        let byte = bytes.get(place).copied();
        async move {
            match byte {
                Some(byte) => {
                    tokio::task::yield_now().await;
                    Some((Ok::<_, Infallible>(Bytes::from(vec![byte])), place + 1))
                }
                None if stays => std::future::pending().await,
                None => None,
            }
        }
    }))
}

fn config(address: SocketAddr) -> Config {
    let addresses = vec![format!("http://{address}")];
    Config::Etcd(Etcd { addresses, prefix: "/items/".into(), resync_ms: 60_000, ..Etcd::default() })
}

fn stays(says: &str) -> Watch {
    Watch { says: says.to_owned(), stays: true }
}

#[tokio::test]
async fn a_watch_from_a_revision_that_is_gone_means_to_read_again() {
    let gone = "{\"result\":{\"created\":true}}\n{\"result\":{\"canceled\":true,\"compact_revision\":\"7\"}}\n";
    let reads = vec![read(4, &["http://one:1"]), read(8, &["http://two:2"])];
    let (address, play) = play(reads, vec![stays(gone), stays("")]).await;
    let guard = start(&config(address));
    becomes(&guard, "two:2*1").await;
    assert_eq!(guard.state().failures, 0, "it is no failure");
    eventually("the second watch", async || play.watched.load(Ordering::SeqCst) == 2).await;
    assert_eq!(*play.asked_from.lock().expect("not poisoned"), ["5", "9"], "from what was read on");
}

#[tokio::test]
async fn events_may_come_byte_by_byte() {
    let events = format!("{}{}", event("http://two:2"), event("http://three:3"));
    let (address, _) = play(vec![read(1, &["http://one:1"])], vec![stays(&events)]).await;
    let guard = start(&config(address));
    becomes(&guard, "one:1*1 three:3*1 two:2*1").await;
}

#[tokio::test]
async fn a_silent_watch_is_not_believed_for_ever() {
    let reads = vec![read(1, &["http://one:1"]), read(2, &["http://two:2"])];
    let (address, _) = play(reads, vec![stays("")]).await;
    let Config::Etcd(etcd) = config(address) else { panic!("etcd") };
    let guard = start(&Config::Etcd(Etcd { resync_ms: 50, ..etcd }));
    becomes(&guard, "two:2*1").await;
    assert_eq!(guard.state().failures, 0);
}

#[tokio::test]
async fn a_watch_that_ends_or_talks_nonsense_begins_again() {
    let ends = Watch { says: String::new(), stays: false };
    let half = Watch { says: event("http://two:2")[..20].to_owned(), stays: false };
    let watches = vec![ends, half, stays("nonsense\n"), stays("{\"error\":{\"code\":14}}\n"), stays("")];
    let (address, play) = play(vec![read(1, &["http://one:1"])], watches).await;
    let guard = start(&config(address));
    eventually("five watches", async || play.watched.load(Ordering::SeqCst) == 5).await;
    assert_eq!(short(&guard.endpoints()), "one:1*1");
    assert!(guard.state().failures >= 4);
}

#[tokio::test]
async fn nonsense_is_no_list() {
    let nonsense = ["", "[]", "{}", r#"{"header":{"revision":"x"}}"#, r#"{"header":{"revision":"1"},"kvs":{}}"#];
    let mut reads: Vec<String> = nonsense.map(str::to_owned).into();
    reads.push(read(1, &["http://one:1"]));
    let (address, _) = play(reads, vec![stays("")]).await;
    let guard = start(&config(address));
    becomes(&guard, "one:1*1").await;
    assert!(guard.state().failures >= 4, "an object without a list says that there is nobody");
}
