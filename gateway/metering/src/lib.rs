//! What calls to language models use and cost, counted while their answers pass: reserved before, settled after,
//! cut off where the budget ends. Not for where prices come from, and not for who may call.

mod call;
mod config;
mod estimate;
mod format;
mod ledger;
mod memory;
mod open;
mod plain;
mod request;
mod scan;
mod sse;
mod stream;
mod text;
mod totals;
mod usage;

pub use call::{Call, Counts, Metering, paced};
pub use config::{BudgetConfig, Config, Pace, Plan, PriceConfig};
pub use format::Format;
pub use ledger::{Budget, Caller, Ledger, Per, Reservation, ReservationId, Unit, Wanted};
pub use memory::MemoryLedger;
pub use totals::Totals;
pub use usage::{Outcome, Price, Spent, Usage};
