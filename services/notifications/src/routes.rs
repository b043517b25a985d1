//! The operations, one file per resource or action.

pub(crate) mod bell;
pub(crate) mod list;
pub(crate) mod policy;
pub(crate) mod preferences;
pub(crate) mod read;
pub(crate) mod socket;
pub(crate) mod unsubscribe;

use kernel::{Actor, Ctx, Result, UserId};
use store::not_found;

/// Returns the person whose notifications these are: everybody has only their own.
pub(crate) fn person(ctx: &Ctx) -> Result<UserId> {
    match ctx.actor() {
        Actor::User(user) | Actor::Superadmin(user) => Ok(*user),
        Actor::System => Err(not_found()),
    }
}
