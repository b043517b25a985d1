//! Runs a composition: begins each part as soon as what it needs is there, gives up what is under way when
//! a required part fails, and ends at the deadline. Not for how a part is called.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{Method, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kernel::Error;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::answer::{Answer, DEGRADED, PartError};
use crate::config::Mode;
use crate::recipe::{Part, Recipe, Values};

/// What a composition is asked with.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl Inputs {
    /// Returns the inputs of a request: the parts of its path that vary, still percent-encoded, and its query.
    pub fn new(path: Vec<(String, String)>, query: Option<&str>) -> Self {
        let decoded = |(name, value): (String, String)| (name, decode(&value));
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => (decode(&name.replace('+', " ")), decode(&value.replace('+', " "))),
            None => (decode(pair), String::new()),
        };
        Self { path: path.into_iter().map(decoded).collect(), query: pairs.map(pair).collect() }
    }

    pub(crate) fn path(&self, name: &str) -> Option<&str> {
        self.path.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// Decodes percent-encoding; what is no text afterwards stays as it was.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = |place: usize| after.get(place).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// What a part asks of a route of this door.
#[derive(Clone, Debug, PartialEq)]
pub struct PartRequest {
    /// The part.
    pub name: String,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The JSON body.
    pub body: Option<Value>,
    /// When it has to be through.
    pub deadline: Instant,
}

/// Runs the composition. `call` walks a request through the door; dropping its future cancels it.
pub async fn run<'a>(
    recipe: &Recipe,
    inputs: &Inputs,
    deadline: Instant,
    call: impl Fn(PartRequest) -> LocalBoxFuture<'a, kernel::Result<Response<Body>>>,
) -> Answer {
    let deadline = deadline.min(Instant::now() + recipe.timeout);
    let mut answer = Answer { parts: BTreeMap::new(), errors: Vec::new(), degraded: Vec::new(), failed: None };
    let mut state =
        State { values: Values::new(), done: vec![false; recipe.parts.len()], begun: vec![false; recipe.parts.len()] };
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < recipe.parallel
            && let Some(place) = state.next(recipe)
        {
            state.begun[place] = true;
            let part = &recipe.parts[place];
            let begun = request(part, inputs, &state.values, deadline).map(&call);
            under_way.push(async move { (place, finish(part, begun, deadline).await) });
        }
        let Some((place, outcome)) = under_way.next().await else { break };
        let part = &recipe.parts[place];
        state.done[place] = true;
        let text = match outcome {
            Ok((text, degraded)) => {
                if degraded {
                    answer.degraded.push(part.name.clone());
                }
                text
            }
            Err(error) => {
                answer.errors.push((part.name.clone(), error));
                if part.mode == Mode::Required {
                    // What else is under way goes with `under_way`.
                    answer.failed = Some(part.name.clone());
                    return answer;
                }
                to_raw_value(&part.fallback).unwrap_or_else(|_| RawValue::NULL.to_owned())
            }
        };
        // Read only where another part asks for something in it.
        if recipe.parts.iter().any(|other| other.needs.contains(&place)) {
            state.values.insert(part.name.clone(), serde_json::from_str(text.get()).unwrap_or_default());
        }
        answer.parts.insert(part.name.clone(), text);
    }
    answer.errors.sort_by(|one, other| one.0.cmp(&other.0));
    answer
}

struct State {
    values: Values,
    begun: Vec<bool>,
    done: Vec<bool>,
}

impl State {
    /// Returns a part that can begin.
    fn next(&self, recipe: &Recipe) -> Option<usize> {
        let ready =
            |place: &usize| !self.begun[*place] && recipe.parts[*place].needs.iter().all(|need| self.done[*need]);
        (0..recipe.parts.len()).find(ready)
    }
}

fn request(part: &Part, inputs: &Inputs, values: &Values, deadline: Instant) -> Result<PartRequest, PartError> {
    let cannot = |why: String| PartError::new(424, "gateway.part_not_asked", why);
    Ok(PartRequest {
        name: part.name.clone(),
        method: part.method.clone(),
        target: part.path.path(inputs, values).map_err(cannot)?,
        body: part.body.as_ref().map(|body| body.fill(inputs, values)).transpose().map_err(cannot)?,
        deadline: deadline.min(Instant::now() + part.timeout),
    })
}

async fn finish<'a>(
    part: &Part,
    begun: Result<LocalBoxFuture<'a, kernel::Result<Response<Body>>>, PartError>,
    deadline: Instant,
) -> Result<Read, PartError> {
    let limit = deadline.min(Instant::now() + part.timeout);
    let late = |_| PartError::new(504, "gateway.part_late", "it took too long");
    let read = async { read(part, begun?.await).await };
    tokio::time::timeout_at(limit.into(), read).await.map_err(late)?
}

/// The value of a part, and whether somebody stood in for it.
type Read = (Box<RawValue>, bool);

async fn read(part: &Part, answered: kernel::Result<Response<Body>>) -> Result<Read, PartError> {
    let response = answered.map_err(|error: Error| PartError {
        retry_after_seconds: error.retry_after_seconds(),
        ..PartError::new(error.status(), error.code(), error.message())
    })?;
    let (status, degraded) = (response.status(), response.headers().contains_key(&DEGRADED));
    let collected = Limited::new(response.into_body(), part.limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return PartError::new(502, "gateway.part_too_large", format!("it is longer than {} bytes", part.limit));
        }
        PartError::new(502, "gateway.part_cut_off", "it ended before its end")
    })?;
    let bytes = collected.to_bytes();
    if !status.is_success() {
        // A problem document says itself what is wrong; nothing else of a failed part is shown.
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        let detail = text("detail").or_else(|| text("title")).unwrap_or_else(|| format!("it answered {status}"));
        let code = text("code").unwrap_or_else(|| "gateway.part_failed".to_owned());
        return Err(PartError::new(status.as_u16(), &code, detail));
    }
    if bytes.is_empty() {
        return Ok((RawValue::NULL.to_owned(), degraded));
    }
    let text: &RawValue =
        serde_json::from_slice(&bytes).map_err(|_| PartError::new(502, "gateway.part_no_json", "it is no JSON"))?;
    match picked(text, &part.pick) {
        Some(found) => Ok((found.to_owned(), degraded)),
        None => Err(PartError::new(502, "gateway.part_incomplete", format!("it has nothing at {}", part.pick))),
    }
}

/// Returns the text at a JSON pointer (RFC 6901), as it was written.
fn picked<'t>(text: &'t RawValue, pointer: &str) -> Option<&'t RawValue> {
    pointer.split('/').skip(1).try_fold(text, |text, token| {
        let name = token.replace("~1", "/").replace("~0", "~");
        if text.get().starts_with('[') {
            let place = name.parse().ok().filter(|place: &usize| place.to_string() == name)?;
            return serde_json::from_str::<Vec<&RawValue>>(text.get()).ok()?.get(place).copied();
        }
        let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text.get()).ok()?;
        members.get(&*name).copied()
    })
}

/// How long a part may still take.
impl PartRequest {
    /// Returns what is left of its time.
    pub fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}
