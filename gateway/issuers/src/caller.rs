//! Whom the claims of a token name, in Portico's terms: tenant, person, permissions. Not for whether the
//! token is believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Actor, PermissionSet, TenantId, Timestamp, UserId};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use web::{CredentialKind, Principal};

use crate::claims::{Path, value_text};
use crate::config::Config;
use crate::token::Why;

/// The longest subject or tenant, in bytes.
const LONGEST: usize = 255;

/// Somebody whose token was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The issuer's name in the configuration.
    pub issuer: Arc<str>,
    /// Who it is, as the issuer says.
    pub subject: Arc<str>,
    /// The same as an id, which no person of the installation has.
    pub user: UserId,
    /// For which tenant.
    pub tenant: TenantId,
    /// The tenant as the issuer calls it, for a header to the upstream.
    pub tenant_name: Option<Arc<str>>,
    /// What the scopes and roles permit.
    pub permissions: PermissionSet,
    /// The roles as they are in the token.
    pub roles: Arc<[Arc<str>]>,
    /// The scopes as they are in the token.
    pub scopes: Arc<[Arc<str>]>,
    /// When the token is no longer believed.
    pub until: Timestamp,
    /// The key that signed it, if it has a name.
    pub key_id: Option<Arc<str>>,
    /// The token's own id (`jti`), if it has one.
    pub token_id: Option<Arc<str>>,
}

impl Caller {
    /// Returns the caller as the rest of the house knows callers. The credential is `jwt:ISSUER:ID`, where
    /// the id is the token's, or the subject for want of one.
    pub fn into_principal(self) -> Principal {
        let id = self.token_id.as_deref().unwrap_or(&self.subject);
        Principal {
            tenant: self.tenant,
            actor: Actor::User(self.user),
            role: self.roles.first().cloned().unwrap_or_else(|| "".into()),
            permissions: self.permissions,
            credential: format!("jwt:{}:{id}", self.issuer).into(),
            kind: CredentialKind::ApiToken,
            elevated: None,
        }
    }
}

/// How the claims of one issuer are read.
pub(crate) struct Mapping {
    name: Arc<str>,
    subject: Option<Path>,
    tenant: Option<Path>,
    fixed_tenant: Option<Arc<str>>,
    tenant_space: Arc<str>,
    trust_ids: bool,
    scopes: Option<Path>,
    roles: Option<Path>,
    scope_permissions: BTreeMap<String, Vec<String>>,
    role_permissions: BTreeMap<String, Vec<String>>,
}

impl Mapping {
    /// Compiles the mapping.
    pub(crate) fn new(config: &Config) -> Self {
        let claims = &config.claims;
        let space = if claims.tenant_space.is_empty() { &config.name } else { &claims.tenant_space };
        Self {
            name: config.name.as_str().into(),
            subject: Path::new(&claims.subject),
            tenant: Path::new(&claims.tenant),
            fixed_tenant: (!claims.fixed_tenant.is_empty()).then(|| claims.fixed_tenant.as_str().into()),
            tenant_space: space.as_str().into(),
            trust_ids: claims.trust_ids,
            scopes: Path::new(&claims.scopes),
            roles: Path::new(&claims.roles),
            scope_permissions: config.scope_permissions.clone(),
            role_permissions: config.role_permissions.clone(),
        }
    }

    /// Says whom the claims name.
    pub(crate) fn caller(
        &self,
        claims: &Map<String, Value>,
        until: Timestamp,
        key_id: Option<&str>,
    ) -> Result<Caller, Why> {
        let subject = self.subject.as_ref().and_then(|path| path.find(claims)).ok_or("no subject")?;
        let subject = name(subject).ok_or("a subject that is no name")?;
        let tenant = match self.tenant.as_ref().and_then(|path| path.find(claims)) {
            Some(value) => name(value).ok_or("a tenant that is no name")?,
            None => self.fixed_tenant.clone().ok_or("no tenant")?,
        };
        let scopes = words(self.scopes.as_ref().and_then(|path| path.find(claims)))?;
        let roles = words(self.roles.as_ref().and_then(|path| path.find(claims)))?;
        let permitted = |words: &Arc<[Arc<str>]>, table: &BTreeMap<String, Vec<String>>| -> Vec<String> {
            words.iter().filter_map(|word| table.get(&**word)).flatten().cloned().collect()
        };
        let mut permissions = permitted(&scopes, &self.scope_permissions);
        permissions.extend(permitted(&roles, &self.role_permissions));
        let given = |text: &str| self.trust_ids.then(|| text.to_owned());
        Ok(Caller {
            issuer: self.name.clone(),
            user: given(&subject)
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| UserId::from_uuid(derived("subject", &self.name, &subject))),
            subject,
            tenant: given(&tenant)
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| TenantId::from_uuid(derived("tenant", &self.tenant_space, &tenant))),
            tenant_name: Some(tenant),
            permissions: PermissionSet::new(permissions),
            roles,
            scopes,
            until,
            key_id: key_id.map(Into::into),
            token_id: claims.get("jti").and_then(name),
        })
    }
}

/// Makes an id of a name. Its version is 8 (RFC 9562, section 5.8), and ours are 7: they never meet.
fn derived(what: &str, space: &str, name: &str) -> Uuid {
    let mut hash = Sha256::new();
    for part in ["portico issuers", what, space, name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Reads a name: it may end up in a header and in the log, so it has no control characters.
fn name(value: &Value) -> Option<Arc<str>> {
    let text = value_text(value)?;
    let fits = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
    fits.then(|| text.into())
}

/// Reads words: a text of them (RFC 6749, section 3.3), or a list.
fn words(value: Option<&Value>) -> Result<Arc<[Arc<str>]>, Why> {
    let word = |text: &str| -> Option<Arc<str>> {
        let fits = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
        fits.then(|| text.into())
    };
    let read: Option<Vec<Arc<str>>> = match value {
        None => Some(Vec::new()),
        Some(Value::String(text)) => text.split(' ').filter(|part| !part.is_empty()).map(word).collect(),
        Some(Value::Array(list)) => list.iter().map(|part| part.as_str().and_then(word)).collect(),
        Some(_) => None,
    };
    read.map(Into::into).ok_or("scopes or roles that are no words")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Claims;

    const UNTIL: Timestamp = Timestamp(9);

    fn config() -> Config {
        let table = |from: &str, to: &[&str]| {
            BTreeMap::from([(from.to_owned(), to.iter().map(|text| (*text).to_owned()).collect())])
        };
        Config {
            name: "login".into(),
            scope_permissions: table("read:items", &["items.read", "items.list"]),
            role_permissions: table("admin", &["items.write"]),
            ..Config::default()
        }
    }

    fn caller(config: &Config, claims: Value) -> Result<Caller, Why> {
        let Value::Object(claims) = claims else { panic!("an object") };
        Mapping::new(config).caller(&claims, UNTIL, Some("k1"))
    }

    #[test]
    fn claims_become_a_caller() {
        let claims = json!({ "sub": "u1", "tenant": "acme", "scope": "openid read:items", "roles": ["admin", "x"],
                             "jti": "t1" });
        let caller = caller(&config(), claims).expect("a caller");
        assert_eq!((&*caller.issuer, &*caller.subject, caller.until), ("login", "u1", UNTIL));
        assert_eq!(caller.tenant_name.as_deref(), Some("acme"));
        assert_eq!(caller.permissions.iter().collect::<Vec<_>>(), ["items.list", "items.read", "items.write"]);
        assert_eq!(caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["admin", "x"]);
        assert_eq!(caller.scopes.len(), 2);
        assert_eq!((caller.key_id.as_deref(), caller.token_id.as_deref()), (Some("k1"), Some("t1")));
        let principal = caller.clone().into_principal();
        assert_eq!((&*principal.credential, &*principal.role), ("jwt:login:t1", "admin"));
        assert_eq!((principal.tenant, principal.actor), (caller.tenant, Actor::User(caller.user)));
    }

    #[test]
    fn names_of_tenants_are_ids_that_stay_and_do_not_meet_those_of_others() {
        let tenant = |config: &Config, name: Value| caller(config, json!({ "sub": "u", "tenant": name })).expect("one");
        let (config, other) = (config(), Config { name: "other".into(), ..config() });
        let acme = tenant(&config, json!("acme"));
        assert_eq!(acme.tenant, tenant(&config, json!("acme")).tenant);
        assert_eq!(acme.tenant.uuid().to_string(), "4273344b-dedd-8d76-bee4-497de4c73e1a", "for ever");
        assert_ne!(acme.tenant, tenant(&config, json!("Acme")).tenant);
        assert_ne!(acme.tenant, tenant(&other, json!("acme")).tenant);
        assert_ne!(acme.user, tenant(&other, json!("acme")).user);
        assert_eq!(acme.tenant.uuid().get_version_num(), 8);
        let shared = |config: &Config| Config {
            claims: Claims { tenant_space: "company".into(), ..Claims::default() },
            ..config.clone()
        };
        assert_eq!(tenant(&shared(&config), json!("acme")).tenant, tenant(&shared(&other), json!("acme")).tenant);
        assert_eq!(tenant(&config, json!(7)).tenant_name.as_deref(), Some("7"));
    }

    #[test]
    fn ids_of_ours_count_only_where_they_are_trusted() {
        let (id, user) = (TenantId::new(), UserId::new());
        let claims = |text: String| json!({ "sub": user.to_string(), "tenant": text });
        let strange = caller(&config(), claims(id.to_string())).expect("a caller");
        assert_ne!(strange.tenant, id);
        assert_ne!(strange.user, user);
        let trusting = Config { claims: Claims { trust_ids: true, ..Claims::default() }, ..config() };
        for text in [id.to_string(), id.uuid().to_string()] {
            let known = caller(&trusting, claims(text)).expect("a caller");
            assert_eq!((known.tenant, known.user), (id, user));
        }
        let named = caller(&trusting, json!({ "sub": "u", "tenant": "acme" })).expect("a caller");
        assert_eq!(named.tenant.uuid().get_version_num(), 8);
    }

    #[test]
    fn nested_claims_and_a_fixed_tenant() {
        let claims = Claims { tenant: "org.id".into(), roles: "realm.roles".into(), ..Claims::default() };
        let nested = Config { claims: claims.clone(), ..config() };
        let found = caller(&nested, json!({ "sub": "u", "org": { "id": "a" }, "realm": { "roles": "admin b" } }));
        let found = found.expect("a caller");
        assert_eq!((found.tenant_name.as_deref(), found.roles.len()), (Some("a"), 2));
        let fixed = Config { claims: Claims { fixed_tenant: "all".into(), ..claims }, ..config() };
        assert_eq!(caller(&fixed, json!({ "sub": "u" })).expect("a caller").tenant_name.as_deref(), Some("all"));
    }

    #[test]
    fn claims_that_name_nobody_are_refused() {
        let long = "a".repeat(LONGEST + 1);
        for claims in [
            json!({ "tenant": "a" }),
            json!({ "sub": "", "tenant": "a" }),
            json!({ "sub": null, "tenant": "a" }),
            json!({ "sub": ["u"], "tenant": "a" }),
            json!({ "sub": "u\r\nx-tenant: b", "tenant": "a" }),
            json!({ "sub": "u" }),
            json!({ "sub": "u", "tenant": null }),
            json!({ "sub": "u", "tenant": "" }),
            json!({ "sub": "u", "tenant": ["a"] }),
            json!({ "sub": "u", "tenant": { "id": "a" } }),
            json!({ "sub": "u", "tenant": "a\u{0}" }),
            json!({ "sub": "u", "tenant": long }),
            json!({ "sub": "u", "tenant": "a", "scope": 1 }),
            json!({ "sub": "u", "tenant": "a", "scope": [1] }),
            json!({ "sub": "u", "tenant": "a", "roles": { "admin": true } }),
        ] {
            assert!(caller(&config(), claims.clone()).is_err(), "{claims}");
        }
    }
}
