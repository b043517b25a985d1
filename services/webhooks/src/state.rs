//! What the webhooks service keeps in memory: settings, the guard, the trusted authorities, the vault,
//! the types that may be sent, the lanes of the endpoints. One per process. Not for anything that
//! must survive the process.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use kernel::{Error, Result};
use service::EventType;
use store::Vault;
use tokio_rustls::TlsConnector;

use crate::guard::{Guard, Internet, Network};
use crate::lane::Lanes;
use crate::pattern;
use crate::send;
use crate::settings::Settings;

/// The webhooks service's own state. Cloning it is cheap.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    settings: Settings,
    guard: Guard,
    network: Arc<dyn Network>,
    lanes: Lanes,
    opened: OnceLock<Opened>,
}

/// What is known only when the process starts.
struct Opened {
    vault: Vault,
    tls: TlsConnector,
    kinds: BTreeSet<&'static str>,
}

impl Webhooks {
    /// Returns the state under these settings; endpoints can be made and called once it is opened.
    pub fn new(settings: Settings) -> Result<Self> {
        Self::on(settings, Arc::new(Internet))
    }

    /// Returns the state over another network than the internet, for tests.
    pub fn on(settings: Settings, network: Arc<dyn Network>) -> Result<Self> {
        settings.check()?;
        let guard = Guard::new(&settings)?;
        let (lanes, opened) = (Lanes::default(), OnceLock::new());
        Ok(Self(Arc::new(Inner { settings, guard, network, lanes, opened })))
    }

    /// Makes it ready: takes the vault, and the types that the services declare. Only those leave the
    /// house.
    pub fn open(&self, vault: Vault, types: impl IntoIterator<Item = EventType>) -> Result<()> {
        let kinds = types.into_iter().map(|kind| kind.name).filter(|name| pattern::may_leave(name)).collect();
        let tls = send::connector(&self.0.settings)?;
        let opened = self.0.opened.set(Opened { vault, tls, kinds });
        opened.map_err(|_| Error::internal("the webhooks service was opened twice"))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    pub(crate) fn network(&self) -> &dyn Network {
        &*self.0.network
    }

    pub(crate) fn tls(&self) -> Result<&TlsConnector> {
        Ok(&self.opened()?.tls)
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.0.lanes
    }

    pub(crate) fn vault(&self) -> Result<&Vault> {
        Ok(&self.opened()?.vault)
    }

    /// Returns the types of events that endpoints may get.
    pub(crate) fn kinds(&self) -> Result<&BTreeSet<&'static str>> {
        Ok(&self.opened()?.kinds)
    }

    fn opened(&self) -> Result<&Opened> {
        self.0.opened.get().ok_or_else(|| Error::internal("the webhooks service is not opened"))
    }
}
