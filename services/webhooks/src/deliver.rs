//! The work `webhooks.deliver`: decides whether a delivery may go now, makes one attempt, and has it
//! written down. Waiting costs no worker: what may not go yet goes back into the queue.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kernel::{Answer, Ctx, Result, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;
use store::Store;
use tasks::{Outcome, Run, Work};

use crate::delivery::{self, DeliveryId, State};
use crate::lane::{Admission, Asking};
use crate::queue::Errand;
use crate::schedule::{jittered, until};
use crate::secret::{self, Secret};
use crate::send::{self, Post};
use crate::state::Webhooks;
use crate::{endpoint, message, settle, standing};

/// The work `webhooks.deliver`.
pub(crate) struct Deliver(pub Webhooks);

impl Work for Deliver {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(self.deliver(run))
    }
}

/// A delivery with all that belongs to it.
pub(crate) struct Bundle {
    pub delivery: delivery::Model,
    pub endpoint: endpoint::Model,
    pub standing: standing::Model,
    pub message: message::Model,
}

impl Deliver {
    async fn deliver(&self, run: &mut Run) -> Result<Outcome> {
        let Errand { delivery } = run.payload()?;
        let store = run.store().clone();
        let mut ctx = run.ctx();
        let Some(bundle) = read(&store, &ctx, delivery).await? else { return Ok(Outcome::Done(json!(null))) };
        if !bundle.endpoint.is_on() {
            return settle::give_up(run, &bundle).await;
        }
        let now = store.clock().now();
        if let Some(wait) = bundle.delivery.next_at.and_then(|moment| until(now, moment)) {
            return Ok(Outcome::Later(wait));
        }
        if let Some(wait) = bundle.standing.wait_until.and_then(|moment| until(now, moment)) {
            return put_off(&store, &mut ctx, &bundle, now, wait).await;
        }
        let rate = bundle.endpoint.rate.and_then(|rate| u32::try_from(rate).ok());
        let asking = Asking {
            tenant: bundle.endpoint.tenant_id,
            endpoint: bundle.endpoint.id,
            url: &bundle.endpoint.url,
            rate,
            failing: bundle.standing.failures > 0,
        };
        let permit = match self.0.lanes().enter(asking, now).await {
            Admission::Go(permit) => permit,
            Admission::Wait(wait) => return Ok(Outcome::Later(wait)),
        };
        if bundle.standing.is_broken() {
            let mut writer = store.write(&mut ctx).await?;
            let taken = standing::take_probe(&mut writer, &bundle.standing).await?;
            writer.commit(Answer::no_content()).await?;
            if !taken {
                let wait = crate::schedule::probe_after(bundle.standing.failures);
                return put_off(&store, &mut ctx, &bundle, now, wait).await;
            }
        }
        let post = self.post(&bundle, now)?;
        let tried = send::send(&self.0, post).await?;
        permit.note(tried.failure.is_none());
        // A failure is written down before the next one may look how the endpoint is doing.
        let _until_written = tried.failure.is_some().then_some(permit);
        settle::settle(run, bundle, tried).await
    }

    /// Returns what is posted: the same bytes and id in every attempt, signed anew.
    fn post(&self, bundle: &Bundle, now: Timestamp) -> Result<Post> {
        let (id, timestamp) = (bundle.message.id.to_string(), now.seconds());
        let body = Bytes::from(bundle.message.body.clone());
        let secrets = Secret::live(self.0.vault()?, &bundle.endpoint, now)?;
        let signature = secret::signatures(&secrets, &id, timestamp, &body);
        Ok(Post { url: bundle.endpoint.url.clone(), id, timestamp, signature, body })
    }
}

async fn read(store: &Store, ctx: &Ctx, id: DeliveryId) -> Result<Option<Bundle>> {
    let reader = store.read(ctx).await?;
    let delivery = reader.select_with_deleted::<delivery::Entity>().id(id).one().await?;
    let Some(delivery) = delivery.filter(|row| row.state == State::Pending.name()) else { return Ok(None) };
    let endpoint = reader.select_with_deleted::<endpoint::Entity>().id(delivery.endpoint_id).one().await?;
    let standing = reader.select_with_deleted::<standing::Entity>().id(delivery.endpoint_id).one().await?;
    let message = reader.select_with_deleted::<message::Entity>().id(delivery.message_id).one().await?;
    reader.close().await?;
    let (Some(endpoint), Some(standing), Some(message)) = (endpoint, standing, message) else { return Ok(None) };
    Ok(Some(Bundle { delivery, endpoint, standing, message }))
}

/// Leaves the delivery for when the endpoint may be asked again, and says so in the log of deliveries.
async fn put_off(store: &Store, ctx: &mut Ctx, bundle: &Bundle, now: Timestamp, wait: Duration) -> Result<Outcome> {
    let wait = jittered(wait)?.max(wait);
    let update = delivery::Entity::update_many()
        .col_expr(delivery::Column::NextAt, Expr::val(now.plus(wait)))
        .filter(delivery::Column::Id.eq(bundle.delivery.id))
        .filter(delivery::Column::State.eq(State::Pending.name()));
    let mut writer = store.write(ctx).await?;
    writer.revise(update).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(Outcome::Later(wait))
}
