//! Tells etcd or Consul that this process serves, for as long as it does: a lease that is kept alive, a
//! check that is passed again and again, and a word when it stops. Not for others' whereabouts.

use std::time::Duration;

use kernel::Result;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{Consul, Etcd, given, wrong};
use crate::endpoint::Endpoint;
use crate::pause::Pause;

mod consul;
mod etcd;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long signing off may take.
const SIGNING_OFF: Duration = Duration::from_secs(5);

/// Where this process says that it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Register {
    /// In etcd, as a key with a lease.
    Etcd(RegisterEtcd),
    /// With a Consul agent, as an instance of a service.
    Consul(RegisterConsul),
}

/// A key in etcd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegisterEtcd {
    /// Addresses of the cluster's members, asked in turn.
    pub addresses: Vec<String>,
    /// The key, such as `/services/gateway/one`.
    pub key: String,
    /// Where this process is, as others reach it.
    pub url: String,
    /// Its share of the load.
    pub weight: u32,
    /// How long etcd keeps the key when nothing is heard of this process.
    pub lease_seconds: u32,
    /// Who asks, if etcd wants to know.
    pub user: String,
    /// Its password.
    pub password: crate::config::Secret,
    /// Certificate authorities for https addresses, as PEM, besides the system's.
    pub certificate_file: std::path::PathBuf,
    /// How long an answer may take.
    pub timeout_ms: u64,
}

impl Default for RegisterEtcd {
    fn default() -> Self {
        let Etcd { addresses, user, password, certificate_file, timeout_ms, .. } = Etcd::default();
        let (key, url, weight, lease_seconds) = (String::new(), String::new(), 1, 15);
        Self { addresses, key, url, weight, lease_seconds, user, password, certificate_file, timeout_ms }
    }
}

/// An instance of a service in Consul.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegisterConsul {
    /// The agent's address.
    pub address: String,
    /// The service's name.
    pub service: String,
    /// The instance's id, unlike all others of the agent.
    pub id: String,
    /// Where this process is, as others reach it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its share of the load.
    pub weight: u32,
    /// Its tags.
    pub tags: Vec<String>,
    /// After how long without a word the instance counts as failing.
    pub check_seconds: u32,
    /// After how long as a failing one Consul forgets it; at least 60.
    pub forget_seconds: u32,
    /// Who asks.
    pub token: crate::config::Secret,
    /// Certificate authorities for an https address, as PEM, besides the system's.
    pub certificate_file: std::path::PathBuf,
    /// How long an answer may take.
    pub timeout_ms: u64,
}

impl Default for RegisterConsul {
    fn default() -> Self {
        let Consul { address, service, token, certificate_file, timeout_ms, .. } = Consul::default();
        Self {
            address,
            service,
            id: String::new(),
            host: String::new(),
            port: 0,
            weight: 1,
            tags: Vec::new(),
            check_seconds: 15,
            forget_seconds: 90,
            token,
            certificate_file,
            timeout_ms,
        }
    }
}

impl Register {
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Etcd(etcd) => {
                crate::config::addresses("addresses", &etcd.addresses)?;
                given("key", &etcd.key)?;
                Endpoint::new(&etcd.url, etcd.weight).map_err(|why| wrong("url", why))?;
                crate::config::positive("timeout_ms", etcd.timeout_ms)?;
                at_least("lease_seconds", etcd.lease_seconds, 3)
            }
            Self::Consul(consul) => {
                crate::config::addresses("address", std::slice::from_ref(&consul.address))?;
                given("service", &consul.service)?;
                given("id", &consul.id)?;
                Endpoint::at(false, &consul.host, consul.port, 1).map_err(|why| wrong("host", why))?;
                crate::config::positive("port", consul.port.into())?;
                crate::config::positive("timeout_ms", consul.timeout_ms)?;
                at_least("check_seconds", consul.check_seconds, 3)?;
                at_least("forget_seconds", consul.forget_seconds, 60)
            }
        }
    }
}

fn at_least(key: &str, seconds: u32, least: u32) -> Result<()> {
    if seconds >= least { Ok(()) } else { Err(wrong(key, format!("it must be at least {least}"))) }
}

/// Says that this process serves, until it is stopped or dropped.
pub struct Registration {
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Registration {
    /// Begins to say it, on the runtime of `handle`. A server that is away is asked again and again.
    pub fn start(config: &Register, handle: &Handle) -> Result<Self> {
        config.check()?;
        let (stop, stopped) = oneshot::channel();
        let task = match config {
            Register::Etcd(config) => handle.spawn(keep(etcd::Key::new(config)?, stopped)),
            Register::Consul(config) => handle.spawn(keep(consul::Instance::new(config)?, stopped)),
        };
        Ok(Self { stop: Some(stop), task: Some(task) })
    }

    /// Takes it back, and returns when that was said or could not be said in a few seconds. Dropping does
    /// the same in the background, while the runtime lives.
    pub async fn stop(mut self) {
        self.stop = None;
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

/// How a process says that it serves.
trait Presence: Send + 'static {
    /// What it is called in the log.
    fn name(&self) -> String;
    /// Says it for the first time, or again after it was forgotten.
    fn sign_on(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    /// Says it again. `false` means that it was forgotten.
    fn renew(&mut self) -> impl Future<Output = Result<bool, String>> + Send;
    /// Takes it back.
    fn sign_off(&mut self) -> impl Future<Output = Result<(), String>> + Send;
    /// How long a word lasts.
    fn lasts(&self) -> Duration;
    /// Turns to another server, if there are several.
    fn turn(&mut self);
}

async fn keep<P: Presence>(mut presence: P, mut stopped: oneshot::Receiver<()>) {
    tokio::select! {
        // Both a word and the end of the sender mean to stop.
        _ = &mut stopped => {}
        () = stay(&mut presence) => {}
    }
    let name = presence.name();
    match tokio::time::timeout(SIGNING_OFF, presence.sign_off()).await {
        Ok(Ok(())) => tracing::info!(name, "this process is registered no longer"),
        Ok(Err(why)) => tracing::warn!(name, reason = why, "this process could not be taken off the register"),
        Err(_) => tracing::warn!(name, reason = "no answer", "this process could not be taken off the register"),
    }
}

async fn stay<P: Presence>(presence: &mut P) {
    let name = presence.name();
    let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE.min(presence.lasts()));
    let (mut known, mut failing) = (false, false);
    loop {
        let done = if known { presence.renew().await } else { presence.sign_on().await.map(|()| true) };
        let wait = match done {
            Ok(true) => {
                if !known || failing {
                    tracing::info!(name, "this process is registered");
                }
                (known, failing) = (true, false);
                pause.reset();
                presence.lasts() / 3
            }
            Ok(false) => {
                tracing::warn!(name, "this process was forgotten by the register; it signs on again");
                known = false;
                // At once, the first time.
                pause.next()
            }
            Err(why) => {
                if !failing {
                    tracing::warn!(name, reason = why, "the register cannot be told that this process serves");
                }
                failing = true;
                presence.turn();
                pause.next()
            }
        };
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_right_is_named() {
        let etcd = RegisterEtcd {
            addresses: vec!["http://127.0.0.1:2379".into()],
            key: "/a/1".into(),
            url: "http://one:1".into(),
            ..RegisterEtcd::default()
        };
        let consul = RegisterConsul {
            service: "a".into(),
            id: "a-1".into(),
            host: "one".into(),
            port: 1,
            ..RegisterConsul::default()
        };
        Register::Etcd(etcd.clone()).check().expect("good");
        Register::Consul(consul.clone()).check().expect("good");
        for (config, key) in [
            (Register::Etcd(RegisterEtcd { addresses: vec![], ..etcd.clone() }), "addresses"),
            (Register::Etcd(RegisterEtcd { key: String::new(), ..etcd.clone() }), "key"),
            (Register::Etcd(RegisterEtcd { url: "one".into(), ..etcd.clone() }), "url"),
            (Register::Etcd(RegisterEtcd { lease_seconds: 2, ..etcd }), "lease_seconds"),
            (Register::Consul(RegisterConsul { service: String::new(), ..consul.clone() }), "service"),
            (Register::Consul(RegisterConsul { id: String::new(), ..consul.clone() }), "id"),
            (Register::Consul(RegisterConsul { host: "a b".into(), ..consul.clone() }), "host"),
            (Register::Consul(RegisterConsul { port: 0, ..consul.clone() }), "port"),
            (Register::Consul(RegisterConsul { check_seconds: 1, ..consul.clone() }), "check_seconds"),
            (Register::Consul(RegisterConsul { forget_seconds: 30, ..consul }), "forget_seconds"),
        ] {
            let error = config.check().expect_err(key);
            assert!(error.message().contains(key), "{key} is not in {}", error.message());
        }
    }
}
