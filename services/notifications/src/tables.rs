//! The rows of the notifications service: its own bookkeeping, changed without events. Not for what
//! is done with them.

pub(crate) mod delivery;
pub(crate) mod notification;
pub(crate) mod occurrence;
pub(crate) mod recipient;
pub(crate) mod settings;
pub(crate) mod suppression;
