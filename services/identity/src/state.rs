//! What the identity service keeps in memory: settings, the password pool, the counts of attempts,
//! the signing keys, who was seen lately. One per process, shared by its routes and by the
//! authenticator. Not for anything that must survive the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use kernel::{Error, Result, TenantId, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use store::{Purpose, Store, System, Vault};

use crate::credentials::keys::{AT_ONCE, KeyRing};
use crate::credentials::password::PasswordPool;
use crate::credentials::throttle::Throttle;
use crate::letters::{Courier, Letter};
use crate::settings::Settings;
use crate::tables::session::{self, SessionId};
use crate::tables::token::{self, TokenId};

/// The identity service's own state.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    settings: Settings,
    passwords: PasswordPool,
    throttle: Throttle,
    keys: KeyRing,
    vault: OnceLock<Vault>,
    courier: OnceLock<Arc<dyn Courier>>,
    seen: Mutex<HashMap<Credential, Timestamp>>,
}

/// A credential that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Credential {
    Session(TenantId, SessionId),
    Token(TenantId, TokenId),
}

impl Credential {
    fn uuid(&self) -> uuid::Uuid {
        match self {
            Self::Session(_, id) => id.uuid(),
            Self::Token(_, id) => id.uuid(),
        }
    }
}

impl Identity {
    /// Returns the state under these settings; routes answer once it is opened.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self(Arc::new(Inner {
            passwords: PasswordPool::new(&settings)?,
            settings,
            throttle: Throttle::default(),
            keys: KeyRing::default(),
            vault: OnceLock::new(),
            courier: OnceLock::new(),
            seen: Mutex::default(),
        })))
    }

    /// Makes it ready to sign people in: takes the vault and the way letters leave, and makes the
    /// first signing key where there is none.
    pub async fn open(&self, store: &Store, vault: Vault, courier: Arc<dyn Courier>) -> Result<()> {
        let inner = &self.0;
        inner.keys.keep(store, &vault, &inner.settings).await?;
        let opened = inner.vault.set(vault).is_ok() && inner.courier.set(courier).is_ok();
        if opened { Ok(()) } else { Err(Error::internal("the identity service was opened twice")) }
    }

    /// Makes it ready to recognise people who signed in elsewhere; it has no private key then.
    pub async fn open_to_verify(&self, store: &Store) -> Result<()> {
        self.0.keys.read(store, None, &self.0.settings).await
    }

    /// Keeps the signing keys fresh; call it every few seconds.
    pub async fn keep_keys(&self, store: &Store) -> Result<()> {
        match self.0.vault.get() {
            Some(vault) => self.0.keys.keep(store, vault, &self.0.settings).await,
            None => self.0.keys.read(store, None, &self.0.settings).await,
        }
    }

    /// Says whether a signing key was withdrawn since this was last asked: then nothing that it signed
    /// may be remembered.
    pub fn took_back_keys(&self) -> bool {
        self.0.keys.took_back()
    }

    /// Makes a new signing key now. It signs at once, or when it has been published long enough for
    /// everybody who verifies on their own to have met it. With `withdraw`, what older keys signed
    /// works no longer: for a key that others may have. People stay signed in, by their refresh tokens.
    pub async fn rotate_keys(&self, store: &Store, at_once: bool, withdraw: bool) -> Result<Timestamp> {
        let none = || Error::conflict("identity.no_private_keys", "ask a process that has the role identity");
        let vault = self.0.vault.get().ok_or_else(none)?;
        let (keys, settings, now) = (&self.0.keys, &self.0.settings, store.clock().now());
        let signs_from = match (at_once, withdraw) {
            (_, true) => now,
            (true, false) => now.plus(AT_ONCE),
            (false, false) => now.plus(settings.key_lead()),
        };
        let serial = keys.add(store, vault, settings, signs_from).await?;
        // Another process may have made one for later in the same moment; this one has to sign now.
        let none = || Error::unavailable("identity.busy", "another process makes a key; try again").retry_after(1);
        let serial = serial.ok_or_else(none)?;
        if withdraw {
            keys.withdraw_older(store, vault, settings, serial).await?;
        }
        Ok(signs_from)
    }

    /// Returns how many password hashes were computed and how many requests found the queue full.
    pub fn password_counts(&self) -> (u64, u64) {
        self.0.passwords.counts()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn passwords(&self) -> &PasswordPool {
        &self.0.passwords
    }

    pub(crate) fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    pub(crate) fn keys(&self) -> &KeyRing {
        &self.0.keys
    }

    pub(crate) fn vault(&self) -> Result<&Vault> {
        self.0.vault.get().ok_or_else(|| Error::internal("the identity service is not opened"))
    }

    pub(crate) fn courier(&self) -> Result<Arc<dyn Courier>> {
        self.0.courier.get().cloned().ok_or_else(|| Error::internal("the identity service is not opened"))
    }

    pub(crate) fn saw(&self, credential: Credential, now: Timestamp) {
        self.0.seen.lock().expect("nothing panics while it is held").insert(credential, now);
    }

    /// Writes down which sessions and tokens were used since it was last called.
    pub async fn write_last_used(&self, store: &Store) -> Result<()> {
        let seen = std::mem::take(&mut *self.0.seen.lock().expect("nothing panics while it is held"));
        let mut seen: Vec<(Credential, Timestamp)> = seen.into_iter().collect();
        // In one order everywhere, so that two processes wait for one another at most.
        seen.sort_by_key(|(credential, _)| credential.uuid());
        for batch in seen.chunks(BATCH) {
            let system = store.system(Purpose::SignIn).await?;
            for (credential, at) in batch {
                note_use(&system, *credential, *at).await?;
            }
            system.commit().await?;
        }
        Ok(())
    }
}

/// How many uses are written down in one transaction.
const BATCH: usize = 100;

async fn note_use(system: &System, credential: Credential, at: Timestamp) -> Result<()> {
    match credential {
        Credential::Session(tenant, id) => {
            let update = session::Entity::update_many()
                .col_expr(session::Column::LastUsedAt, Expr::val(at))
                .filter(session::Column::TenantId.eq(tenant))
                .filter(session::Column::Id.eq(id))
                .filter(session::Column::LastUsedAt.lt(at));
            system.execute(update.as_query()).await?;
        }
        Credential::Token(tenant, id) => {
            let update = token::Entity::update_many()
                .col_expr(token::Column::LastUsedAt, Expr::val(at))
                .filter(token::Column::TenantId.eq(tenant))
                .filter(token::Column::Id.eq(id));
            system.execute(update.as_query()).await?;
        }
    }
    Ok(())
}

/// Hands a letter to the courier, behind the answer: how long it takes must tell nobody whether
/// there is somebody to write to.
pub(crate) fn post(identity: &Identity, letter: Letter) -> Result<()> {
    let courier = identity.courier()?;
    tokio::spawn(async move {
        if let Err(error) = courier.send(&letter).await {
            tracing::error!(error = %error, "a letter was not sent; whoever waits for it will ask again");
        }
    });
    Ok(())
}
