//! Starts what asks a source, and stops it. Not for how a source is asked.

use std::sync::Arc;

use kernel::Result;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::keeper::{Keeper, State};
use crate::{consul, dns, etcd};

/// Says where the servers of an upstream are, and keeps saying it.
pub struct Discovery;

/// Asks for as long as it lives.
pub struct Guard {
    keeper: Arc<Keeper>,
    task: Option<AbortHandle>,
}

impl Discovery {
    /// Begins to ask for the servers of the upstream of this name, on the runtime of `handle`. `on_change`
    /// gets each list that differs from the one before, in one order; a static list before this returns.
    /// It must not block, nor call the guard.
    pub fn start(
        name: &str,
        config: &Config,
        handle: &Handle,
        on_change: impl Fn(Vec<Endpoint>) + Send + Sync + 'static,
    ) -> Result<Guard> {
        config.check()?;
        let keep = config.keep_last_when_empty();
        let keeper = Arc::new(Keeper::new(name, config.kind(), keep, Box::new(on_change)));
        let task = match config {
            Config::Static(list) => {
                let endpoint = |given: &Endpoint| Endpoint::new(&given.url, given.weight).ok();
                keeper.take(list.endpoints.iter().filter_map(endpoint).collect());
                None
            }
            Config::Dns(config) => {
                let names = dns::Names::of_addresses(config)?;
                Some(handle.spawn(dns::follow(names, keeper.clone())))
            }
            Config::Srv(config) => {
                let names = dns::Names::of_services(config)?;
                Some(handle.spawn(dns::follow(names, keeper.clone())))
            }
            Config::Etcd(config) => Some(handle.spawn(etcd::follow(etcd::Follower::new(config)?, keeper.clone()))),
            Config::Consul(config) => {
                Some(handle.spawn(consul::follow(consul::Follower::new(config)?, keeper.clone())))
            }
        };
        Ok(Guard { keeper, task: task.map(|task| task.abort_handle()) })
    }
}

impl Guard {
    /// Returns the servers that were heard of last.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.keeper.list()
    }

    /// Returns how the source is.
    pub fn state(&self) -> State {
        self.keeper.state()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
