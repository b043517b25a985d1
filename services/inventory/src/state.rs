//! What the inventory service keeps in memory: the model that predicts quality, and the vault that
//! seals the secrets of quality laboratories. One per process. Not for anything that must survive it.

use std::sync::{Arc, OnceLock};

use kernel::{Error, Result};
use store::Vault;

use crate::quality::{Quality, QualityModel};

/// The inventory service's own state. Cloning it is cheap.
#[derive(Clone, Default)]
pub struct Inventory {
    quality: Quality,
    vault: Arc<OnceLock<Vault>>,
}

impl Inventory {
    /// Puts another model in the place of the rules that are built in.
    #[must_use]
    pub fn with_model(mut self, model: impl QualityModel) -> Self {
        self.quality = Quality::new(model);
        self
    }

    /// Makes it ready for the secrets of laboratories; until then what needs one answers 503.
    pub fn open(&self, vault: Vault) -> Result<()> {
        self.vault.set(vault).map_err(|_| Error::internal("the inventory service was opened twice"))
    }

    /// Returns the model.
    pub(crate) fn quality(&self) -> &Quality {
        &self.quality
    }

    /// Returns the vault.
    pub(crate) fn vault(&self) -> Result<&Vault> {
        let closed = || Error::unavailable("inventory.not_opened", "this process has no vault for secrets");
        self.vault.get().ok_or_else(closed)
    }
}
