//! Writes of several steps at upstreams, as gateway.toml declares them, run by the saga engine: all steps happen or
//! are taken back, whatever crashes. Each call carries the saga's key as `Idempotency-Key`, the same in every
//! attempt. Not for reads of several parts: those are compositions.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use compose::{Document, Inputs, Template};
use futures_util::future::BoxFuture;
use gateway::{BackgroundClient, CallEntry, Declared, Lasting, SagaEntry, StepEntry};
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kernel::{Answer, Error, Kind, Result};
use serde::Serialize;
use serde_json::{Value, json};
use service::{Access, App, Operation, Service};
use tasks::{Saga, SagaRun, Step, StepWork, TaskId, start_saga};
use utoipa::ToSchema;
use web::{Body, Caller};

/// How long a call may take unless said.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer of a step that is kept.
const MOST: usize = 256 * 1024;

/// How steps reach upstreams; filled when the gateway is made.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<OnceLock<(Lasting, BackgroundClient)>>);

impl Calls {
    /// Says how upstreams are reached.
    pub(crate) fn fill(&self, lasting: Lasting, client: BackgroundClient) {
        let _ = self.0.set((lasting, client));
    }
}

/// A saga that was started.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SagaStarted {
    /// The task that runs it; `GET /api/tasks/{id}` says how far it is.
    #[schema(value_type = String)]
    task_id: TaskId,
    /// `running`.
    status: String,
}

/// Returns the service that starts and runs the declared sagas; nothing where there is none.
pub(crate) fn service(declared: &Declared, calls: &Calls) -> Result<Option<Service>> {
    if declared.sagas.is_empty() {
        return Ok(None);
    }
    let mut service = Service::new("sagas", "Writes of several steps that gateway.toml declares");
    for (name, entry) in &declared.sagas {
        let wrong = |why: String| Error::invalid("gateway.invalid_file", format!("the saga {name}: {why}"));
        let saga = saga(name, entry, declared, calls).map_err(wrong)?;
        // Named once for each start of the process, as all services' names are.
        let path: &'static str = entry.path.clone().leak();
        let started = saga.clone();
        let start = move |State(app): State<App>, Caller(ctx): Caller, Body(input): Body<Value>| {
            start(app, started.clone(), ctx, input)
        };
        let operation = Operation::post(path, format!("sagas_start_{}", name.replace('-', "_")), start)
            .access(match entry.permission.as_str() {
                "" => Access::SignedIn,
                permission => Access::Permission(permission.to_owned().leak()),
            })
            .describe(
                if entry.summary.is_empty() { format!("Start {name}") } else { entry.summary.clone() },
                "Starts a durable saga: all of its steps happen, or those that did are taken back. 202 with the task that \
                 runs it; repeating with the same `Idempotency-Key` starts nothing new.",
            )
            .takes::<Value>()
            .gives::<SagaStarted>(202, "Started");
        service = service.routes([operation]).sagas([saga]);
    }
    Ok(Some(service))
}

async fn start(app: App, saga: Saga, mut ctx: kernel::Ctx, input: Value) -> web::Result {
    let key = ctx.request_id().as_str().to_owned();
    let caller = json!({ "user": ctx.actor().to_string(), "request": input });
    let mut writer = match app.store.write(&mut ctx).await {
        Ok(writer) => writer,
        Err(error) => return Ok(error.into_replay()?.into()),
    };
    let task_id = start_saga(&mut writer, &saga, &key, caller).await?;
    let started = SagaStarted { task_id, status: "running".to_owned() };
    let location = Some(format!("/api/tasks/{task_id}"));
    Ok(writer.commit(Answer { status: 202, location, ..Answer::ok(&started)? }).await?.into())
}

fn saga(name: &str, entry: &SagaEntry, declared: &Declared, calls: &Calls) -> Result<Saga, String> {
    if !entry.path.starts_with('/') || entry.path.contains('{') {
        return Err("path must start with / and have no braces".to_owned());
    }
    if entry.steps.is_empty() {
        return Err("it has no step".to_owned());
    }
    let (mut steps, mut known) = (Vec::new(), vec!["input".to_owned()]);
    for step in &entry.steps {
        if step.name.is_empty() || known.contains(&step.name) {
            return Err(format!("{:?} is no name for a step, or is there twice", step.name));
        }
        if !declared.upstreams.contains_key(&step.upstream) {
            return Err(format!("{}: there is no upstream {:?}", step.name, step.upstream));
        }
        let work = DeclaredStep::compile(step, &mut known, calls).map_err(|why| format!("{}: {why}", step.name))?;
        steps.push(Step::new(step.name.clone().leak(), work));
    }
    Ok(Saga { name: format!("gateway.{name}").leak(), version: entry.version.max(1), steps })
}

/// A step at an upstream.
struct DeclaredStep {
    name: String,
    upstream: String,
    run: Call,
    undo: Option<Call>,
    limit: Duration,
    /// The names that its calls may show.
    shows: Vec<String>,
    calls: Calls,
}

struct Call {
    method: Method,
    path: Template,
    body: Option<Document>,
}

impl Call {
    fn compile(entry: &CallEntry, known: &[String]) -> Result<Self, String> {
        let method = Method::from_bytes(entry.method.as_bytes()).ok().filter(|_| !entry.method.is_empty());
        let path = Template::read(&entry.path)?;
        let body = entry.body.as_ref().map(Document::read).transpose()?;
        let needs = path.needs().chain(body.iter().flat_map(Document::needs));
        if let Some(unknown) = needs.into_iter().find(|need| !known.iter().any(|name| name == need)) {
            return Err(format!("{{{unknown}/...}} is neither input nor an earlier step"));
        }
        if !entry.path.starts_with('/') {
            return Err("path must start with /".to_owned());
        }
        Ok(Self { method: method.ok_or_else(|| format!("{:?} is no method", entry.method))?, path, body })
    }
}

impl DeclaredStep {
    fn compile(step: &StepEntry, known: &mut Vec<String>, calls: &Calls) -> Result<Self, String> {
        let run = Call::compile(&step.run, known)?;
        known.push(step.name.clone());
        Ok(Self {
            name: step.name.clone(),
            upstream: step.upstream.clone(),
            run,
            undo: step.undo.as_ref().map(|undo| Call::compile(undo, known)).transpose()?,
            limit: step.timeout_ms.map_or(LIMIT, Duration::from_millis),
            shows: known.clone(),
            calls: calls.clone(),
        })
    }

    /// Makes a call, and returns the status and the JSON of its answer.
    async fn call(&self, call: &Call, run: &SagaRun, key: String, own: Option<&Value>) -> Result<(u16, Value)> {
        let (lasting, client) = self.calls.0.get().ok_or_else(|| away("the gateway is not there yet"))?;
        let upstream = lasting.upstream(&self.upstream).ok_or_else(|| away("the upstream is not declared any more"))?;
        let mut values: BTreeMap<String, Value> = BTreeMap::new();
        for name in &self.shows {
            let found = match name.as_str() {
                "input" => Some(&run.input()["request"]),
                name => run.result_of(name).or(own.filter(|_| *name == *self.name)),
            };
            values.insert(name.clone(), found.cloned().unwrap_or_default());
        }
        let cannot = |why| Error::new(Kind::Invalid, "gateway.saga_step_refused", format!("{}: {why}", self.name));
        let target = call.path.path(&Inputs::default(), &values).map_err(cannot)?;
        let body = call.body.as_ref().map(|body| body.fill(&Inputs::default(), &values)).transpose().map_err(cannot)?;
        let request = Request::builder()
            .method(call.method.clone())
            .uri(target)
            .header("idempotency-key", key)
            .header("x-tenant-id", run.tenant().to_string())
            .header("x-user-id", run.input()["user"].as_str().unwrap_or_default());
        let request = match body {
            Some(body) => {
                request.header(CONTENT_TYPE, "application/json").body(axum::body::Body::from(body.to_string()))
            }
            None => request.body(axum::body::Body::empty()),
        };
        let request = request.map_err(|error| cannot(error.to_string()))?;
        let (parts, bytes) = client.send(&upstream, request, self.limit, MOST).await?;
        Ok((parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

fn away(why: &str) -> Error {
    Error::unavailable("gateway.saga_step_failed", why)
}

impl StepWork for DeclaredStep {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            match self.call(&self.run, run, run.key(), None).await? {
                (200..=299, value) => Ok(value),
                // Refused, so nothing was done: what was done before is taken back.
                (status @ 400..=499, value) if ![408, 425, 429].contains(&status) => {
                    let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or("no reason given");
                    let message = format!("{} answered {status}: {detail}", self.name);
                    Err(Error::conflict("gateway.saga_step_refused", message))
                }
                (status, _) => Err(away(&format!("{} answered {status}", self.name))),
            }
        })
    }

    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(undo) = &self.undo else { return Ok(()) };
            let mut given = None;
            if run.result_of(&self.name).is_none() {
                // Nobody knows whether it happened. Asked again under the same key, the upstream says what it gave.
                match self.call(&self.run, run, run.key(), None).await? {
                    (200..=299, value) => given = Some(value),
                    (status @ 400..=499, _) if ![408, 425, 429].contains(&status) => return Ok(()),
                    (status, _) => return Err(away(&format!("{} answered {status}", self.name))),
                }
            }
            match self.call(undo, run, format!("{}/undo", run.key()), given.as_ref()).await? {
                (200..=299 | 404 | 410, _) => Ok(()),
                (status, _) => Err(away(&format!("taking {} back was answered {status}", self.name))),
            }
        })
    }
}
