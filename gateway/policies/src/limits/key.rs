//! What a request is counted by, and the keys that this makes: here a keyed 128-bit fingerprint, in Redis a
//! SHA-256, so that neither keeps names, addresses or secrets. Not for finding out who is asking.

use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use kernel::{TenantId, UserId};
use sha2::{Digest as _, Sha256};

use super::config::Absent;

/// Who asks, as far as is known.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The tenant, once authenticated.
    pub tenant: Option<TenantId>,
    /// The user, once authenticated.
    pub user: Option<UserId>,
    /// What names the credential, once authenticated; not the secret itself.
    pub credential: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// One thing that a limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Address,
    Tenant,
    User,
    Credential,
    Route(Box<str>),
    Header(HeaderName),
}

impl Part {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        Ok(match text {
            "address" => Self::Address,
            "tenant" => Self::Tenant,
            "user" => Self::User,
            "credential" => Self::Credential,
            "route" => Self::Route("".into()),
            _ => {
                let name = text.strip_prefix("header:").and_then(|name| HeaderName::try_from(name).ok());
                Self::Header(name.ok_or_else(|| {
                    format!("{text} is none of address, tenant, user, credential, route, header:NAME")
                })?)
            }
        })
    }

    /// Says whether only authentication tells it.
    pub(crate) fn needs_authentication(&self) -> bool {
        matches!(self, Self::Tenant | Self::User | Self::Credential)
    }

    /// Feeds what the subject has of it; says whether it has any.
    fn feed(&self, subject: &Subject<'_>, sink: &mut impl FnMut(&[u8])) -> bool {
        match self {
            Self::Address => match subject.address.map(|address| address.to_canonical()) {
                Some(IpAddr::V4(address)) => sink(&address.octets()),
                // A /64 is what one customer gets, and may choose from at will.
                Some(IpAddr::V6(address)) => sink(&address.octets()[..8]),
                None => return false,
            },
            Self::Tenant => match subject.tenant {
                Some(tenant) => sink(tenant.uuid().as_bytes()),
                None => return false,
            },
            Self::User => match subject.user {
                Some(user) => sink(user.uuid().as_bytes()),
                None => return false,
            },
            Self::Credential => match subject.credential {
                Some(credential) => sink(credential.as_bytes()),
                None => return false,
            },
            Self::Route(route) => sink(route.as_bytes()),
            Self::Header(name) => {
                let mut any = false;
                for value in subject.headers.get_all(name) {
                    sink(value.as_bytes());
                    any = true;
                }
                return any;
            }
        }
        true
    }
}

/// Makes keys for one limit.
#[derive(Clone, Debug)]
pub(crate) struct KeyMaker {
    pub parts: Box<[Part]>,
    pub absent: Absent,
    seed: RandomState,
}

impl KeyMaker {
    pub(crate) fn new(parts: Box<[Part]>, absent: Absent, seed: RandomState) -> Self {
        Self { parts, absent, seed }
    }

    /// Returns the fingerprint; nothing, if the limit is not for this subject.
    pub(crate) fn fingerprint(&self, subject: &Subject<'_>) -> Option<u128> {
        let mut hasher: DefaultHasher = self.seed.build_hasher();
        self.feed(subject, &mut |bytes: &[u8]| {
            // With its length, so that parts do not run into each other.
            bytes.hash(&mut hasher);
        })?;
        // Twice 64 bits of one keyed state, which has 256: nobody finds two subjects that share it.
        let high = hasher.finish();
        hasher.write_u8(1);
        Some(u128::from(high) << 64 | u128::from(hasher.finish()))
    }

    /// Returns the key in Redis, the same on every node.
    pub(crate) fn redis_key(
        &self,
        namespace: &str,
        limit: &str,
        tenant: Option<u128>,
        subject: &Subject<'_>,
    ) -> String {
        let mut hash = Sha256::new();
        hash.update(tenant.map_or([0; 17], |tenant| {
            let mut bytes = [1; 17];
            bytes[1..].copy_from_slice(&tenant.to_be_bytes());
            bytes
        }));
        // Only asked for a subject that has a fingerprint.
        let _ = self.feed(subject, &mut |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        });
        let mut key = format!("{namespace}:limit:{limit}:");
        for byte in &hash.finalize()[..16] {
            // Writing to a string does not fail.
            let _ = std::fmt::Write::write_fmt(&mut key, format_args!("{byte:02x}"));
        }
        key
    }

    fn feed(&self, subject: &Subject<'_>, sink: &mut impl FnMut(&[u8])) -> Option<()> {
        for (index, part) in self.parts.iter().enumerate() {
            // Which part it is, so that one limit's keys of before and after a change of `per` differ.
            let tag = match part {
                Part::Address => 1,
                Part::Tenant => 2,
                Part::User => 3,
                Part::Credential => 4,
                Part::Route(_) => 5,
                Part::Header(_) => 6,
            };
            sink(&[tag, index as u8]);
            if let Part::Header(name) = part {
                sink(name.as_str().as_bytes());
            }
            if !part.feed(subject, sink) && self.absent == Absent::Skip {
                return None;
            }
        }
        Some(())
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
