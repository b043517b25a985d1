//! The names of this service's kinds of work, and putting a delivery in the queue. Not for doing it.

use std::time::Duration;

use kernel::{Result, Timestamp};
use serde::{Deserialize, Serialize};
use store::Writer;
use tasks::{NewTask, Retry};

use crate::delivery::{DeliveryId, Model};

/// Sends one delivery.
pub(crate) const DELIVER: &str = "webhooks.deliver";

/// Queues what an endpoint has missed.
pub(crate) const REPLAY: &str = "webhooks.replay";

/// A fault of ours, such as a database that is away, is tried for hours: the delivery waits.
pub(crate) const PATIENT: Retry =
    Retry { attempts: 50, first: Duration::from_secs(1), longest: Duration::from_secs(600) };

/// What the work `webhooks.deliver` is given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Errand {
    pub delivery: DeliveryId,
}

/// Puts a delivery in the queue, once.
pub(crate) async fn enqueue(writer: &mut Writer<'_>, delivery: &Model, at: Option<Timestamp>) -> Result<()> {
    let payload = serde_json::json!({ "delivery": delivery.id });
    let mut task = NewTask::new(DELIVER, payload).unique(format!("{}/{}", delivery.endpoint_id, delivery.message_id));
    task.run_at = at;
    tasks::enqueue(writer, task).await.map(|_| ())
}
