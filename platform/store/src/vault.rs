//! Seals secrets that have to be used again, such as signing keys, so that a copy of the database
//! alone is worth nothing (decision 0007). AES-256-GCM under a master key that is not in the
//! database; table, column, tenant and row are authenticated with the value, so it cannot be moved.
//! Not for secrets that only have to be recognised: those are hashed.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use kernel::{Error, Result, TenantId};
use sha2::{Digest as _, Sha256};

/// How sealed values are written: format, key id, nonce, ciphertext with its tag.
const FORMAT: u8 = 1;
const KEY_ID: usize = 4;
const HEAD: usize = 1 + KEY_ID + NONCE_LEN;

/// Seals and opens secrets under the installation's master key.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    key: LessSafeKey,
    id: [u8; KEY_ID],
}

/// Where a sealed value stands; it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// The tenant, where the row has one.
    pub tenant: Option<TenantId>,
    /// The row's key.
    pub row: &'a str,
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        let tenant = self.tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
        let mut bytes = Vec::new();
        for part in [self.table, self.column, &tenant, self.row] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

impl Vault {
    /// Returns a vault under this master key.
    pub fn new(master_key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, master_key).expect("AES-256 takes 32 bytes");
        let mut hash = Sha256::new();
        hash.update(b"portico master key id");
        hash.update(master_key);
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        Self(Arc::new(Inner { key: LessSafeKey::new(key), id }))
    }

    /// Returns the name of the master key, which tells nothing about it.
    pub fn key_id(&self) -> String {
        hex(&self.0.id)
    }

    /// Seals a secret for one place.
    pub fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>> {
        let failed = || Error::internal("a secret could not be sealed");
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| failed().context(error.to_string()))?;
        let mut sealed = secret.to_vec();
        let aad = Aad::from(place.bytes());
        let nonce_value = Nonce::assume_unique_for_key(nonce);
        self.0.key.seal_in_place_append_tag(nonce_value, aad, &mut sealed).map_err(|_| failed())?;
        Ok([&[FORMAT], &self.0.id[..], &nonce, &sealed].concat())
    }

    /// Opens a sealed secret; under another key, at another place or altered, it does not open.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>> {
        let damaged = || Error::internal(format!("the sealed {}.{} is damaged", place.table, place.column));
        let (head, body) = sealed.split_at_checked(HEAD).ok_or_else(damaged)?;
        let (id, nonce) = head[1..].split_at(KEY_ID);
        if head[0] != FORMAT {
            return Err(damaged());
        }
        if id != self.0.id {
            let message = format!(
                "{} was sealed under the master key {}, this process has {}: give it the same PORTICO_MASTER_KEY or \
                 secrets/master.key; if that is lost, `portico admin forget-secrets`",
                place.table,
                hex(id),
                self.key_id()
            );
            return Err(Error::unavailable("config.master_key", message));
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut opened = body.to_vec();
        let length = self.0.key.open_in_place(nonce, Aad::from(place.bytes()), &mut opened);
        let length = length.map_err(|_| damaged())?.len();
        opened.truncate(length);
        Ok(opened)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.key_id())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { table: "key", column: "private", tenant: None, row: "1" };

    #[test]
    fn a_sealed_value_opens_at_its_own_place_under_its_own_key_only() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal(&PLACE, b"the secret").expect("seals");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(vault.open(&PLACE, &sealed).expect("opens"), b"the secret");
        assert_ne!(vault.seal(&PLACE, b"the secret").expect("seals"), sealed, "a nonce of its own");
        for place in [
            Place { row: "2", ..PLACE },
            Place { column: "public", ..PLACE },
            Place { table: "ke", ..PLACE },
            Place { tenant: Some(TenantId::new()), ..PLACE },
        ] {
            assert!(vault.open(&place, &sealed).is_err(), "{place:?}");
        }
        for byte in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[byte] ^= 1;
            assert!(vault.open(&PLACE, &altered).is_err(), "byte {byte}");
            assert!(vault.open(&PLACE, &sealed[..byte]).is_err(), "cut at {byte}");
        }
        let other = Vault::new(&[8; 32]).open(&PLACE, &sealed).expect_err("another key");
        assert_eq!(other.code(), "config.master_key");
        assert!(other.message().contains(&vault.key_id()), "{}", other.message());
        assert_eq!(format!("{vault:?}"), format!("Vault({})", vault.key_id()));
    }
}
