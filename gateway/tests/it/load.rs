//! Clients that ask without a pause and write down what was not answered well. For `zero_drop`.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

/// So many speak HTTP/1.1, and so many HTTP/2.
pub const ONE: usize = 12;
pub const TWO: usize = 4;

/// A request that was not answered well.
#[derive(Debug)]
pub struct Failed {
    pub id: String,
    pub what: String,
    pub from: Instant,
    pub to: Instant,
}

/// Gives the token of the next request.
pub type Token = Arc<dyn Fn() -> String + Send + Sync>;

/// Clients that ask without a pause.
pub struct Load {
    done: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<Failed>>>,
    clients: JoinHandle<()>,
}

/// Says whether the server told that it did nothing with a request: GOAWAY named a stream before as its last (RFC
/// 9113, sections 6.8 and 8.7). A client may send such a request again, and must if it wants to lose nothing: its
/// answer to the server's PING can overtake a request that waits in it.
fn was_not_acted_on(error: &hyper_util::client::legacy::Error) -> bool {
    let cause = error.source().and_then(|error| error.source()?.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_go_away() && cause.is_remote())
}

/// Runs these on a thread of their own.
///
/// On several, hyper's client (1.12) may lose a request over HTTP/2: it asks, when it has sent it, whether the
/// connection takes another, and if GOAWAY has come in between it resets the stream, which would be answered.
fn on_one_thread(clients: Vec<impl Future<Output = ()> + Send + 'static>) -> JoinHandle<()> {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { drop(clients.into_iter().collect::<JoinSet<()>>().join_all().await) });
    })
}

impl Load {
    /// Starts clients that keep their connections; every third request of theirs has a body.
    pub fn start(at: SocketAddr, path: &'static str, token: Token) -> Self {
        Self::of(0..ONE + TWO, at, path, token)
    }

    /// Starts the clients of these numbers; those from `ONE` on speak HTTP/2.
    pub fn of(numbers: std::ops::Range<usize>, at: SocketAddr, path: &'static str, token: Token) -> Self {
        let (done, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let failed = Arc::<Mutex<Vec<Failed>>>::default();
        let mut clients = Vec::new();
        for number in numbers {
            let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new())
                .http2_only(number >= ONE)
                // What it never sent it sends again, as every client of HTTP/2 does.
                .retry_canceled_requests(number >= ONE)
                .build_http();
            let (done, asked, failed, token) = (done.clone(), asked.clone(), failed.clone(), token.clone());
            clients.push(async move {
                for turn in 0.. {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    let id = format!("{number}-{turn}");
                    let (method, body) = if turn % 3 == 2 { ("POST", "some of it") } else { ("GET", "") };
                    let answer = format!("{id} {}", body.len());
                    let from = Instant::now();
                    let answered = loop {
                        let request = Request::builder()
                            .method(method)
                            .uri(format!("http://{at}{path}"))
                            .header("x-probe", &id)
                            .header("authorization", format!("Bearer {}", token()))
                            .body(Body::from(body))
                            .expect("a request");
                        match client.request(request).await {
                            Err(error) if was_not_acted_on(&error) => {}
                            answered => break answered,
                        }
                    };
                    let what = match answered {
                        Err(error) => format!("{method}: {error:?}"),
                        Ok(response) => {
                            let status = response.status();
                            match response.into_body().collect().await.map(|told| told.to_bytes()) {
                                // The origin says whose request it answers, and how much of it there was.
                                Ok(told) if status == StatusCode::OK && told == answer => String::new(),
                                Ok(body) => format!("{method}: {status} {}", String::from_utf8_lossy(&body)),
                                Err(error) => format!("{method}: {status}, then {error:?}"),
                            }
                        }
                    };
                    asked.fetch_add(1, Ordering::SeqCst);
                    if !what.is_empty() {
                        let failure = Failed { id, what, from, to: Instant::now() };
                        failed.lock().expect("not poisoned").push(failure);
                    }
                }
            });
        }
        Self { done, asked, failed, clients: on_one_thread(clients) }
    }

    /// Waits until so many more were answered.
    pub async fn runs(&self, more: usize) {
        let enough = self.asked.load(Ordering::SeqCst) + more;
        fixtures::eventually("the load goes on", async || self.asked.load(Ordering::SeqCst) >= enough).await;
    }

    /// Ends the load, and returns how many were asked and those that failed.
    pub async fn end(self) -> (usize, Vec<Failed>) {
        self.done.store(true, Ordering::SeqCst);
        let ended = tokio::task::spawn_blocking(|| self.clients.join()).await;
        ended.expect("a thread").expect("the clients");
        (self.asked.load(Ordering::SeqCst), std::mem::take(&mut *self.failed.lock().expect("not poisoned")))
    }
}
