//! Results of quality checks that laboratories and camera lines post by themselves: signed (Standard
//! Webhooks), safe to repeat, under a key that selects tenant and secret. Not for people's checks,
//! which are an action on the batch.

mod create;
mod key;
mod keys;
mod message;
mod posted;
mod receipt;
mod receive;
mod rotate;
mod secret;
mod tables;

use service::Operation;
use tasks::Schedule;

pub(crate) use tables::keys as make_tables;

/// Returns the routes: the webhook, and its keys.
pub(crate) fn operations() -> Vec<Operation> {
    let mut operations = vec![receive::operation(), create::operation(), rotate::operation()];
    operations.extend(keys::operations());
    operations
}

/// Returns what is done at certain times.
pub(crate) fn schedule() -> Schedule {
    Schedule::new("inventory.clean_qc_receipts", "47 3 * * *", receipt::Clean)
}
