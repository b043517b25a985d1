//! The other services, as a service may call them: by name, wherever they run. Not for what is asked
//! of them: that is a typed client of `contracts`.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::backend::Backend;

/// Where the services of this installation are. Filled once, when all of them are wired.
#[derive(Clone, Default)]
pub struct Peers(Arc<OnceLock<BTreeMap<&'static str, Backend>>>);

impl Peers {
    /// Says where they are; the first word counts.
    pub fn fill(&self, peers: impl IntoIterator<Item = (&'static str, Backend)>) {
        let _ = self.0.set(peers.into_iter().collect());
    }

    /// Returns where a service is, if this process knows.
    pub fn get(&self, service: &str) -> Option<Backend> {
        self.0.get().and_then(|peers| peers.get(service)).cloned()
    }
}
