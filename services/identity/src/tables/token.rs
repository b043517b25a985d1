//! API tokens: `ptc_<id>_<secret><checksum>`, opaque, for programs. The id finds the row, SHA-256 of
//! the secret is all that is stored, and the checksum turns typing mistakes away before the database
//! is asked. Not for people, who sign in.

use kernel::{Id, IdKind, TenantId, Timestamp, UserId};
use sea_orm::entity::prelude::*;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::credentials::secret::{self, hex, unhex, with_checksum, without_checksum};

/// Names an API token.
pub type TokenId = Id<Token>;

/// Marks the ids of API tokens.
#[derive(Debug)]
pub struct Token;
impl IdKind for Token {
    const PREFIX: &'static str = "tok";
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Token>,
    pub user_id: UserId,
    pub name: String,
    pub secret_hash: Vec<u8>,
    pub expires_at: Timestamp,
    pub scopes: Option<String>,
    pub last_used_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub version: i64,
    pub updated_at: Timestamp,
    pub updated_by: String,
    pub deleted_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

// A deleted token is a revoked one; what its events tell never holds the secret's hash.
store::tenant_entity!(
    Entity,
    Token,
    "identity.token",
    |row: &Model| json!({ "name": row.name, "user": row.user_id, "scopes": row.scopes, "expiresAt": row.expires_at })
);

const PREFIX: &str = "ptc_";
const SECRET_BYTES: usize = 32;

/// A token as its owner holds it; shown once.
pub(crate) struct Secret {
    /// Finds the row.
    pub id: Id<Token>,
    secret: [u8; SECRET_BYTES],
}

impl Secret {
    /// Returns a new secret from the system's random source.
    pub(crate) fn create() -> kernel::Result<Self> {
        Ok(Self { id: Id::new(), secret: secret::random()? })
    }

    /// Returns what is stored of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.secret).to_vec()
    }

    /// Returns the token's text.
    pub(crate) fn text(&self) -> String {
        let id = self.id.to_string();
        let digits = id.split_once('_').map_or(id.as_str(), |(_, digits)| digits);
        with_checksum(&format!("{PREFIX}{digits}_{}", hex(&self.secret)))
    }

    /// Reads a token's text; a wrong checksum never reaches the database.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (digits, secret) = without_checksum(text)?.strip_prefix(PREFIX)?.split_once('_')?;
        let id = format!("{}_{digits}", Token::PREFIX).parse().ok()?;
        Some(Self { id, secret: unhex(secret)? })
    }

    /// Says whether this is the secret with that hash, in the same time either way.
    pub(crate) fn matches(&self, hash: &[u8]) -> bool {
        self.hash().ct_eq(hash).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_a_mistyped_one_is_not() {
        let secret = Secret::create().expect("random");
        let text = secret.text();
        let read = Secret::parse(&text).expect("reads");
        assert_eq!(read.id, secret.id);
        assert!(read.matches(&secret.hash()));
        for place in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[place] = if wrong[place] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            assert!(wrong == text || Secret::parse(&wrong).is_none(), "{wrong}");
        }
        for text in ["", "ptc_", "é", "ptc_é_00000000", "Bearer x"] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
    }
}
