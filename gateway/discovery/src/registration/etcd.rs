//! This process as a key in etcd, with a lease. Not for reading keys.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::Result;
use serde_json::{Value, json};

use super::{Presence, RegisterEtcd};
use crate::config::Etcd;
use crate::etcd::Cluster;

/// The key, and the lease that holds it.
pub(super) struct Key {
    cluster: Cluster,
    name: String,
    value: String,
    seconds: u32,
    lease: Option<String>,
}

impl Key {
    /// Prepares to put the key.
    pub(super) fn new(config: &RegisterEtcd) -> Result<Self> {
        let cluster = Cluster::new(&Etcd {
            addresses: config.addresses.clone(),
            user: config.user.clone(),
            password: config.password.clone(),
            certificate_file: config.certificate_file.clone(),
            timeout_ms: config.timeout_ms,
            ..Etcd::default()
        })?;
        let value = json!({ "url": config.url, "weight": config.weight }).to_string();
        Ok(Self { cluster, name: config.key.clone(), value, seconds: config.lease_seconds, lease: None })
    }
}

/// Reads a 64-bit number, which the gateway writes as text.
fn number(value: &Value) -> Option<i64> {
    value.as_str()?.parse().ok()
}

impl Presence for Key {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn sign_on(&mut self) -> Result<(), String> {
        // An old lease would take the key with it when it ends.
        let _ = self.sign_off().await;
        let granted = self.cluster.ask("/v3/lease/grant", json!({ "TTL": self.seconds.to_string() })).await?;
        let lease = granted["ID"].as_str().ok_or("etcd grants no lease")?.to_owned();
        self.lease = Some(lease.clone());
        let (key, value) = (STANDARD.encode(&self.name), STANDARD.encode(&self.value));
        self.cluster.ask("/v3/kv/put", json!({ "key": key, "value": value, "lease": lease })).await?;
        Ok(())
    }

    async fn renew(&mut self) -> Result<bool, String> {
        let Some(lease) = &self.lease else { return Ok(false) };
        let kept = self.cluster.ask("/v3/lease/keepalive", json!({ "ID": lease })).await?;
        // A lease that has ended is answered without a time to live.
        let alive = number(&kept["result"]["TTL"]).is_some_and(|seconds| seconds > 0);
        if !alive {
            self.lease = None;
            return Ok(false);
        }
        // Somebody may have deleted the key, or it fell with an earlier lease.
        let read = json!({ "key": STANDARD.encode(&self.name), "keys_only": true });
        let read = self.cluster.ask("/v3/kv/range", read).await?;
        Ok(read["kvs"][0]["lease"].as_str() == self.lease.as_deref())
    }

    async fn sign_off(&mut self) -> Result<(), String> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        self.cluster.ask("/v3/lease/revoke", json!({ "ID": lease })).await.map(drop)
    }

    fn lasts(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    fn turn(&mut self) {
        self.cluster.turn();
    }
}
