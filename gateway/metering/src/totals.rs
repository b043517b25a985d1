//! What a ledger in memory has taken in, over all callers. Not for budgets.

use crate::usage::{Spent, Usage};

/// What has been entered so far, over all callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The tokens.
    pub usage: Usage,
    /// What they cost.
    pub cost_nano: i64,
    /// How many calls were settled.
    pub settled: u64,
    /// How many of them are estimated.
    pub estimated: u64,
    /// How many reservations are open.
    pub open: usize,
    /// What all accounts together hold as reserved.
    pub reserved: i64,
}

impl Totals {
    /// Enters a call, or with -1 takes it out again.
    pub(crate) fn enter(&mut self, spent: Spent, sign: i64) {
        self.usage.input += sign * spent.usage.input;
        self.usage.cached += sign * spent.usage.cached;
        self.usage.cache_write += sign * spent.usage.cache_write;
        self.usage.output += sign * spent.usage.output;
        self.cost_nano += sign * spent.cost_nano;
        let one = u64::from(spent.estimated);
        if sign > 0 {
            (self.settled, self.estimated) = (self.settled + 1, self.estimated + one);
        } else {
            (self.settled, self.estimated) = (self.settled - 1, self.estimated - one);
        }
    }
}
