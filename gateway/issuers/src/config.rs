//! What an operator says of an issuer. Not for whether it can be right, which `check` says, nor for the
//! claims' meaning at run time, which `claims` compiles.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use kernel::Error;
use serde::{Deserialize, Serialize};

/// What is accepted when nothing is said: asymmetric signatures only (RFC 8725, section 3.1).
const ASYMMETRIC: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// A text that is written nowhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "(secret)" })
    }
}

/// One issuer of access tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How routes, log and metrics call it.
    pub name: String,
    /// The `iss` of its tokens, to the letter.
    pub issuer: String,
    /// A token must be for one of them (`aud`).
    pub audiences: Vec<String>,
    /// Finds the keys by OpenID Connect Discovery: `ISSUER/.well-known/openid-configuration`.
    pub discover: bool,
    /// Where the keys are, instead.
    pub jwks_url: String,
    /// A file with the keys, instead; it is read again and again.
    pub jwks_file: PathBuf,
    /// The shared secret of HS256, instead: at least 32 bytes.
    pub secret: Secret,
    /// Certificate authorities for fetching keys, as PEM, besides the system's.
    pub certificate_file: PathBuf,
    /// Lets keys come over http:// from hosts other than this one: whoever is on the way can forge tokens.
    pub plain_http: bool,
    /// Signatures that are accepted; empty: RS256, PS256, ES256, ES384, EdDSA (HS256 with a secret).
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` headers, with or without `application/`, in any case.
    pub types: Vec<String>,
    /// Accepts tokens without a `typ`.
    pub untyped: bool,
    /// How far the issuer's clock may be off, at most 60.
    pub skew_seconds: u32,
    /// Claims that must be there, as paths.
    pub required_claims: Vec<String>,
    /// Claims, as paths, that must have one of these values (or hold one, as a list).
    pub claim_values: BTreeMap<String, Vec<String>>,
    /// Which claims say who calls.
    pub claims: Claims,
    /// What each scope permits.
    pub scope_permissions: BTreeMap<String, Vec<String>>,
    /// What each role permits.
    pub role_permissions: BTreeMap<String, Vec<String>>,
    /// How often keys are fetched without a reason, give or take a tenth.
    pub refresh_seconds: u32,
    /// How often at most they are fetched because a token names a key that is not known.
    pub refetch_window_ms: u64,
    /// How long such a token waits for that before it is answered 503.
    pub unknown_key_wait_ms: u64,
    /// How long fetching keys may take.
    pub fetch_timeout_ms: u64,
    /// How long keys are believed that could not be fetched again; 0: for as long as it takes.
    pub stale_limit_seconds: u64,
}

/// Which claims say who calls. A path is a claim's name, or names of nested claims with dots between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Claims {
    /// Who it is.
    pub subject: String,
    /// For which tenant; empty when all are of `fixed_tenant`.
    pub tenant: String,
    /// The tenant of tokens that name none; empty: such tokens are refused.
    pub fixed_tenant: String,
    /// Whose names of tenants these are; issuers with the same word share tenants. Empty: the issuer's name.
    pub tenant_space: String,
    /// Takes a tenant or subject that is an id of ours (a UUID, `ten_…`, `usr_…`) for what it is. Otherwise no
    /// token of this issuer can name a tenant or user of the installation itself.
    pub trust_ids: bool,
    /// Scopes: words in a text, or a list.
    pub scopes: String,
    /// Roles: words in a text, or a list.
    pub roles: String,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            subject: "sub".into(),
            tenant: "tenant".into(),
            fixed_tenant: String::new(),
            tenant_space: String::new(),
            trust_ids: false,
            scopes: "scope".into(),
            roles: "roles".into(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            issuer: String::new(),
            audiences: Vec::new(),
            discover: false,
            jwks_url: String::new(),
            jwks_file: PathBuf::new(),
            secret: Secret::default(),
            certificate_file: PathBuf::new(),
            plain_http: false,
            algorithms: Vec::new(),
            types: vec!["at+jwt".into(), "JWT".into()],
            untyped: false,
            skew_seconds: 30,
            required_claims: Vec::new(),
            claim_values: BTreeMap::new(),
            claims: Claims::default(),
            scope_permissions: BTreeMap::new(),
            role_permissions: BTreeMap::new(),
            refresh_seconds: 300,
            refetch_window_ms: 10_000,
            unknown_key_wait_ms: 2_000,
            fetch_timeout_ms: 5_000,
            stale_limit_seconds: 86_400,
        }
    }
}

impl Config {
    /// Returns the refusal of a key.
    pub(crate) fn wrong(&self, key: &str, why: &str) -> Error {
        Error::invalid("config.invalid", format!("gateway.issuers `{}`: {key}: {why}", self.name))
    }

    /// Returns the signatures that are accepted, the preferred one first.
    pub(crate) fn accepted(&self) -> Vec<Algorithm> {
        match (self.algorithms.as_slice(), self.secret.0.is_empty()) {
            ([], true) => ASYMMETRIC.to_vec(),
            ([], false) => vec![Algorithm::HS256],
            (algorithms, _) => algorithms.to_vec(),
        }
    }

    /// Returns how long fetching may take.
    pub(crate) fn fetch_timeout(&self) -> Duration {
        Duration::from_millis(self.fetch_timeout_ms)
    }

    /// Says whether both get the same keys from the same place in the same way.
    pub(crate) fn same_source(&self, other: &Self) -> bool {
        let source = |config: &Self| {
            let place = (config.discover, config.jwks_url.clone(), config.jwks_file.clone(), config.secret.clone());
            let trust = (config.certificate_file.clone(), config.plain_http, config.accepted());
            let times = (
                config.refresh_seconds,
                config.refetch_window_ms,
                config.unknown_key_wait_ms,
                config.fetch_timeout_ms,
                config.stale_limit_seconds,
            );
            (config.name.clone(), config.issuer.clone(), place, trust, times)
        };
        source(self) == source(other)
    }
}
