//! What a call used and what that costs: tokens by kind, prices in nano units of a currency, whole numbers all the
//! way. Not for who pays.

use kernel::Rate;
use serde::{Deserialize, Serialize};

/// How many tokens a price is for.
const PER: i128 = 1_000_000;

/// Tokens by kind; each token is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Tokens of the question that were read anew.
    pub input: i64,
    /// Tokens of the question that the provider had in its cache.
    pub cached: i64,
    /// Tokens of the question that the provider put into its cache.
    pub cache_write: i64,
    /// Tokens of the answer.
    pub output: i64,
}

impl Usage {
    /// Returns all tokens.
    pub fn total(self) -> i64 {
        self.question().saturating_add(self.output)
    }

    /// Returns the tokens of the question.
    pub fn question(self) -> i64 {
        self.input.saturating_add(self.cached).saturating_add(self.cache_write)
    }
}

/// What a million tokens of each kind cost, in billionths of the currency's major unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// For tokens of the question.
    pub input: Rate,
    /// For tokens of the question from the provider's cache.
    pub cached: Rate,
    /// For tokens of the question that go into it.
    pub cache_write: Rate,
    /// For tokens of the answer.
    pub output: Rate,
}

impl Price {
    /// Returns what this costs in billionths, rounded once, up: what is billed is never less than what was used.
    pub fn cost(&self, usage: Usage) -> i64 {
        let sum: i128 = [
            (usage.input, self.input),
            (usage.cached, self.cached),
            (usage.cache_write, self.cache_write),
            (usage.output, self.output),
        ]
        .into_iter()
        .map(|(tokens, rate)| i128::from(tokens.max(0)) * i128::from(rate.0.max(0)))
        .sum();
        i64::try_from((sum + PER - 1) / PER).unwrap_or(i64::MAX)
    }

    /// Returns how many tokens of answer so much pays for.
    pub(crate) fn output_for(&self, nano: i64) -> i64 {
        if self.output.0 <= 0 {
            return i64::MAX;
        }
        i64::try_from(i128::from(nano.max(0)) * PER / i128::from(self.output.0)).unwrap_or(i64::MAX)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The origin said all it had to say.
    Completed,
    /// The client went away.
    Aborted,
    /// The budget ended.
    CutOff,
    /// The origin broke off, or fell silent.
    Failed,
    /// Nobody said how; the reservation's lease ended.
    Lapsed,
}

/// What a call used in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The tokens.
    pub usage: Usage,
    /// What they cost, in billionths.
    pub cost_nano: i64,
    /// Whether any of it is not the provider's own word.
    pub estimated: bool,
    /// How it ended.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_once_and_up() {
        let price = Price {
            input: Rate(2_500_000_000),
            cached: Rate(37_500_000),
            cache_write: Rate(1),
            output: Rate(10_000_000_000),
        };
        let usage = Usage { input: 1_000, cached: 3, cache_write: 0, output: 7 };
        // 2,500,000 + 112.5 + 70,000
        assert_eq!(price.cost(usage), 2_570_113);
        assert_eq!(price.cost(Usage::default()), 0);
        assert_eq!(price.cost(Usage { cache_write: 1, ..Usage::default() }), 1);
        assert_eq!(price.cost(Usage { output: i64::MAX, ..Usage::default() }), i64::MAX, "no overflow");
        assert_eq!((price.output_for(70_000), Price::default().output_for(1)), (7, i64::MAX));
    }
}
