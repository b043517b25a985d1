//! Work at certain times, as a service declares it. Not for the clock that starts it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kernel::Result;
use store::Store;

/// What happens when a schedule is due.
pub trait Scheduled: Send + Sync + 'static {
    /// Does it, for the whole installation. It may be called again for the same moment, after a crash.
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>>;
}

/// Work at certain times, once in the whole installation.
#[derive(Clone)]
pub struct Schedule {
    /// Its name, unique in the installation, such as `notifications.digests`.
    pub name: &'static str,
    /// When, as five fields of cron in UTC: minute, hour, day, month, weekday.
    pub cron: &'static str,
    pub(crate) scheduled: Arc<dyn Scheduled>,
}

impl Schedule {
    /// Returns a schedule.
    pub fn new(name: &'static str, cron: &'static str, scheduled: impl Scheduled) -> Self {
        Self { name, cron, scheduled: Arc::new(scheduled) }
    }
}
