//! The words that every Portico crate shares: ids, times, amounts, cursors, errors, answers and
//! the request context.
//!
//! Not for: input or output of any kind. Nothing here opens a file, a socket or a database; the
//! SeaORM traits are implemented so that a typed id can be a column, no more.

mod account;
mod amount;
mod answer;
mod clock;
mod context;
mod cursor;
mod error;
mod id;
mod text;

pub use account::{Account, Period};
pub use amount::{Money, Quantity, Rate};
pub use answer::Answer;
pub use clock::{Clock, Timestamp};
pub use context::{Actor, Ctx, CtxParts, Idempotency, Permission, PermissionSet, RequestId};
pub use cursor::Cursor;
pub use error::{Error, FieldError, Kind};
pub use id::{Id, IdKind, Tenant, TenantId, User, UserId};
pub use text::{Text, printable};

/// The result of everything that can fail with a [`enum@Kind`] of its own.
pub type Result<T, E = Error> = std::result::Result<T, E>;
