//! Making a tenant, a part in each service: what was asked for, the part as its service declares it,
//! and the transaction that a part works in. Not for the order of the parts nor for the tenant's own
//! row: see the tenants service.

use std::collections::BTreeMap;

use kernel::{Error, Kind, Result, TenantId};
use serde::{Deserialize, Serialize};
use store::{Purpose, System};
use tasks::{SagaRun, Step};

/// A tenant that is to be made, as every part of making it reads it. It holds no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewTenant {
    /// Names it; known from the beginning, so that every step can be repeated.
    pub id: TenantId,
    /// Its short name in addresses.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// What it has booked, if that was said.
    pub plan: Option<String>,
    /// Its IANA time zone, if that was said.
    pub time_zone: Option<String>,
    /// Its ISO 4217 currency, if that was said.
    pub currency: Option<String>,
    /// The e-mail address of its first administrator.
    pub admin_email: String,
    /// What it may use, by name.
    pub quotas: BTreeMap<String, i64>,
    /// Its first flags, by key.
    pub flags: BTreeMap<String, bool>,
    /// Who asked, as audit columns record it.
    pub asked_by: String,
    /// Why, as whoever asked said.
    pub reason: Option<String>,
}

/// A service's part in making a tenant.
#[derive(Clone)]
pub struct Provisioning {
    /// Does the part, and takes it back when another part fails. It records no event: nobody may hear
    /// of a tenant that may yet be taken back.
    pub step: Step,
    /// Refuses what the step could never do; asked before anything is made.
    pub check: fn(&NewTenant) -> Result<()>,
}

impl NewTenant {
    /// Returns the tenant that a saga makes.
    pub fn of(run: &SagaRun) -> Result<Self> {
        let read = serde_json::from_value(run.input().clone());
        read.map_err(|error| Error::internal("what a tenant is to be made from cannot be read").source_error(error))
    }

    /// Opens a transaction for doing a part. It fails unless the tenant is there and still being made, and
    /// keeps it so until it ends: a worker that was overtaken adds nothing to what the next one took back.
    pub async fn build(&self, run: &SagaRun) -> Result<System> {
        let system = run.store().system(Purpose::Bootstrap).await?;
        let refused = match system.tenant_locked(self.id).await {
            Ok(tenant) if tenant.is_abandoned() => taken_back(),
            Ok(tenant) if tenant.is_provisioning() => return Ok(system),
            Ok(_) => made_already(),
            Err(error) if error.kind() == Kind::NotFound => taken_back(),
            Err(error) => return Err(error),
        };
        system.close().await?;
        Err(refused)
    }

    /// Opens a transaction for taking a part back; nothing when the tenant is gone. It must be committed,
    /// for it also ends the making: no part is done any more. It fails when the tenant is made: people may
    /// be at work in it.
    pub async fn take_back(&self, run: &SagaRun) -> Result<Option<System>> {
        let system = run.store().system(Purpose::Bootstrap).await?;
        // Waits for a part that is being done, so that what it adds is there to be taken back.
        if system.begin_abandoning(self.id).await? {
            return Ok(Some(system));
        }
        let found = system.tenant(self.id).await;
        system.close().await?;
        match found {
            Ok(_) => Err(made_already()),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the refusal of a step that comes after its tenant was given up.
pub fn taken_back() -> Error {
    Error::conflict("tenants.taken_back", "making this organisation was given up")
}

fn made_already() -> Error {
    Error::conflict("tenants.made_already", "this organisation is made: nothing of it is taken back")
}

/// Short names that would be taken for something else.
const RESERVED: [&str; 16] = [
    "admin", "api", "app", "auth", "billing", "docs", "health", "help", "login", "mail", "operator", "platform",
    "portico", "status", "support", "www",
];

/// Says what is wrong with an organisation's short name, if anything.
pub fn check_slug(slug: &str) -> Result<(), String> {
    let letters = slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !(3..=40).contains(&slug.len()) || !letters || slug.starts_with('-') || slug.ends_with('-') {
        return Err("must have 3 to 40 of a-z, 0-9 and -, and no - at its ends".to_owned());
    }
    if RESERVED.contains(&slug) { Err("is reserved".to_owned()) } else { Ok(()) }
}
