//! What an installation may set of the way its people sign in. Not for secrets: the master key is
//! handed to [`crate::Identity::open`].

use std::time::Duration;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// The settings of the identity service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Who issues the access tokens: `iss`.
    pub issuer: String,
    /// Whom they are for: `aud`.
    pub audience: String,
    /// How long an access token works, in seconds; 60 to 600.
    pub access_token_seconds: u64,
    /// How long a session lasts without being used, in days.
    pub session_idle_days: u64,
    /// How long a session lasts at most, in days.
    pub session_days: u64,
    /// How long a superadmin's session in a tenant lasts, in minutes.
    pub elevated_minutes: u64,
    /// Who may register.
    pub registration: Registration,
    /// The fewest characters of a new password.
    pub password_min_length: usize,
    /// How many passwords are hashed at the same time; 0 means half of the cores.
    pub password_workers: usize,
    /// How many sign-ins may wait for a worker; more are turned away.
    pub password_queue: usize,
    /// The memory of one password hash, in KiB.
    pub password_memory_kib: u32,
    /// The passes of one password hash.
    pub password_passes: u32,
    /// For how many days a key signs.
    pub signing_key_days: u64,
    /// For how many minutes a key is published before it signs.
    pub signing_key_lead_minutes: u64,
    /// Where letters lead people: the address of the front end.
    pub front_end_url: String,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Anyone who can read a letter sent to their address; the answer never tells who is known.
    Confirm,
    /// Anyone, at once. Tells whether an address is known; for trials and closed networks.
    Open,
    /// Nobody without an invitation.
    Closed,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer: "portico".to_owned(),
            audience: "portico".to_owned(),
            access_token_seconds: 600,
            session_idle_days: 14,
            session_days: 30,
            elevated_minutes: 30,
            registration: Registration::Confirm,
            password_min_length: 12,
            password_workers: 0,
            password_queue: 64,
            password_memory_kib: 19_456,
            password_passes: 2,
            signing_key_days: 30,
            signing_key_lead_minutes: 60,
            front_end_url: "http://127.0.0.1:8080".to_owned(),
        }
    }
}

const DAY: u64 = 24 * 3600;

impl Settings {
    /// Refuses what would be unsafe or cannot work.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid("config.invalid", format!("identity.{key} must be from {least} to {most}")))
        };
        within("access_token_seconds", self.access_token_seconds, 60, 600)?;
        within("session_days", self.session_days, 1, 365)?;
        within("session_idle_days", self.session_idle_days, 1, self.session_days)?;
        within("elevated_minutes", self.elevated_minutes, 1, 120)?;
        within("password_min_length", self.password_min_length as u64, 8, 64)?;
        within("password_queue", self.password_queue as u64, 1, 10_000)?;
        within("password_memory_kib", self.password_memory_kib.into(), 19_456, 1 << 20)?;
        within("password_passes", self.password_passes.into(), 1, 16)?;
        // OWASP's table of equal strength: one pass needs 46 MiB, two need 19 MiB.
        if self.password_passes == 1 {
            within("password_memory_kib (with one pass)", self.password_memory_kib.into(), 47_104, 1 << 20)?;
        }
        within("signing_key_days", self.signing_key_days, 1, 365)?;
        within("signing_key_lead_minutes", self.signing_key_lead_minutes, 1, 24 * 60)?;
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(Error::invalid("config.invalid", "identity.issuer and identity.audience must not be empty"));
        }
        Ok(())
    }

    pub(crate) fn access_lifetime(&self) -> Duration {
        Duration::from_secs(self.access_token_seconds)
    }

    pub(crate) fn session_idle(&self) -> Duration {
        Duration::from_secs(self.session_idle_days * DAY)
    }

    pub(crate) fn session_lifetime(&self) -> Duration {
        Duration::from_secs(self.session_days * DAY)
    }

    pub(crate) fn elevated_lifetime(&self) -> Duration {
        Duration::from_secs(self.elevated_minutes * 60)
    }

    pub(crate) fn key_lifetime(&self) -> Duration {
        Duration::from_secs(self.signing_key_days * DAY)
    }

    pub(crate) fn key_lead(&self) -> Duration {
        Duration::from_secs(self.signing_key_lead_minutes * 60)
    }
}
