//! Subscriptions for whoever runs the installation: where they stand, and what to do with events that
//! could not be applied. Not for tenants, who read their own log.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use events::{ReplayReport, Subscription};
use kernel::{Answer, Result, TenantId, Text, Timestamp};
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation, Service};
use store::Store;
use utoipa::ToSchema;
use web::Body;

/// Where subscriptions are listed.
pub(crate) const SUBSCRIPTIONS: &str = "/operator/events/subscriptions";
/// Where streams are tried again.
pub(crate) const RETRIES: &str = "/operator/events/retry";
/// Where an event is dropped.
pub(crate) const SKIPS: &str = "/operator/events/skip";
/// Where a subscription goes back in the log.
pub(crate) const REPLAYS: &str = "/operator/events/replay";

/// Where one that nobody runs any more is forgotten.
pub(crate) const FORGETS: &str = "/operator/events/forget";

/// The subscriptions of all services, those of other processes too, and the sinks that are configured.
#[derive(Clone)]
pub(crate) struct Known {
    pub subscriptions: Arc<Vec<Subscription>>,
    sinks: Arc<Vec<String>>,
}

impl Known {
    /// Returns those of these services, and these sinks.
    pub(crate) fn of(services: &[Service], sinks: &[String]) -> Self {
        let subscriptions = services.iter().flat_map(|service| service.subscriptions.iter().cloned()).collect();
        Self { subscriptions: Arc::new(subscriptions), sinks: Arc::new(sinks.to_vec()) }
    }

    /// Returns the names of all that are in use.
    pub(crate) fn names(&self) -> Vec<&str> {
        let subscriptions = self.subscriptions.iter().map(|subscription| subscription.name);
        subscriptions.chain(self.sinks.iter().map(String::as_str)).collect()
    }
}

/// All subscriptions and sinks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Subscriptions {
    /// By name.
    pub items: Vec<SubscriptionState>,
}

/// Where a subscription or a sink stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SubscriptionState {
    /// Its name; that of a sink begins with `sink:`.
    pub name: String,
    /// Everything up to this position of the log was offered to every tenant.
    pub position: i64,
    /// How many positions of the log come after that.
    pub lag: u64,
    /// Whether it is in use: a subscription that this version knows, or a sink that is configured. One that is
    /// not keeps old events from being removed until it is forgotten.
    pub known: bool,
    /// The streams that were set aside, oldest first; at most 100.
    pub streams: Vec<StreamState>,
}

/// Events about one thing that wait because the first of them could not be applied.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StreamState {
    /// Whose events they are.
    pub tenant_id: TenantId,
    /// What they are about.
    pub subject: String,
    /// The position of the first.
    pub position: i64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `retrying` by itself, or `parked` until somebody decides.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Why it failed.
    pub error: String,
    /// The version that failed.
    pub code_version: String,
    /// When it first failed.
    pub first_failed_at: Timestamp,
    /// When it is tried again, where it is.
    pub next_try_at: Option<Timestamp>,
    /// How many events wait behind it.
    pub waiting: u64,
}

/// What is to be tried again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WantedRetry {
    /// The subscription.
    pub subscription: String,
    /// Only streams of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Only the stream about this.
    pub subject: Option<String>,
}

/// How much is tried again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RetriedStreams {
    /// How many streams.
    pub streams: u64,
}

/// Which event is to be dropped.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedSkip {
    /// The subscription that is to go on without it.
    pub subscription: String,
    /// The event's position.
    pub position: i64,
    /// Why; the tenant's administrators read it in their log.
    #[schema(value_type = Text<500>)]
    pub reason: String,
}

/// From where events are to be delivered again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WantedReplay {
    /// The subscription, or `sink:` and the sink's name.
    pub subscription: String,
    /// What comes after this position is delivered again; 0 means all.
    pub from: i64,
    /// Only to this tenant.
    pub tenant_id: Option<TenantId>,
    /// Whether it is only counted what would be delivered.
    #[serde(default)]
    pub dry_run: bool,
}

/// What nobody runs any more.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedForget {
    /// The subscription, or `sink:` and the sink's name.
    pub subscription: String,
}

/// What a replay delivers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Replayed {
    /// How many events.
    pub events: u64,
    /// Up to this position events may be missing, because their time was up.
    pub horizon: i64,
    /// Whether it began; otherwise it was only counted.
    pub done: bool,
}

impl From<ReplayReport> for Replayed {
    fn from(report: ReplayReport) -> Self {
        Self { events: report.events, horizon: report.horizon, done: report.done }
    }
}

/// Returns the routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(SUBSCRIPTIONS, "operator_list_subscriptions", list)
            .access(Access::Operator)
            .describe(
                "List subscriptions",
                "Where each subscription and each sink stands in the log, and which streams it has set aside because \
                 an event could not be applied: they are tried again by themselves five times, then they wait. Needs \
                 the operator token.",
            )
            .gives::<Subscriptions>(200, "Found")
            .problems(&[401]),
        Operation::post(RETRIES, "operator_retry_events", retry)
            .access(Access::Operator)
            .describe(
                "Try streams again",
                "Streams that were set aside are tried again now, with all attempts before them: all of a \
                 subscription, of one tenant, or about one thing. Needs the operator token.",
            )
            .takes::<WantedRetry>()
            .gives::<RetriedStreams>(200, "They are tried")
            .problems(&[400, 401, 404, 415]),
        Operation::post(SKIPS, "operator_skip_event", skip)
            .access(Access::Operator)
            .describe(
                "Drop an event for a subscription",
                "The subscription goes on without an event that it had set aside. The event stays in the log; the \
                 tenant's log says that it was dropped, and why. Needs the operator token.",
            )
            .takes::<WantedSkip>()
            .gives_other(204, "Dropped", &[])
            .problems(&[400, 401, 404, 415]),
        Operation::post(REPLAYS, "operator_replay_events", replay)
            .access(Access::Operator)
            .describe(
                "Deliver events again",
                "A subscription or a sink goes back to a position. Refused where an event must not be applied twice. \
                 With `dryRun` it is only counted. Needs the operator token.",
            )
            .takes::<WantedReplay>()
            .gives::<Replayed>(200, "It goes back, or it was counted")
            .problems(&[400, 401, 404, 409, 415]),
        Operation::post(FORGETS, "operator_forget_subscription", forget)
            .access(Access::Operator)
            .describe(
                "Forget a subscription",
                "How far a subscription or a sink that is not in use any more had come, and what it had set aside, is \
                 removed, so that old events need not be kept for it. Refused where it is in use. Needs the operator \
                 token.",
            )
            .takes::<WantedForget>()
            .gives_other(204, "Forgotten", &[])
            .problems(&[400, 401, 404, 409, 415]),
    ]
}

/// Returns where everything stands.
pub(crate) async fn standing(store: &Store, known: &Known) -> Result<Subscriptions> {
    let stream = |stream: events::Stream| StreamState {
        tenant_id: stream.tenant,
        subject: stream.subject,
        position: stream.position,
        kind: stream.kind,
        next_try_at: (stream.state == "retrying").then_some(stream.next_try_at),
        state: stream.state,
        attempts: stream.attempts,
        error: stream.error,
        code_version: stream.code_version,
        first_failed_at: stream.first_failed_at,
        waiting: stream.waiting,
    };
    let in_use = known.names();
    let state = |listed: events::Listed| SubscriptionState {
        known: in_use.contains(&listed.name.as_str()),
        name: listed.name,
        position: listed.position,
        lag: listed.lag,
        streams: listed.streams.into_iter().map(stream).collect(),
    };
    let listed = events::list(store, &known.subscriptions).await?;
    Ok(Subscriptions { items: listed.into_iter().map(state).collect() })
}

/// Drops an event, once the reason is one.
pub(crate) async fn drop_event(store: &Store, wanted: &WantedSkip) -> Result<()> {
    let reason = Text::<500>::new(&wanted.reason);
    let wrong = |rule| kernel::Error::invalid("request.invalid_body", "the body is not valid").field("reason", rule);
    events::skip(store, &wanted.subscription, wanted.position, reason.map_err(wrong)?.as_str()).await
}

async fn list(State(app): State<App>, Extension(known): Extension<Known>) -> web::Result {
    Ok(Answer::ok(&standing(&app.store, &known).await?)?.into())
}

async fn retry(State(app): State<App>, Body(wanted): Body<WantedRetry>) -> web::Result {
    let subject = wanted.subject.as_deref();
    let streams = events::retry(&app.store, &wanted.subscription, wanted.tenant_id, subject).await?;
    Ok(Answer::ok(&RetriedStreams { streams })?.into())
}

async fn skip(State(app): State<App>, Body(wanted): Body<WantedSkip>) -> web::Result {
    drop_event(&app.store, &wanted).await?;
    Ok(Answer::no_content().into())
}

async fn replay(
    State(app): State<App>,
    Extension(known): Extension<Known>,
    Body(wanted): Body<WantedReplay>,
) -> web::Result {
    let WantedReplay { subscription, from, tenant_id, dry_run } = wanted;
    let report = events::replay(&app.store, &known.subscriptions, &subscription, from, tenant_id, dry_run).await?;
    Ok(Answer::ok(&Replayed::from(report))?.into())
}

async fn forget(
    State(app): State<App>,
    Extension(known): Extension<Known>,
    Body(wanted): Body<WantedForget>,
) -> web::Result {
    events::forget(&app.store, &known.names(), &wanted.subscription).await?;
    Ok(Answer::no_content().into())
}
