//! Sends an endpoint what it has missed since a moment: what was given up, and what was never sent
//! because the endpoint was switched off or chose other types. Works through the log in the
//! background. Not for what was taken.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use futures_util::future::BoxFuture;
use kernel::{Answer, Ctx, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation};
use store::{EventFilter, Store, not_found};
use tasks::{NewTask, Outcome, Run, TaskId, Work};
use tokio::time::Instant;
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use crate::delivery;
use crate::endpoint::{self, EndpointId};
use crate::matching::{SKEW, goes_to};
use crate::pattern::{TESTED, wanted};
use crate::queue::REPLAY;
use crate::state::Webhooks;
use crate::test_event::{accepted, switched_off};

/// How many events are read at a time.
const PAGE: u64 = 500;
/// How many are sent on their way in one transaction.
const WRITTEN: usize = 50;
/// The start of the reading is found so closely, in positions.
const CLOSE: i64 = 500;
/// How often the owner is shown how far it is.
const SHOWN: Duration = Duration::from_secs(2);

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
        .path::<EndpointId>("id")
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
        let (mut position, mut queued) = (self.start(run, &ctx, since).await?, 0_u64);
        let mut shown = Instant::now();
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
            let missed: Vec<_> =
                page.into_iter().filter(|event| event.occurred_at >= since && goes_to(&row, event)).collect();
            for events in missed.chunks(WRITTEN) {
                let mut writer = store.write(&mut ctx).await?;
                for event in events {
                    queued += u64::from(delivery::send(&mut writer, endpoint, event, true).await?);
                }
                writer.commit(Answer::no_content()).await?;
            }
            position = last;
            if shown.elapsed() >= SHOWN {
                shown = Instant::now();
                run.progress(u64::try_from(position).unwrap_or(0), None, "the position in the log").await?;
            }
        }
        Ok(Outcome::Done(json!({ "queued": queued })))
    }

    /// Returns the position to read on from: where an attempt before this one was, or the moment's.
    async fn start(&self, run: &Run, ctx: &Ctx, since: Timestamp) -> Result<i64> {
        let reader = run.store().read(ctx).await?;
        let before = tasks::find(&reader, run.id()).await?.progress_done;
        reader.close().await?;
        match before {
            Some(position) => Ok(position),
            None => self.position_of(run.store(), ctx, since).await,
        }
    }

    /// Returns a position before all that happened since a moment.
    async fn position_of(&self, store: &Store, ctx: &Ctx, since: Timestamp) -> Result<i64> {
        let moment = since.minus(SKEW * 2);
        let filter = EventFilter { kinds: self.0.kinds()?.iter().copied().collect(), subject: None };
        let mut halving = Halving::default();
        while let Some(position) = halving.asks() {
            let reader = store.read(ctx).await?;
            let next = reader.events_after(position, &filter, 1).await?.pop();
            reader.close().await?;
            halving.hears(position, next.filter(|event| event.occurred_at < moment).and_then(|event| event.position));
        }
        Ok(halving.before)
    }
}

/// Finds where in the log a moment is, or a page before it, with few reads: positions grow with time, but
/// for what clocks differ by.
#[derive(Default)]
struct Halving {
    /// Up to here everything is older than the moment.
    before: i64,
    /// After this nothing is.
    beyond: Option<i64>,
}

impl Halving {
    /// Returns the position after which the next event is to be read; nothing once that is close enough.
    fn asks(&self) -> Option<i64> {
        match self.beyond {
            None => Some(self.before.saturating_mul(2).max(1_024)),
            Some(beyond) => (beyond - self.before > CLOSE).then(|| self.before + (beyond - self.before) / 2),
        }
    }

    /// Takes the position of the event after `asked`, if that is older than the moment.
    fn hears(&mut self, asked: i64, older: Option<i64>) {
        match older {
            Some(older) => self.before = older,
            None => self.beyond = Some(asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_found_with_few_reads() {
        // A tenant's events have positions far apart; the number of an event is its time.
        let log: Vec<i64> = (1..=10_000).map(|number| number * 1_000_003).collect();
        for moment in [0, 1, 2, 4_999, 9_999, 10_000, 20_000] {
            let (mut halving, mut reads) = (Halving::default(), 0);
            while let Some(asked) = halving.asks() {
                reads += 1;
                let next = log.iter().position(|event| *event > asked).filter(|number| *number < moment);
                halving.hears(asked, next.map(|number| log[number]));
            }
            let first = log.get(moment).copied().unwrap_or(i64::MAX);
            assert!(halving.before < first, "{moment}: {} leaves events out", halving.before);
            let skipped = log.iter().filter(|event| **event <= halving.before).count();
            assert!(skipped + 1 >= moment.min(log.len()), "{moment}: {skipped} skipped");
            assert!(reads <= 60, "{reads} reads");
        }
    }
}
