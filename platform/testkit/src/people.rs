//! Tenants, the people in them, what they prove themselves with, and the letters that they get. Not
//! for the application that they use.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::{Authenticate, Verified};
use identity::{Authenticator, Courier, Letter, Member, NewMember};
use kernel::{Actor, Ctx, CtxParts, PermissionSet, RequestId, TenantId, Timestamp, UserId};
use service::Role;
use store::Purpose;
use tokio::sync::Notify;
use web::{CredentialKind, Principal};

use crate::app::TestApp;

/// A tenant with an administrator, staff and a viewer, and their bearer tokens.
#[derive(Clone, Debug)]
pub struct TestTenant {
    /// The tenant.
    pub id: TenantId,
    /// Its short name.
    pub slug: String,
    /// Its administrator.
    pub admin: UserId,
    /// The administrator's token.
    pub admin_token: String,
    /// A staff member's token.
    pub staff_token: String,
    /// A viewer's token.
    pub viewer_token: String,
}

/// Tokens with any set of permissions, for trying one permission at a time.
#[derive(Clone, Default)]
pub(crate) struct Minted(Arc<Mutex<HashMap<String, Principal>>>);

/// The letters of a test, kept.
#[derive(Clone, Default)]
pub(crate) struct Letters(Arc<(Mutex<Vec<Letter>>, Notify)>);

/// How long a letter may take before the test has failed.
const LIMIT: Duration = Duration::from_secs(10);

impl Courier for Letters {
    fn send<'a>(&'a self, letter: &'a Letter) -> Pin<Box<dyn Future<Output = kernel::Result<()>> + Send + 'a>> {
        self.0.0.lock().expect("not poisoned").push(letter.clone());
        self.0.1.notify_waiters();
        Box::pin(async { Ok(()) })
    }
}

/// Knows minted tokens, and asks the identity service about others.
pub(crate) struct Bearer {
    pub minted: Minted,
    pub real: Authenticator,
}

impl Authenticate for Bearer {
    fn bearer<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = kernel::Result<Verified>> + Send + 'a>> {
        let minted = self.minted.0.lock().expect("not poisoned").get(token).cloned();
        Box::pin(async move {
            let (principal, until) = match minted {
                Some(principal) => (principal, Timestamp(i64::MAX)),
                None => {
                    let found = self.real.bearer(token).await?;
                    (found.principal, found.until)
                }
            };
            Ok(Verified { principal: Arc::new(principal), until })
        })
    }

    fn ticket<'a>(
        &'a self,
        ticket: &'a str,
        path: &'a str,
    ) -> Pin<Box<dyn Future<Output = kernel::Result<Verified>> + Send + 'a>> {
        Box::pin(async move {
            let found = self.real.ticket(ticket, path).await?;
            Ok(Verified { principal: Arc::new(found.principal), until: found.until })
        })
    }
}

impl TestApp {
    /// Creates a tenant with three people.
    pub async fn tenant(&self, name: &str) -> TestTenant {
        let slug = format!("{name}-{}", self.names.fetch_add(1, Ordering::Relaxed));
        let system = self.store.system(Purpose::Bootstrap).await.expect("a transaction");
        let tenant = system.create_tenant(&slug, name).await.expect("a tenant");
        system.commit().await.expect("kept");
        let admin = self.member(tenant.id, Role::Admin).await;
        let (staff, viewer) = (self.member(tenant.id, Role::Staff).await, self.member(tenant.id, Role::Viewer).await);
        TestTenant {
            id: tenant.id,
            slug,
            admin: admin.user,
            admin_token: self.issue(admin).await,
            staff_token: self.issue(staff).await,
            viewer_token: self.issue(viewer).await,
        }
    }

    /// Adds a person to a tenant.
    pub async fn member(&self, tenant: TenantId, role: Role) -> Member {
        let new = NewMember { name: role.name(), ..NewMember::default() };
        identity::add_member(&self.store, tenant, &new, role).await.expect("a member")
    }

    /// Gives a member a token.
    pub async fn issue(&self, member: Member) -> String {
        identity::issue_token(&self.store, member, "test").await.expect("a token")
    }

    /// Returns the tenant's administrator with every permission, to be changed and minted.
    pub fn principal(&self, tenant: &TestTenant) -> Principal {
        Principal {
            tenant: tenant.id,
            actor: Actor::User(tenant.admin),
            role: "admin".into(),
            permissions: PermissionSet::new(self.permissions.iter().copied()),
            credential: format!("credential-{}", self.names.fetch_add(1, Ordering::Relaxed)).into(),
            kind: CredentialKind::Session,
            elevated: None,
        }
    }

    /// Mints a token of this caller.
    pub fn mint(&self, principal: Principal) -> String {
        let token = format!("minted-{}", self.names.fetch_add(1, Ordering::Relaxed));
        self.minted.0.lock().expect("not poisoned").insert(token.clone(), principal);
        token
    }

    /// Mints a token of the tenant with every permission but this one.
    pub fn token_without(&self, tenant: &TestTenant, permission: &str) -> String {
        let permissions = self.permissions.iter().copied().filter(|known| *known != permission);
        self.mint(Principal { permissions: PermissionSet::new(permissions), ..self.principal(tenant) })
    }

    /// Mints a token of a superadmin inside the tenant.
    pub fn superadmin(&self, tenant: &TestTenant) -> String {
        self.mint(Principal {
            actor: Actor::Superadmin(tenant.admin),
            role: "superadmin".into(),
            elevated: Some("a test".into()),
            ..self.principal(tenant)
        })
    }

    /// Signs the tenant's administrator in, and gives the access token.
    pub async fn session(&self, tenant: &TestTenant) -> String {
        self.session_of(&tenant.slug).await
    }

    /// Signs an organisation's first administrator in, and gives the access token.
    pub async fn session_of(&self, slug: &str) -> String {
        let made = identity::create_sign_in_code(&self.store, slug).await.expect("a code");
        let body = serde_json::json!({ "code": made.code });
        let signed_in = self.post("/api/auth/login").json(&body).send().await.expect(200).json();
        signed_in["accessToken"].as_str().expect("a token").to_owned()
    }

    /// Mints an API token of the tenant with every permission.
    pub fn api_token(&self, tenant: &TestTenant) -> String {
        self.mint(Principal { kind: CredentialKind::ApiToken, ..self.principal(tenant) })
    }

    /// Returns a context of the tenant's administrator, for calling functions without a request.
    pub fn context(&self, tenant: &TestTenant) -> Ctx {
        let request_id = RequestId::create();
        Ctx::new(CtxParts {
            tenant: tenant.id,
            actor: Actor::User(tenant.admin),
            permissions: PermissionSet::new(self.permissions.iter().copied()),
            correlation_id: request_id.clone(),
            request_id,
            idempotency: None,
            reason: None,
        })
    }

    /// Returns the letters that were sent to an address, as far as they have left by now.
    pub fn letters_to(&self, address: &str) -> Vec<Letter> {
        let letters = self.letters.0.0.lock().expect("not poisoned");
        letters.iter().filter(|letter| letter.to == address).cloned().collect()
    }

    /// Waits for a letter to an address, the first being number 1.
    pub async fn letter_to(&self, address: &str, number: usize) -> Letter {
        let there = async {
            loop {
                // Made before looking, so that a letter in between is heard of.
                let more = self.letters.0.1.notified();
                if let Some(letter) = self.letters_to(address).get(number - 1) {
                    return letter.clone();
                }
                more.await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, there).await;
        waited.unwrap_or_else(|_| panic!("letter {number} to {address} did not come"))
    }

    /// Waits for a letter to an address, and returns the code in it.
    pub async fn code_in_letter(&self, address: &str, number: usize) -> String {
        let text = self.letter_to(address, number).await.text;
        let (_, rest) = text.split_once("?code=").unwrap_or_else(|| panic!("no code in: {text}"));
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    }
}
