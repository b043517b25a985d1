//! What is open of a call: what was reserved, what is known of the answer, and the settlement, which comes whatever
//! becomes of the call. Not for bytes.

use futures_util::future::BoxFuture;
use kernel::Result;

use crate::call::Metering;
use crate::config::Pace;
use crate::format::{Format, Meter};
use crate::ledger::ReservationId;
use crate::usage::{Outcome, Price, Spent, Usage};

/// What is open of a call.
pub(crate) struct Open {
    pub(crate) metering: Metering,
    pub(crate) id: ReservationId,
    pub(crate) format: Format,
    pub(crate) price: Price,
    pub(crate) meter: Meter,
    /// What has been reserved; nothing where no budget counts.
    pub(crate) granted: Option<(i64, i64)>,
    /// How many tokens of answer the request allows.
    pub(crate) limit: Option<i64>,
    /// Whether the gateway asked for the usage, and so takes the chunk out that says it.
    pub(crate) added_usage: bool,
    pub(crate) pace: Pace,
    pub(crate) settled: bool,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("id", &self.id).field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl Open {
    /// Returns what has been used so far and what that costs, where it is more than was reserved.
    pub(crate) fn beyond(&self) -> Option<(Usage, i64)> {
        let (tokens, nano) = self.granted.filter(|_| !self.meter.is_exact())?;
        let mut usage = self.meter.usage();
        if let Some(limit) = self.limit
            && usage.output <= limit.saturating_add(limit / 4).saturating_add(16)
        {
            // The origin was told where to end: that an estimate is a little beyond is the estimate's fault.
            usage.output = usage.output.min(limit);
        }
        let cost = self.price.cost(usage);
        (usage.total() > tokens || cost > nano).then_some((usage, cost))
    }

    /// Asks for room for more, and says what for.
    pub(crate) fn extension(&self, used: Usage) -> Extension {
        let more = (used.output / 4).max(64);
        let upto = Usage { output: used.output.saturating_add(more), ..used };
        let (ledger, id, price) = (self.metering.ledger(), self.id.clone(), self.price);
        Box::pin(async move {
            // Near the end of a budget there is room for what is there, and no more.
            for upto in [upto, used] {
                let cost = price.cost(upto);
                if ledger.extend(&id, upto, cost).await? {
                    return Ok(Some((upto.total(), cost)));
                }
            }
            Ok(None)
        })
    }

    /// Goes on with this much.
    pub(crate) fn extended(&mut self, granted: (i64, i64)) {
        self.granted = Some(granted);
    }

    /// Enters what was used, once.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.settled, true) {
            let usage = self.meter.usage();
            let spent = Spent { usage, cost_nano: self.price.cost(usage), estimated: !self.meter.is_exact(), outcome };
            self.metering.enter(self.id.clone(), Some(spent));
        }
    }

    /// Gives back what was reserved, unless it was settled.
    pub(crate) fn release(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.metering.enter(self.id.clone(), None);
        }
    }
}

/// A question to the ledger for more room.
pub(crate) type Extension = BoxFuture<'static, Result<Option<(i64, i64)>>>;

impl Drop for Open {
    fn drop(&mut self) {
        self.settle(Outcome::Aborted);
    }
}
