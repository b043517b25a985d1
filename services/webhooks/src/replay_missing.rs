//! Sends an endpoint what it has missed since a moment: what was given up, and what was never sent
//! because the endpoint was switched off or chose other types. Works through the log in the
//! background. Not for what was taken.

use axum::Extension;
use axum::extract::State;
use futures_util::future::BoxFuture;
use kernel::{Answer, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation};
use store::{EventFilter, not_found};
use tasks::{NewTask, Outcome, Run, TaskId, Work};
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use crate::delivery;
use crate::endpoint::{self, EndpointId};
use crate::matching::goes_to;
use crate::pattern::{TESTED, wanted};
use crate::queue::REPLAY;
use crate::state::Webhooks;
use crate::test_event::{accepted, switched_off};

/// How many events are looked at in one transaction.
const PAGE: u64 = 50;

/// From when on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = WebhookMissedSince)]
struct MissedSince {
    /// The moment from which on events count; as far back as the log of deliveries goes.
    since: Timestamp,
}

/// The work that was queued.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookReplay)]
struct ReplayAsked {
    /// The task that works through the log.
    task: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Errand {
    endpoint: EndpointId,
    since: Timestamp,
}

/// Returns `POST /api/webhooks/endpoints/{id}/replay-missing`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/webhooks/endpoints/{id}/replay-missing", "webhooks_replay_missing", ask)
        .permission("webhooks.endpoints.write")
        .describe(
            "Send what an endpoint has missed",
            "Works through the events since then, in the background: what was given up and what was never sent goes on \
             its way; what was taken or is on its way stays. Asking twice does it once. 409 while the endpoint is \
             switched off.",
        )
        .takes::<MissedSince>()
        .gives::<ReplayAsked>(202, "Queued")
        .problems(&[400, 404, 409, 415])
}

async fn ask(
    State(app): State<App>,
    Extension(webhooks): Extension<Webhooks>,
    Caller(mut ctx): Caller,
    Path(id): Path<EndpointId>,
    Body(input): Body<MissedSince>,
) -> web::Result {
    // Beyond that, what was taken cannot be told from what was never sent.
    if input.since <= app.now().minus(webhooks.settings().kept()) {
        let why = format!("must be within the last {} days", webhooks.settings().keep_days);
        return Err(Error::invalid("request.invalid_body", "the body is not valid").field("since", why).into());
    }
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.select::<endpoint::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    if !row.enabled {
        return Err(switched_off().into());
    }
    let task = NewTask::new(REPLAY, json!(Errand { endpoint: id, since: input.since })).unique(id.to_string());
    let task: TaskId = tasks::enqueue(&mut writer, task).await?.id;
    let answer = accepted(&ReplayAsked { task: task.to_string() })?;
    Ok(writer.commit(answer).await?.into())
}

/// The work `webhooks.replay`.
pub(crate) struct ReplayMissing(pub Webhooks);

impl Work for ReplayMissing {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(self.replay(run))
    }
}

impl ReplayMissing {
    async fn replay(&self, run: &mut Run) -> Result<Outcome> {
        let Errand { endpoint, since } = run.payload()?;
        let store = run.store().clone();
        let mut ctx = run.ctx();
        let (mut position, mut looked, mut queued) = (0, 0, 0_u64);
        loop {
            let reader = store.read(&ctx).await?;
            let row = reader.select::<endpoint::Entity>().id(endpoint).one().await?;
            let Some(row) = row.filter(|row| row.enabled) else { break };
            let patterns = row.patterns();
            let kinds = self.0.kinds()?.iter().copied().filter(|kind| *kind != TESTED && wanted(&patterns, kind));
            let filter = EventFilter { kinds: kinds.collect(), subject: None };
            let page = reader.events_after(position, &filter, PAGE).await?;
            reader.close().await?;
            let Some(last) = page.last().and_then(|event| event.position) else { break };
            (position, looked) = (last, looked + page.len() as u64);
            let missed: Vec<_> =
                page.into_iter().filter(|event| event.occurred_at >= since && goes_to(&row, event)).collect();
            if !missed.is_empty() {
                let mut writer = store.write(&mut ctx).await?;
                for event in &missed {
                    queued += u64::from(delivery::send(&mut writer, endpoint, event, true).await?);
                }
                writer.commit(Answer::no_content()).await?;
            }
            run.progress(looked, None, "reading the log").await?;
        }
        Ok(Outcome::Done(json!({ "queued": queued })))
    }
}
