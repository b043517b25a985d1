//! TLS towards clients, over real sockets with a client of rustls: both versions of HTTP, certificates of
//! clients, certificates that change, and what leaves hyper. Not for TLS towards upstreams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use gateway::{Tls, TlsConfig};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_tungstenite::tungstenite::Message;

use crate::front::{Front, Origin, Setting};
use crate::tls_client::{Authority, Client};

const LIMIT: Duration = Duration::from_secs(20);

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
[[routes]]
path = "/echo"
methods = ["GET"]
upstream = "origin"
access = "public"
[upstreams.special]
servers = ["http://SPECIAL"]
[[routes]]
path = "/events"
methods = ["GET"]
upstream = "special"
access = "public"
live = true
[[routes]]
path = "/socket"
methods = ["GET"]
upstream = "special"
access = "public"
websocket = true
"#;

/// What a test sends down an event stream; closed when the stream is gone.
type Feed = mpsc::Sender<Result<&'static str, std::io::Error>>;

/// A front door with TLS.
pub struct House {
    pub front: Front,
    tls: Tls,
    feeds: mpsc::UnboundedReceiver<Feed>,
}

async fn echo_socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

async fn special() -> (SocketAddr, mpsc::UnboundedReceiver<Feed>) {
    let (sender, feeds) = mpsc::unbounded_channel();
    let events = move || async move {
        let (feed, frames) = mpsc::channel(1);
        let _ = sender.send(feed);
        let frames = futures_util::stream::unfold(frames, |mut frames| async { Some((frames.recv().await?, frames)) });
        Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(frames)).expect("a head")
    };
    let router = Router::new().route("/events", get(events)).route("/socket", get(echo_socket));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, feeds)
}

impl House {
    pub async fn open(config: &TlsConfig, setting: Setting) -> Self {
        let origin = Origin::default();
        let ((special, feeds), at) = (special().await, origin.start().await);
        let declared = DECLARED.replace("ORIGIN", &at.to_string()).replace("SPECIAL", &special.to_string());
        let tls = Tls::read(config).expect("sound files");
        let mut front = Front::before(&declared, Setting { tls: Some(tls.clone()), ..setting });
        front.origin = origin;
        Self { front, tls, feeds }
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

#[tokio::test]
async fn each_version_of_both_protocols_is_spoken_and_the_origin_learns_of_it() {
    let authority = Authority::new();
    let config = TlsConfig { hsts_seconds: 600, ..authority.server() };
    let house = House::open(&config, Setting::default()).await;
    for version in [&TLS12, &TLS13] {
        for (offers, via) in [(&["h2", "http/1.1"][..], "2 portico"), (&["http/1.1"], "1.1 portico"), (&[], "1.1 portico")] {
            let mut client = authority.client_of(&[version], offers, None).open(house.front.address).await.expect("TLS");
            let answer = client.send("/echo").await.expect("an answer");
            assert_eq!(answer.headers()["strict-transport-security"], "max-age=600");
            let told = client.json("/echo").await.expect("an answer");
            assert_eq!(told["headers"]["x-forwarded-proto"], "https", "{told}");
            assert_eq!(told["headers"]["via"], via, "{version:?} {offers:?}");
        }
    }
    let other = authority.client(&["spdy/3"], None).connect(house.front.address).await;
    assert!(other.is_err(), "a protocol that is not spoken (RFC 7301, section 3.2)");
    house.front.stop().await;
}

/// Says whether a client gets an answer; TLS 1.3 tells a client late that it was refused.
pub async fn is_answered(client: &Client, to: SocketAddr) -> bool {
    match client.open(to).await {
        Ok(mut connection) => connection.json("/echo").await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_client_must_show_the_right_certificate_where_one_is_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let config = TlsConfig { client_ca: authority.file("ca.pem"), ..authority.server() };
    let house = House::open(&config, Setting::default()).await;
    for version in [&TLS12, &TLS13] {
        for offers in [["h2"], ["http/1.1"]] {
            let of = |shows| authority.client_of(&[version], &offers, shows);
            assert!(is_answered(&of(Some(authority.sign())), house.front.address).await);
            assert!(!is_answered(&of(Some(stranger.sign())), house.front.address).await, "signed by another");
            assert!(!is_answered(&of(None), house.front.address).await, "none at all");
        }
    }
    assert_eq!(house.front.origin.asked().len(), 4, "of the others nothing reached the origin");
    house.front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load_and_nobody_notices() {
    let authority = Arc::new(Authority::new());
    let house = House::open(&authority.server(), Setting::default()).await;
    let (done, asked, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::default());
    let (mut load, at) = (JoinSet::new(), house.front.address);
    for number in 0..6 {
        let client = authority.client(&[["http/1.1", "h2"][number % 2]], None);
        let (done, asked, failed): (_, _, Arc<std::sync::Mutex<Vec<String>>>) =
            (done.clone(), asked.clone(), Arc::clone(&failed));
        load.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let result = async {
                    let mut connection = client.open(at).await.map_err(|error| format!("{error:?}"))?;
                    // Some keep a connection over several changes, others make new ones.
                    for _ in 0..if number < 2 { 400 } else { 3 } {
                        connection.json("/echo").await.map_err(|error| format!("{error:?}"))?;
                        asked.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok::<_, String>(())
                };
                if let Err(error) = result.await {
                    failed.lock().expect("not poisoned").push(error);
                }
            }
        });
    }
    let shown = async || {
        let stream = authority.client(&[], None).connect(at).await.expect("TLS");
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
    };
    for _ in 0..6 {
        let enough = asked.load(Ordering::SeqCst) + 60;
        fixtures::eventually("the load goes on", async || asked.load(Ordering::SeqCst) >= enough).await;
        let renewed = authority.renew();
        assert!(house.tls.renew(false).expect("sound files"), "the change is seen");
        assert_eq!(shown().await, renewed);
        assert!(!house.tls.renew(false).expect("nothing new"));
        // Half of a change, and nonsense: the old ones stay, and it is said why.
        let (certificate, _) = authority.sign();
        authority.write("server.pem", &crate::tls_client::pem("CERTIFICATE", &certificate));
        let error = house.tls.renew(false).expect_err("not the key of this certificate");
        assert!(error.message().contains("server.key") && error.message().contains("not the key"), "{error}");
        authority.write("server.pem", "nonsense");
        let error = house.tls.renew(true).expect_err("no certificate");
        assert!(error.message().contains("server.tls.certificate") && error.message().contains("server.pem"), "{error}");
        assert_eq!(shown().await, renewed);
    }
    done.store(true, Ordering::SeqCst);
    while load.join_next().await.is_some() {}
    let failed = std::mem::take(&mut *failed.lock().expect("not poisoned"));
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), asked.load(Ordering::SeqCst), &failed[..failed.len().min(3)]);
    house.front.stop().await;
}

#[tokio::test]
async fn event_streams_flow_over_tls_and_end_with_their_client() {
    let authority = Authority::new();
    let mut house = House::open(&authority.server(), Setting::default()).await;
    for offers in [["http/1.1"], ["h2"]] {
        let mut client = authority.client(&offers, None).open(house.front.address).await.expect("TLS");
        let mut answer = within(client.send("/events")).await.expect("a head");
        let feed = within(house.feeds.recv()).await.expect("a stream");
        for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
            feed.send(Ok(event)).await.expect("it is there");
            let frame = within(answer.frame()).await.expect("more").expect("a frame").into_data().expect("data");
            assert_eq!(frame, event, "as it comes");
        }
        // More than sockets and sessions keep, to a client that does not read for a while.
        const BIG: &str = "data: 0123456789012345678901234567890123456789012345678901234567890123456789\n\n";
        let feeding = tokio::spawn({
            let feed = feed.clone();
            async move {
                for _ in 0..20_000 {
                    feed.send(Ok(BIG)).await.expect("it is there");
                }
            }
        });
        let mut read = 0;
        while read < 20_000 * BIG.len() {
            read += within(answer.frame()).await.expect("more").expect("a frame").into_data().expect("data").len();
        }
        feeding.await.expect("all was sent");
        drop((answer, client));
        within(feed.closed()).await;
    }
    house.front.stop().await;
}

#[tokio::test]
async fn a_socket_works_over_tls() {
    let authority = Authority::new();
    let house = House::open(&authority.server(), Setting::default()).await;
    let stream = authority.client(&["http/1.1"], None).connect(house.front.address).await.expect("TLS");
    let opened = tokio_tungstenite::client_async("wss://localhost/socket", stream);
    let (mut socket, _) = within(opened).await.expect("a socket");
    for size in [1, 1_000, 300_000] {
        let message = Message::binary(vec![b'm'; size]);
        within(socket.send(message.clone())).await.expect("sent");
        assert_eq!(within(socket.next()).await.expect("more").expect("a message"), message);
    }
    within(socket.close(None)).await.expect("closed");
    house.front.stop().await;
}
