//! Signing secrets and signatures as Standard Webhooks writes them: `whsec_` and the Base64 of the
//! key; HMAC-SHA256 over id, time and body. The database holds secrets sealed. Not for verifying.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::{Error, Result, TenantId, Timestamp};
use sha2::Sha256;
use store::{Place, Vault};

use crate::endpoint::{EndpointId, Model};

const BYTES: usize = 32;

/// A signing secret.
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    /// Returns a new secret.
    pub(crate) fn create() -> Result<Self> {
        let mut bytes = vec![0; BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::internal(format!("the system's random source failed: {error}")))?;
        Ok(Self(bytes))
    }

    /// Returns the secret as its owner gets it, once.
    pub(crate) fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    /// Seals it as the present secret of an endpoint.
    pub(crate) fn seal(&self, vault: &Vault, tenant: TenantId, endpoint: EndpointId) -> Result<Vec<u8>> {
        self.seal_in("secret_sealed", vault, tenant, endpoint)
    }

    /// Seals it as the secret before the present one.
    pub(crate) fn seal_as_old(&self, vault: &Vault, tenant: TenantId, endpoint: EndpointId) -> Result<Vec<u8>> {
        self.seal_in("old_secret_sealed", vault, tenant, endpoint)
    }

    fn seal_in(&self, column: &str, vault: &Vault, tenant: TenantId, endpoint: EndpointId) -> Result<Vec<u8>> {
        vault.seal(&place(column, tenant, &endpoint.to_string()), &self.0)
    }

    /// Returns an endpoint's present secret.
    pub(crate) fn of(vault: &Vault, endpoint: &Model) -> Result<Self> {
        let row = endpoint.id.to_string();
        Ok(Self(vault.open(&place("secret_sealed", endpoint.tenant_id, &row), &endpoint.secret_sealed)?))
    }

    /// Returns the secrets that sign for an endpoint at a moment: the present one, and the one before
    /// it for a while.
    pub(crate) fn live(vault: &Vault, endpoint: &Model, now: Timestamp) -> Result<Vec<Self>> {
        let mut secrets = vec![Self::of(vault, endpoint)?];
        let old = endpoint.old_secret_until.is_some_and(|until| until > now);
        if let Some(sealed) = endpoint.old_secret_sealed.as_ref().filter(|_| old) {
            let row = endpoint.id.to_string();
            secrets.push(Self(vault.open(&place("old_secret_sealed", endpoint.tenant_id, &row), sealed)?));
        }
        Ok(secrets)
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Returns the value of `webhook-signature`: one signature a secret.
pub(crate) fn signatures(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    signed.join(" ")
}

fn place<'a>(column: &'a str, tenant: TenantId, row: &'a str) -> Place<'a> {
    Place { table: "webhooks_endpoint", column, tenant: Some(tenant), row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = Secret(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("Base64"));
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_written_as_the_libraries_read_it() {
        let secret = Secret::create().expect("random");
        let text = secret.text();
        let bytes = STANDARD.decode(text.strip_prefix("whsec_").expect("the prefix")).expect("Base64");
        assert!((24..=64).contains(&bytes.len()));
        assert_ne!(text, Secret::create().expect("random").text());
        let both = signatures(&[secret, Secret::create().expect("random")], "evt_1", 1, b"{}");
        assert_eq!(both.split(' ').filter(|signature| signature.starts_with("v1,")).count(), 2);
    }
}
