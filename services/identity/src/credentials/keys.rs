//! The keys that sign access tokens (ES256, RFC 7518 section 3.4). Private halves lie sealed in the
//! database, public ones are published as JWKS (RFC 7517). A key is published before it signs, and
//! stays published until the last token that it signed has run out, so nobody ever meets an unknown
//! key. Not for the tokens: see `access_token`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use kernel::{Error, Result, Timestamp};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QueryTrait as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::{Place, Purpose, Store, Vault};

use crate::settings::Settings;
use crate::tables::signing_key::{self, Entity};

/// How much longer than its tokens a key stays published.
const MARGIN: Duration = Duration::from_secs(60);
/// The least time between two looks at the database for a key that is not known.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How soon a key signs that is to sign at once: a process that meets it must be allowed to look.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);

/// A key as this process knows it.
struct Key {
    kid: String,
    serial: i64,
    signs_from: Timestamp,
    signs_until: Timestamp,
    published_until: Timestamp,
    decoding: DecodingKey,
    jwk: Value,
    encoding: Option<EncodingKey>,
}

/// All keys, oldest first, and when they were read.
#[derive(Default)]
struct Known {
    keys: Vec<Arc<Key>>,
    by_kid: HashMap<String, Arc<Key>>,
    read_at: Option<Timestamp>,
}

/// The keys of the installation.
#[derive(Default)]
pub(crate) struct KeyRing {
    known: RwLock<Arc<Known>>,
    took_back: AtomicBool,
}

/// What signs: the key and its name.
pub(crate) struct Signer(Arc<Key>);

impl Signer {
    pub(crate) fn kid(&self) -> &str {
        &self.0.kid
    }

    pub(crate) fn key(&self) -> Result<&EncodingKey> {
        self.0.encoding.as_ref().ok_or_else(|| Error::internal("this process has no private keys"))
    }
}

impl KeyRing {
    fn known(&self) -> Arc<Known> {
        self.known.read().expect("nothing panics while it is held").clone()
    }

    /// Returns the key that signs now.
    pub(crate) fn signer(&self, now: Timestamp) -> Result<Signer> {
        let known = self.known();
        let signs = known.keys.iter().rev().find(|key| key.signs_from <= now);
        signs.cloned().map(Signer).ok_or_else(|| Error::internal("there is no signing key"))
    }

    /// Returns the public key of this name, as long as it is published, and until when it signed.
    pub(crate) fn verifier(&self, kid: &str, now: Timestamp) -> Option<(DecodingKey, Timestamp)> {
        let known = self.known();
        let key = known.by_kid.get(kid).filter(|key| key.published_until > now)?;
        Some((key.decoding.clone(), key.signs_until))
    }

    /// Says whether a token with an unknown key is worth another look at the database.
    pub(crate) fn may_look_again(&self, now: Timestamp) -> bool {
        self.known().read_at.is_none_or(|read| now >= read.plus(LOOK_AGAIN))
    }

    /// Returns the JWKS document.
    pub(crate) fn jwks(&self, now: Timestamp) -> Value {
        let known = self.known();
        let published = known.keys.iter().filter(|key| key.published_until > now);
        json!({ "keys": published.map(|key| key.jwk.clone()).collect::<Vec<_>>() })
    }

    /// Reads the keys; with a vault the private halves too.
    pub(crate) async fn read(&self, store: &Store, vault: Option<&Vault>, settings: &Settings) -> Result<()> {
        let system = store.system_read(Purpose::SignIn).await?;
        let now = system.now();
        let rows = system.all(Entity::find().order_by_asc(signing_key::Column::Serial)).await?;
        system.close().await?;
        self.set(&rows, vault, settings, now)
    }

    /// Takes these rows, oldest first, for all there are.
    fn set(
        &self,
        rows: &[signing_key::Model],
        vault: Option<&Vault>,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<()> {
        let lifetime = settings.access_lifetime() + MARGIN;
        let mut known = Known { read_at: Some(now), ..Known::default() };
        for (number, row) in rows.iter().enumerate() {
            // A key made in haste may sign before an older one that waits for its time.
            let successor = rows[number + 1..].iter().map(|later| later.signs_from).min();
            let key = Arc::new(Key::read(row, vault, successor, lifetime)?);
            known.by_kid.insert(key.kid.clone(), key.clone());
            known.keys.push(key);
        }
        let serial = |known: &Known| known.keys.last().map_or(0, |key| key.serial);
        let mut current = self.known.write().expect("nothing panics while it is held");
        // Of two reads at the same time the older one may come last. None at all means that they were
        // removed with the master key.
        if rows.is_empty() || serial(&known) >= serial(&current) {
            let gone = |key: &Arc<Key>| key.published_until > now && !known.by_kid.contains_key(&key.kid);
            if current.keys.iter().any(gone) {
                self.took_back.store(true, Ordering::SeqCst);
            }
            *current = Arc::new(known);
        }
        Ok(())
    }

    /// Says whether a key was taken back before its time since this was last asked.
    pub(crate) fn took_back(&self) -> bool {
        self.took_back.swap(false, Ordering::SeqCst)
    }

    /// Makes the next key where it is time to, and reads them all again.
    pub(crate) async fn keep(&self, store: &Store, vault: &Vault, settings: &Settings) -> Result<()> {
        self.read(store, Some(vault), settings).await?;
        let now = store.clock().now();
        let signs_from = match self.known().keys.last() {
            None => now,
            Some(last) => {
                let until = last.signs_from.plus(settings.key_lifetime());
                if until.minus(settings.key_lead()) > now {
                    return Ok(());
                }
                until.max(now.plus(settings.key_lead()))
            }
        };
        self.add(store, vault, settings, signs_from).await.map(|_| ())
    }

    /// Makes a key that signs from then on, and gives its serial, unless another process was faster.
    pub(crate) async fn add(
        &self,
        store: &Store,
        vault: &Vault,
        settings: &Settings,
        signs_from: Timestamp,
    ) -> Result<Option<i64>> {
        let system = store.system(Purpose::SignIn).await?;
        let last = system.one(Entity::find().order_by_desc(signing_key::Column::Serial)).await?;
        // Of two processes that make a key at the same moment the second meets its serial taken.
        let serial = last.map_or(1, |key| key.serial + 1);
        let row = make(vault, serial, system.now(), signs_from)?.into_active_model();
        let made = match system.insert(row).await {
            Ok(row) => {
                system.commit().await?;
                tracing::info!(key.id = row.kid, signs_from = %row.signs_from, "a signing key was made");
                Some(row.serial)
            }
            Err(error) if error.code() == "identity.signing_key_taken" => {
                system.close().await?;
                None
            }
            Err(error) => return Err(error),
        };
        self.read(store, Some(vault), settings).await?;
        Ok(made)
    }

    /// Removes all keys before this one: what they signed works no longer.
    pub(crate) async fn withdraw_older(
        &self,
        store: &Store,
        vault: &Vault,
        settings: &Settings,
        serial: i64,
    ) -> Result<()> {
        let system = store.system(Purpose::Housekeeping).await?;
        let older = Entity::delete_many().filter(signing_key::Column::Serial.lt(serial));
        system.execute(older.as_query()).await?;
        system.commit().await?;
        self.read(store, Some(vault), settings).await
    }
}

/// Makes a key pair, its private half sealed.
fn make(vault: &Vault, serial: i64, now: Timestamp, signs_from: Timestamp) -> Result<signing_key::Model> {
    let failed = |_| Error::internal("a signing key could not be made");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
    let document = pair.to_pkcs8v1().map_err(failed)?;
    let point = pair.public_key().as_ref();
    let (x, y) = point.get(1..33).zip(point.get(33..65)).ok_or_else(|| Error::internal("not a point of P-256"))?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    // RFC 7638: the members in order, without spaces.
    let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint));
    let private_sealed = vault.seal(&place(&kid), document.as_ref())?;
    Ok(signing_key::Model { kid, serial, x, y, private_sealed, created_at: now, signs_from })
}

fn place(kid: &str) -> Place<'_> {
    Place { table: "identity_signing_key", column: "private_sealed", tenant: None, row: kid }
}

impl Key {
    fn read(
        row: &signing_key::Model,
        vault: Option<&Vault>,
        successor: Option<Timestamp>,
        lifetime: Duration,
    ) -> Result<Self> {
        let decoding = DecodingKey::from_ec_components(&row.x, &row.y)
            .map_err(|error| Error::internal("a stored public key is damaged").source_error(error))?;
        let encoding = match vault {
            Some(vault) => Some(EncodingKey::from_ec_der(&vault.open(&place(&row.kid), &row.private_sealed)?)),
            None => None,
        };
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": row.kid, "x": row.x, "y": row.y,
        });
        Ok(Self {
            kid: row.kid.clone(),
            serial: row.serial,
            signs_from: row.signs_from,
            signs_until: successor.unwrap_or(Timestamp(i64::MAX)),
            published_until: successor.map_or(Timestamp(i64::MAX), |until| until.plus(lifetime)),
            decoding,
            jwk,
            encoding,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    /// Returns a ring with one key of its own.
    pub(crate) fn ring() -> KeyRing {
        let (vault, ring) = (Vault::new(&[7; 32]), KeyRing::default());
        let row = make(&vault, 1, NOW, NOW).expect("a key");
        ring.set(&[row], Some(&vault), &Settings::default(), NOW).expect("reads");
        ring
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_has_run_out() {
        let (vault, ring, settings) = (Vault::new(&[7; 32]), KeyRing::default(), Settings::default());
        let old = make(&vault, 1, NOW, NOW).expect("a key");
        let new = make(&vault, 2, NOW, later(3600)).expect("a key");
        ring.set(&[old.clone(), new.clone()], Some(&vault), &settings, NOW).expect("reads");
        let published = |now| {
            let jwks = ring.jwks(now);
            let keys = jwks["keys"].as_array().expect("a list").clone();
            keys.iter().map(|key| key["kid"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(published(NOW), [old.kid.clone(), new.kid.clone()]);
        assert_eq!(ring.signer(later(3599)).expect("a key").kid(), old.kid);
        assert_eq!(ring.signer(later(3600)).expect("a key").kid(), new.kid);
        let last = later(3600).plus(settings.access_lifetime() + MARGIN);
        assert!(ring.verifier(&old.kid, Timestamp(last.0 - 1)).is_some());
        assert!(ring.verifier(&old.kid, last).is_none());
        assert_eq!(published(last), std::slice::from_ref(&new.kid));
        assert!(!ring.jwks(NOW).to_string().contains("\"d\""), "no private half");
        // A third one in haste: the first is gone when its own last token is, not when the second's is.
        let hasty = make(&vault, 3, NOW, later(60)).expect("a key");
        ring.set(&[old.clone(), new, hasty.clone()], Some(&vault), &settings, NOW).expect("reads");
        assert_eq!(ring.signer(later(7200)).expect("a key").kid(), hasty.kid);
        assert!(ring.verifier(&old.kid, later(60).plus(settings.access_lifetime() + MARGIN)).is_none());
        // A read that began before the third was made changes nothing any more.
        ring.set(std::slice::from_ref(&old), Some(&vault), &settings, NOW).expect("reads");
        assert_eq!(ring.signer(later(60)).expect("a key").kid(), hasty.kid);
    }

    #[test]
    fn private_halves_need_the_master_key_and_verifying_does_not() {
        let (vault, ring) = (Vault::new(&[7; 32]), KeyRing::default());
        let row = make(&vault, 1, NOW, NOW).expect("a key");
        let other = Vault::new(&[8; 32]);
        let refused = ring.set(std::slice::from_ref(&row), Some(&other), &Settings::default(), NOW);
        assert_eq!(refused.expect_err("another master key").code(), "config.master_key");
        ring.set(std::slice::from_ref(&row), None, &Settings::default(), NOW).expect("public halves");
        assert!(ring.verifier(&row.kid, NOW).is_some());
        assert!(ring.signer(NOW).expect("a key").key().is_err());
    }
}
