//! Wires the identity service into a process: the vault, the letters, the gateway's questions about
//! tokens, and how revocations reach the token cache. Not for what any of them does.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway::{Authenticate, Metrics, TokenCache, TokenCacheConfig, Verified};
use identity::{Authenticator, Identity};
use kernel::{Error, Id, Result};
use store::{Committed, Engine, EventKind, Store, Vault};
use tokio::task::JoinHandle;
use web::{Connections, Revocation};

use crate::config::Config;
use crate::data_folder::DataFolder;

/// How often revocations of other processes are looked for.
const LOOK: Duration = Duration::from_millis(150);
/// After how long without a look nothing that is remembered is believed.
const STALE: Duration = Duration::from_millis(800);

/// Asks the identity service about tokens.
pub(crate) struct Bearer(pub Authenticator);

impl Authenticate for Bearer {
    fn bearer<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = Result<Verified>> + Send + 'a>> {
        Box::pin(async move {
            let found = self.0.bearer(token).await?;
            Ok(Verified { principal: Arc::new(found.principal), until: found.until })
        })
    }

    fn ticket<'a>(
        &'a self,
        ticket: &'a str,
        path: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Verified>> + Send + 'a>> {
        Box::pin(async move {
            let found = self.0.ticket(ticket, path).await?;
            Ok(Verified { principal: Arc::new(found.principal), until: found.until })
        })
    }
}

/// Returns the vault under the configured master key, or under the data folder's.
pub(crate) fn vault(config: &Config, folder: &DataFolder) -> Result<Vault> {
    let digits = match config.master_key.as_str() {
        "" => folder.master_key()?,
        configured => configured.to_owned(),
    };
    let wrong = || Error::invalid("config.master_key", "the master key must be 64 hexadecimal digits");
    let mut key = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(wrong());
    }
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[place * 2..place * 2 + 2], 16).map_err(|_| wrong())?;
    }
    Ok(Vault::new(&key))
}

/// Returns the cache of checked tokens.
pub(crate) fn token_cache(config: &Config, store: &Store, metrics: &Metrics) -> Arc<TokenCache> {
    let remembered = TokenCacheConfig {
        capacity: config.server.token_cache_entries,
        max_age: Duration::from_secs(config.server.token_cache_seconds),
    };
    let cache = TokenCache::new(remembered, store.clock().clone(), metrics);
    // On PostgreSQL other processes may work on the same data.
    Arc::new(if store.engine() == Engine::Postgres { cache.feed(STALE) } else { cache })
}

/// Who has to forget what was revoked.
#[derive(Clone)]
struct Forgetful {
    cache: Arc<TokenCache>,
    connections: Connections,
    /// The events that were heard of lately: what a process has committed itself it reads again a moment
    /// later, and who has come back meanwhile is not to be sent away twice.
    heard: Arc<Mutex<VecDeque<Id<EventKind>>>>,
}

/// How many events are known to have been heard.
const HEARD: usize = 4_096;

impl Forgetful {
    fn new(cache: &Arc<TokenCache>, connections: &Connections) -> Self {
        Self { cache: cache.clone(), connections: connections.clone(), heard: Arc::default() }
    }

    /// Says whether an event is heard for the first time, and remembers it.
    fn is_new(&self, event: &Committed) -> bool {
        let Some(id) = event.id else { return true };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.contains(&id) {
            return false;
        }
        if heard.len() == HEARD {
            heard.pop_front();
        }
        heard.push_back(id);
        true
    }

    fn revoke(&self, revocation: &Revocation) {
        self.cache.revoke(revocation);
        self.connections.revoke(revocation);
    }

    fn hear(&self, events: &[Committed]) {
        for event in events {
            let Some(revocation) = identity::revocation_of(event.tenant, &event.kind, &event.subject) else { continue };
            self.cache.revoke(&revocation);
            if !identity::only_gives(&event.kind) && self.is_new(event) {
                self.connections.revoke(&revocation);
            }
        }
    }
}

/// Forgets at once what this process revokes, and soon what others do.
pub(crate) fn forget(store: &Store, cache: &Arc<TokenCache>, connections: &Connections) -> Option<JoinHandle<()>> {
    let forgetful = Forgetful::new(cache, connections);
    let told = forgetful.clone();
    store.listen(move |events| told.hear(events));
    if store.engine() == Engine::Sqlite {
        return None;
    }
    let store = store.clone();
    Some(tokio::spawn(async move {
        let mut position = None;
        loop {
            // What was there at this moment has been passed on when the look is done.
            let began = Instant::now();
            match look(&store, &forgetful, &mut position).await {
                Ok(()) => forgetful.cache.confirm(began),
                Err(error) => {
                    tracing::warn!(error = %error, "revocations are not heard of; every token is checked anew")
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }))
}

async fn look(store: &Store, forgetful: &Forgetful, position: &mut Option<i64>) -> Result<()> {
    let after = match *position {
        Some(after) => after,
        None => {
            let last = store::last_position(store).await?;
            // What was remembered before is older than what will be heard of.
            forgetful.revoke(&Revocation::Everything);
            last
        }
    };
    let (next, events) = store::committed_after(store, after, &identity::REVOKING).await?;
    forgetful.hear(&events);
    *position = Some(next);
    Ok(())
}

/// Keeps signing keys fresh, notes who was seen, and removes what has expired.
pub(crate) fn keep(
    identity: Identity,
    store: &Store,
    cache: Arc<TokenCache>,
    connections: Connections,
) -> JoinHandle<()> {
    const PAUSE: Duration = Duration::from_secs(5);
    const CLEANING: u32 = 720;
    let (store, forgetful) = (store.clone(), Forgetful::new(&cache, &connections));
    tokio::spawn(async move {
        let mut round = 0u32;
        loop {
            tokio::time::sleep(PAUSE).await;
            round = round.wrapping_add(1);
            if let Err(error) = identity.keep_keys(&store).await {
                tracing::warn!(error = %error, "the signing keys were not looked after");
            }
            if identity.took_back_keys() {
                forgetful.revoke(&Revocation::Everything);
            }
            if let Err(error) = identity.write_last_used(&store).await {
                tracing::warn!(error = %error, "when sessions and tokens were last used is not written down");
            }
            if round.is_multiple_of(CLEANING)
                && let Err(error) = identity::remove_expired(&store).await
            {
                tracing::warn!(error = %error, "expired sessions and codes were not removed");
            }
        }
    })
}
