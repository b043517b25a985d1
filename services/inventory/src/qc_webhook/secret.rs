//! Signing secrets and the check of signatures as Standard Webhooks writes them: `whsec_` and the
//! Base64 of the key; HMAC-SHA256 over id, time and body. The database holds secrets sealed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::{Error, Result, TenantId, Timestamp};
use sha2::Sha256;
use store::{Place, Vault};

use super::key::{Model, QcKeyId};
use super::message::Signed;

const BYTES: usize = 32;
const PRESENT: &str = "secret_sealed";
const OLD: &str = "old_secret_sealed";

/// A signing secret.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    /// Returns a new secret.
    pub(super) fn create() -> Result<Self> {
        let mut bytes = vec![0; BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::internal(format!("the system's random source failed: {error}")))?;
        Ok(Self(bytes))
    }

    /// Returns a secret that nobody signs with, so that an unknown key takes as long as a known one.
    pub(super) fn of_nobody() -> Self {
        Self(vec![0; BYTES])
    }

    /// Returns the secret as its owner gets it, once.
    pub(super) fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    /// Seals it as the present secret of a key.
    pub(super) fn seal(&self, vault: &Vault, tenant: TenantId, key: QcKeyId) -> Result<Vec<u8>> {
        vault.seal(&place(PRESENT, tenant, &key.to_string()), &self.0)
    }

    /// Seals it as the secret before the present one.
    pub(super) fn seal_as_old(&self, vault: &Vault, tenant: TenantId, key: QcKeyId) -> Result<Vec<u8>> {
        vault.seal(&place(OLD, tenant, &key.to_string()), &self.0)
    }

    /// Returns a key's present secret.
    pub(super) fn of(vault: &Vault, key: &Model) -> Result<Self> {
        Ok(Self(vault.open(&place(PRESENT, key.tenant_id, &key.id.to_string()), &key.secret_sealed)?))
    }

    /// Returns the secrets that sign under a key at a moment: the present one, and the one before it
    /// for a while.
    pub(super) fn live(vault: &Vault, key: &Model, now: Timestamp) -> Result<Vec<Self>> {
        let mut secrets = vec![Self::of(vault, key)?];
        let old = key.old_secret_until.is_some_and(|until| until > now);
        if let Some(sealed) = key.old_secret_sealed.as_ref().filter(|_| old) {
            secrets.push(Self(vault.open(&place(OLD, key.tenant_id, &key.id.to_string()), sealed)?));
        }
        Ok(secrets)
    }

    /// Says whether one of the signatures is by this secret; in the same time whichever byte differs.
    pub(super) fn signed(&self, message: &Signed, body: &[u8]) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{}.{}.", message.id, message.timestamp).as_bytes());
        mac.update(body);
        message.signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    }
}

fn place<'a>(column: &'a str, tenant: TenantId, row: &'a str) -> Place<'a> {
    Place { table: "inventory_qc_key", column, tenant: Some(tenant), row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_is_taken_and_nothing_near_it() {
        let secret = Secret(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("Base64"));
        let mut signature = STANDARD.decode("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=").expect("Base64");
        let body = br#"{"test": 2432232314}"#;
        let message = |id: &str, timestamp: &str, signatures: Vec<Vec<u8>>| Signed {
            key: QcKeyId::new(),
            id: id.to_owned(),
            timestamp: timestamp.to_owned(),
            signatures,
        };
        let (id, timestamp) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let right = message(id, timestamp, vec![vec![0; 32], signature.clone()]);
        assert!(secret.signed(&right, body));
        assert!(!secret.signed(&right, &body[1..]));
        assert!(!Secret::of_nobody().signed(&right, body));
        assert!(!secret.signed(&message(id, "1614265331", vec![signature.clone()]), body));
        assert!(!secret.signed(&message("msg_p", timestamp, vec![signature.clone()]), body));
        assert!(!secret.signed(&message(id, timestamp, vec![]), body));
        assert!(!secret.signed(&message(id, timestamp, vec![signature[..31].to_vec()]), body));
        signature[31] ^= 1;
        assert!(!secret.signed(&message(id, timestamp, vec![signature]), body));
    }
}
