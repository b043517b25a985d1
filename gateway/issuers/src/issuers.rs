//! All issuers together: whose a token is, and the word that keys have gone. Replaced as a whole when the
//! configuration is read again, while keys, counters and listeners live on. Not for one issuer's rules.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kernel::{Clock, Result};
use tokio::runtime::Handle;

use crate::caller::Caller;
use crate::check::check;
use crate::config::Config;
use crate::issuer::{Issuer, invalid};
use crate::source::{Source, State};
use crate::token::Parts;

/// The issuers whose tokens are accepted. Cheap to clone.
#[derive(Clone)]
pub struct Issuers {
    inner: Arc<Inner>,
}

struct Inner {
    list: Vec<Issuer>,
    by_issuer: HashMap<Box<str>, usize>,
    clock: Clock,
    changes: Arc<Changes>,
}

/// The issuer that a token says it is from; nothing about it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The issuer's name in the configuration.
    pub name: Arc<str>,
}

type Listener = Box<dyn Fn(&str) + Send + Sync>;

/// Those who want to know that tokens which were good may be so no longer.
#[derive(Default)]
pub(crate) struct Changes {
    generation: AtomicU64,
    listeners: RwLock<Vec<Listener>>,
}

impl Changes {
    /// Says that keys of this issuer have gone.
    pub(crate) fn say(&self, issuer: &str) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(issuer);
        }
    }
}

impl Issuers {
    /// Compiles the issuers. Keys are fetched on `handle`, and taken over from `previous` where nothing about
    /// their source has changed. Waits for no server: until keys are there, tokens wait or are answered 503.
    pub fn build(configs: &[Config], previous: Option<&Self>, handle: &Handle, clock: Clock) -> Result<Self> {
        check(configs)?;
        let changes = previous.map_or_else(Arc::default, |known| known.inner.changes.clone());
        let known = |config: &Config| {
            let sources = previous.iter().flat_map(|issuers| &issuers.inner.list);
            sources.map(|issuer| &issuer.source).find(|source| source.config().same_source(config)).cloned()
        };
        let mut list = Vec::new();
        for config in configs {
            let source = match known(config) {
                Some(source) => source,
                None => Source::start(config, handle, &clock, &changes)?,
            };
            list.push(Issuer::new(config, source));
        }
        let by_issuer = configs.iter().enumerate().map(|(place, config)| (config.issuer.as_str().into(), place));
        Ok(Self { inner: Arc::new(Inner { by_issuer: by_issuer.collect(), list, clock, changes }) })
    }

    /// Says which issuer a token names, if it is one of these. Checks nothing.
    pub fn recognises(&self, token: &str) -> Option<Named> {
        // Most installations have none, and most bearer tokens are not of this form.
        if self.inner.list.is_empty() {
            return None;
        }
        let parts = Parts::of(token).ok()?;
        self.named(&parts).map(|issuer| Named { name: issuer.name.clone() })
    }

    /// Checks a token, and says whom it names. Costs a signature: remember the answer, but no longer than
    /// until [`Caller::until`], and not beyond the next [`Issuers::on_change`].
    pub async fn check(&self, token: &str) -> Result<Caller> {
        let parts = Parts::of(token).map_err(invalid)?;
        let issuer = self.named(&parts).ok_or_else(|| invalid("of no issuer that is known here"))?;
        issuer.check(&parts, &self.inner.clock).await
    }

    /// Calls `listener` with an issuer's name whenever a key has left its set, after the set was replaced:
    /// what was checked before must be checked again. Stays registered when the issuers are built anew.
    pub fn on_change(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        self.inner.changes.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// Counts the times that a key has left its set.
    pub fn generation(&self) -> u64 {
        self.inner.changes.generation.load(Ordering::Acquire)
    }

    /// Returns how each issuer's keys are.
    pub fn states(&self) -> Vec<State> {
        self.inner.list.iter().map(|issuer| issuer.source.state()).collect()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.list.is_empty()
    }

    fn named(&self, parts: &Parts<'_>) -> Option<&Issuer> {
        let place = self.inner.by_issuer.get(parts.issuer()?.as_str())?;
        self.inner.list.get(*place)
    }
}
