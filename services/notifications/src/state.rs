//! What the notifications service needs from outside: the mail server, people's addresses, the vault,
//! and its settings. One per process. Not for anything that must survive the process.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::{Error, Id, Result, TenantId, UserId};
use serde::{Deserialize, Serialize};
use store::{Place, Vault};
use uuid::Uuid;

use crate::kind::NotificationType;
use crate::letters::{Directory, Mailer, Templates};

/// The service's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The address of the front end, for links in letters.
    pub front_end_url: String,
    /// The address under which this server is reached from outside, for stopping letters with one click;
    /// empty means that whoever starts the server says it.
    pub public_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { front_end_url: "http://127.0.0.1:8080".to_owned(), public_url: String::new() }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let urls = [("front_end_url", &self.front_end_url), ("public_url", &self.public_url)];
        for (key, url) in urls.into_iter().filter(|(_, url)| !url.is_empty()) {
            let web = url.starts_with("http://") || url.starts_with("https://");
            if !web
                || url.chars().any(|letter| letter.is_whitespace() || letter.is_control() || "<>\"".contains(letter))
            {
                return Err(Error::invalid("config.invalid", format!("notifications.{key} must be a web address")));
            }
        }
        Ok(())
    }
}

/// What the service reaches outside of its own data.
pub struct Outside {
    /// Hands letters to a mail server.
    pub mailer: Arc<dyn Mailer>,
    /// Knows people's addresses.
    pub directory: Arc<dyn Directory>,
    /// Seals what a letter carries to stop letters.
    pub vault: Vault,
}

/// The state of the notifications service. Cloning it is cheap.
#[derive(Clone)]
pub struct Notifications(Arc<Inner>);

struct Inner {
    settings: Settings,
    templates: Templates,
    outside: OnceLock<Outside>,
}

/// Where the tokens that stop letters would stand if they were kept.
const TOKEN: Place<'static> = Place { table: "notifications_settings", column: "unsubscribe", tenant: None, row: "" };

impl Notifications {
    /// Returns the state under these settings; letters leave once it is opened.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.check()?;
        let templates = Templates::read()?;
        Ok(Self(Arc::new(Inner { settings, templates, outside: OnceLock::new() })))
    }

    /// Says how letters leave.
    pub fn open(&self, outside: Outside) -> Result<()> {
        let opened = self.0.outside.set(outside);
        opened.map_err(|_| Error::internal("the notifications service was opened twice"))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.0.templates
    }

    pub(crate) fn outside(&self) -> Result<&Outside> {
        self.0.outside.get().ok_or_else(|| Error::internal("the notifications service is not opened"))
    }

    /// Returns the address at which one POST stops letters of a type to somebody.
    pub(crate) fn unsubscribe_url(&self, tenant: TenantId, user: UserId, kind: NotificationType) -> Result<String> {
        let said = [tenant.uuid().as_bytes().as_slice(), user.uuid().as_bytes(), kind.name().as_bytes()].concat();
        let token = URL_SAFE_NO_PAD.encode(self.outside()?.vault.seal(&TOKEN, &said)?);
        let base = self.0.settings.public_url.trim_end_matches('/');
        Ok(format!("{base}/api/notifications/unsubscribe?token={token}"))
    }

    /// Returns whose letters of which type a token stops.
    pub(crate) fn opened_token(&self, token: &str) -> Result<(TenantId, UserId, NotificationType)> {
        let wrong = || Error::invalid("notifications.invalid_token", "this link is not whole, or too old");
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let said = self.outside()?.vault.open(&TOKEN, &sealed).map_err(|_| wrong())?;
        let (ids, kind) = said.split_at_checked(32).ok_or_else(wrong)?;
        let id = |bytes: &[u8]| Uuid::from_slice(bytes).map_err(|_| wrong());
        let kind = std::str::from_utf8(kind).ok().and_then(NotificationType::named).ok_or_else(wrong)?;
        Ok((Id::from_uuid(id(&ids[..16])?), Id::from_uuid(id(&ids[16..])?), kind))
    }
}
