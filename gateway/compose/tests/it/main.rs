//! Compositions over parts that answer as they are told; one file per concern, found by itself.

automod::dir!("tests/it");

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::body::Body;
use compose::{Answer, Config, Inputs, PartRequest, Recipe};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use http::Response;
use kernel::Error;
use serde_json::{Value, json};

/// What a part does when it is asked.
#[derive(Clone)]
enum Does {
    /// It answers.
    Says(u16, Value),
    /// It answers this text.
    Text(&'static str),
    /// The door refuses.
    Refused,
    /// It never answers.
    Hangs,
}

/// Parts by the path that they are asked at.
#[derive(Clone, Default)]
struct Parts {
    does: BTreeMap<&'static str, Does>,
    asked: Rc<RefCell<Vec<String>>>,
    cancelled: Rc<RefCell<Vec<String>>>,
    /// How many are under way, and how many were at most.
    under_way: Rc<Cell<(usize, usize)>>,
}

/// Notes that a part's future was dropped before its end, and how many there are.
struct Watch {
    path: String,
    parts: Parts,
    ended: bool,
}

impl Watch {
    fn begin(path: &str, parts: &Parts) -> Self {
        let (now, most) = parts.under_way.get();
        parts.under_way.set((now + 1, most.max(now + 1)));
        Self { path: path.to_owned(), parts: parts.clone(), ended: false }
    }

    fn end(&mut self) {
        self.ended = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let (now, most) = self.parts.under_way.get();
        self.parts.under_way.set((now - 1, most));
        if !self.ended {
            self.parts.cancelled.borrow_mut().push(self.path.clone());
        }
    }
}

impl Parts {
    fn new(does: impl IntoIterator<Item = (&'static str, Does)>) -> Self {
        Self { does: does.into_iter().collect(), ..Self::default() }
    }

    fn call(&self, request: PartRequest) -> LocalBoxFuture<'static, kernel::Result<Response<Body>>> {
        self.asked.borrow_mut().push(request.target.clone());
        let does =
            self.does.get(request.target.as_str()).cloned().unwrap_or(Does::Says(404, json!({ "detail": "none" })));
        let mut watch = Watch::begin(&request.target, self);
        async move {
            // So that parts really are under way beside each other.
            tokio::task::yield_now().await;
            let answer = match does {
                Does::Hangs => std::future::pending().await,
                Does::Refused => Err(Error::forbidden("request.forbidden", "no")),
                Does::Text(text) => Ok(Response::new(Body::from(text))),
                Does::Says(status, value) => {
                    let mut response = Response::new(Body::from(value.to_string()));
                    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
                    Ok(response)
                }
            };
            watch.end();
            answer
        }
        .boxed_local()
    }

    async fn run(&self, recipe: &Recipe, inputs: &Inputs) -> Answer {
        compose::run(recipe, inputs, Instant::now() + Duration::from_secs(60), |request| self.call(request)).await
    }
}

fn recipe(config: Value) -> Recipe {
    let config: Config = serde_json::from_value(config).expect("a composition");
    Recipe::compile("test", &config).expect("sound")
}

async fn body(answer: Answer) -> (Option<String>, Value) {
    let response = answer.into_response().expect("an answer");
    let degraded = response.headers().get("portico-degraded").map(|value| value.to_str().expect("text").to_owned());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (degraded, serde_json::from_slice(&bytes).expect("JSON"))
}
