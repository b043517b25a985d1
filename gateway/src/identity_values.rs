//! Who asks, as headers say it to upstreams. The same callers come again and again, so each core keeps what it
//! wrote of the last ones. Not for deciding who somebody is.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use web::Principal;

/// How many of each are kept; a power of two.
const KEPT: usize = 64;

/// A caller's values of X-Tenant-Id, X-User-Id and X-User-Role.
pub(crate) type Identity = [Option<HeaderValue>; 3];

type Places<T> = RefCell<Vec<Option<T>>>;

/// What a core wrote last. Entries are found by a few bits and compared whole, so that no two are ever confused.
pub(crate) struct IdentityValues {
    callers: Places<(Arc<Principal>, Identity)>,
    addresses: Places<(IpAddr, HeaderValue)>,
}

impl Default for IdentityValues {
    fn default() -> Self {
        Self { callers: RefCell::new(vec![None; KEPT]), addresses: RefCell::new(vec![None; KEPT]) }
    }
}

impl IdentityValues {
    /// Returns the values that say who a caller is.
    pub(crate) fn of(&self, caller: &Arc<Principal>) -> Identity {
        // Principals are kept by the token cache: the same token has the same one at the same place.
        let place = (Arc::as_ptr(caller) as usize >> 6) % KEPT;
        let mut callers = self.callers.borrow_mut();
        if let Some((known, values)) = &callers[place]
            && Arc::ptr_eq(known, caller)
        {
            return values.clone();
        }
        let values = [
            HeaderValue::try_from(caller.tenant.to_string()).ok(),
            HeaderValue::try_from(caller.actor.to_string()).ok(),
            HeaderValue::from_str(&caller.role).ok(),
        ];
        callers[place] = Some((caller.clone(), values.clone()));
        values
    }

    /// Returns an address as X-Forwarded-For says it.
    pub(crate) fn address(&self, address: IpAddr) -> Option<HeaderValue> {
        let bits = match address {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let place = ((bits ^ bits >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 40;
        let mut addresses = self.addresses.borrow_mut();
        let slot = &mut addresses[place % KEPT];
        match slot {
            Some((known, value)) if *known == address => Some(value.clone()),
            _ => {
                let value = HeaderValue::try_from(address.to_string()).ok()?;
                *slot = Some((address, value.clone()));
                Some(value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::{Actor, PermissionSet, TenantId};
    use web::CredentialKind;

    use super::*;

    fn caller(role: &str) -> Arc<Principal> {
        Arc::new(Principal {
            tenant: TenantId::new(),
            actor: Actor::System,
            role: role.into(),
            permissions: PermissionSet::new(["a.b.c"]),
            credential: "token".into(),
            kind: CredentialKind::ApiToken,
            elevated: None,
        })
    }

    #[test]
    fn many_callers_in_turn_are_each_told_as_what_they_are() {
        let (values, callers) = (IdentityValues::default(), (0..300).map(|n| caller(&format!("role-{n}"))));
        let callers: Vec<_> = callers.collect();
        for _ in 0..3 {
            for caller in &callers {
                let [tenant, user, role] = values.of(caller);
                assert_eq!(tenant.expect("a tenant"), caller.tenant.to_string());
                assert_eq!(user.expect("an actor"), caller.actor.to_string());
                assert_eq!(role.expect("a role"), &*caller.role);
            }
        }
    }

    #[test]
    fn a_caller_who_takes_the_place_of_one_that_is_gone_is_not_taken_for_it() {
        let values = IdentityValues::default();
        for turn in 0..1_000 {
            // Whatever is freed here may be given out again at once.
            let caller = caller(&turn.to_string());
            assert_eq!(values.of(&caller)[2].as_ref().expect("a role"), &*caller.role);
        }
    }

    #[test]
    fn addresses_that_share_a_place_are_told_apart() {
        let values = IdentityValues::default();
        for _ in 0..2 {
            for number in 0..500_u32 {
                let address = IpAddr::from(number.to_be_bytes());
                assert_eq!(values.address(address).expect("a value"), address.to_string());
            }
            let address: IpAddr = "2001:db8::1".parse().expect("an address");
            assert_eq!(values.address(address).expect("a value"), "2001:db8::1");
        }
    }
}
