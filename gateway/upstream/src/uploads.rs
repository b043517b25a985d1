//! Counts the requests whose bodies still come, per tenant or address: a client that sends slowly holds a
//! place and a connection for as long as it likes, so nobody may hold many of them. Not for requests that
//! came whole, however long the server takes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use kernel::TenantId;

use crate::call::Call;

const SHARDS: usize = 8;

/// Whose upload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A tenant's.
    Tenant(TenantId),
    /// Somebody's at this address, or in this network.
    Address(IpAddr),
    /// Nobody knows.
    Unknown,
}

/// Uploads under way: of one upstream, of one core's connections to a server, of a process.
#[derive(Debug, Default)]
pub struct Uploads {
    shards: [Mutex<HashMap<Sender, usize>>; SHARDS],
    hasher: RandomState,
}

/// An upload that is counted until it is dropped.
#[derive(Debug)]
pub struct Uploading {
    uploads: Arc<Uploads>,
    sender: Sender,
}

impl Sender {
    pub(crate) fn of(call: &Call) -> Self {
        Self::new(call.tenant, call.client)
    }

    /// Returns whose it is that comes from this tenant, or else from this address.
    pub fn new(tenant: Option<TenantId>, client: Option<IpAddr>) -> Self {
        match (tenant, client) {
            (Some(tenant), _) => Self::Tenant(tenant),
            // Who has one address of such a network has all of it (RFC 6177, section 2).
            (None, Some(IpAddr::V6(address))) => match address.to_ipv4_mapped() {
                Some(address) => Self::Address(address.into()),
                None => Self::Address(IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into())),
            },
            (None, Some(address)) => Self::Address(address),
            (None, None) => Self::Unknown,
        }
    }
}

impl Uploads {
    fn shard(&self, sender: &Sender) -> &Mutex<HashMap<Sender, usize>> {
        &self.shards[self.hasher.hash_one(sender) as usize % SHARDS]
    }

    /// Counts an upload, unless the sender has as many as it may have.
    pub fn enter(self: &Arc<Self>, sender: Sender, most: usize) -> Option<Uploading> {
        let mut shard = self.shard(&sender).lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(sender).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Uploading { uploads: self.clone(), sender })
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        let mut shard = self.uploads.shard(&self.sender).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.get_mut(&self.sender) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.sender);
            }
        }
    }
}

/// Returns how many of so many are a share, at least one.
pub(crate) fn share_of(share: f64, of: usize) -> usize {
    ((of as f64 * share) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn of(client: &str) -> Sender {
        Sender::of(&Call { client: Some(client.parse().expect("an address")), ..Call::until(Instant::now()) })
    }

    #[test]
    fn each_sender_has_its_own_count_and_nothing_is_kept_of_it() {
        let uploads = Arc::new(Uploads::default());
        let (one, other) = (Sender::Tenant(TenantId::new()), Sender::Tenant(TenantId::new()));
        let held: Vec<_> = (0..3).map_while(|_| uploads.enter(one, 2)).collect();
        assert_eq!(held.len(), 2);
        assert!(uploads.enter(other, 2).is_some() && uploads.enter(Sender::Unknown, 2).is_some());
        drop(held);
        assert!(uploads.enter(one, 2).is_some());
        assert!(uploads.shards.iter().all(|shard| shard.lock().expect("nobody panicked").is_empty()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender_and_a_tenant_goes_before_it() {
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        let tenant = TenantId::new();
        let call = Call { tenant: Some(tenant), client: "192.0.2.1".parse().ok(), ..Call::until(Instant::now()) };
        assert_eq!(Sender::of(&call), Sender::Tenant(tenant));
    }
}
