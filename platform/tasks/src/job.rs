//! A kind of work, as a service declares it. Not for running it: see `engine`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::Result;

use crate::run::Run;

/// How a piece of work went.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is done; this is what its owner gets to see.
    Done(serde_json::Value),
    /// It is done, and said so in its own transaction, with [`Run::complete`].
    Completed,
    /// It goes on later; this does not count as an attempt.
    Later(Duration),
}

/// Does a kind of work. It may be called again for the same task: after a crash, a lost lease or an
/// error. Effects in this store belong in one transaction with [`Run::complete`]; effects elsewhere
/// carry [`Run::key`].
pub trait Work: Send + Sync + 'static {
    /// Works on one task. An error is retried; [`Run::give_up`] makes one that is not.
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>>;
}

/// How often and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts there are in all.
    pub attempts: u32,
    /// How long to wait after the first; it doubles with each, within ±20 %.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, first: Duration::from_secs(1), longest: Duration::from_secs(3_600) }
    }
}

impl Retry {
    /// Returns how long to wait after this attempt.
    pub(crate) fn pause(&self, attempt: i64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(30);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        // Tasks that failed together do not come back together.
        let random = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
        pause.mul_f64(0.8 + 0.4 * random)
    }
}

/// A kind of work.
#[derive(Clone)]
pub struct Job {
    /// Its name, unique in the installation, such as `webhooks.deliver`.
    pub name: &'static str,
    /// How often and when to try again.
    pub retry: Retry,
    /// How many of one tenant's run at the same time in a process; nothing means a fair share of the workers.
    pub per_tenant: Option<usize>,
    pub(crate) work: Arc<dyn Work>,
}

impl Job {
    /// Returns a kind of work.
    pub fn new(name: &'static str, work: impl Work) -> Self {
        Self { name, retry: Retry::default(), per_tenant: None, work: Arc::new(work) }
    }

    /// Sets how often and when to try again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how many of one tenant's run at the same time in a process.
    #[must_use]
    pub fn per_tenant(mut self, most: usize) -> Self {
        self.per_tenant = Some(most);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_a_fifth_and_have_a_longest() {
        let retry = Retry { attempts: 9, first: Duration::from_secs(10), longest: Duration::from_secs(60) };
        for (attempt, seconds) in [(1, 10.0), (2, 20.0), (3, 40.0), (4, 60.0), (40, 60.0)] {
            let pauses: Vec<f64> = (0..50).map(|_| retry.pause(attempt).as_secs_f64() / seconds).collect();
            assert!(pauses.iter().all(|share| (0.8..=1.2).contains(share)), "{attempt}: {pauses:?}");
            assert!(pauses.iter().any(|share| *share != pauses[0]), "jitter");
        }
    }
}
