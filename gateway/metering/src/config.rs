//! What a policy says of metering, and the same compiled once at load. Not for what was used; that lives in the
//! ledger, under the budgets' names, and outlives a reload.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Period, Rate, Result};
use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::ledger::{Budget, Per, Unit};
use crate::usage::Price;

/// The settings of a metering policy.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The format of the answers; nothing guesses it from the path (`…/messages`, `…/responses`, others).
    pub format: Option<Format>,
    /// Whether a stream of OpenAI's chat format is asked for its usage where the client did not ask. The chunk that
    /// only holds it is then taken out again.
    pub ask_for_usage: bool,
    /// Whether the reserved number of tokens is written into a request that names none.
    pub write_output_limit: bool,
    /// How many tokens of answer are reserved where the request names no limit.
    pub default_output_tokens: u32,
    /// How many there must be room for at least, in that case; the answer is cut off where the budget ends.
    pub least_output_tokens: u32,
    /// The longest request, in bytes: it is read whole, because what it may cost stands in it.
    pub max_request_bytes: usize,
    /// How often a silent event stream gets a comment, so that nothing between takes it for dead; 0 is never.
    pub heartbeat_ms: u64,
    /// How long the origin may be silent within a stream; 0 is for ever.
    pub stall_ms: u64,
    /// When a reservation that nobody settled counts as used.
    pub lease_seconds: u64,
    /// What models cost; the first that fits counts.
    pub prices: Vec<PriceConfig>,
    /// What may be used.
    pub budgets: Vec<BudgetConfig>,
}

/// What a model costs.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// The model; a `*` at the end stands for anything.
    pub model: String,
    /// For a million tokens of the question, in billionths of the currency's major unit.
    pub input_nano_per_million: i64,
    /// For a million tokens of the answer.
    pub output_nano_per_million: i64,
    /// For a million tokens of the question from the provider's cache; as `input` where it is not said.
    #[serde(default)]
    pub cached_nano_per_million: Option<i64>,
    /// For a million tokens that go into that cache; as `input` where it is not said.
    #[serde(default)]
    pub cache_write_nano_per_million: Option<i64>,
}

/// What may be used.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Names the budget.
    pub name: String,
    /// Whom it is for.
    pub per: Per,
    /// How long what was used counts.
    pub period: Period,
    /// How many tokens; or else `nano`.
    #[serde(default)]
    pub tokens: Option<i64>,
    /// How much money, in billionths of the currency's major unit; or else `tokens`.
    #[serde(default)]
    pub nano: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: None,
            ask_for_usage: true,
            write_output_limit: false,
            default_output_tokens: 4_096,
            least_output_tokens: 256,
            max_request_bytes: 8 << 20,
            heartbeat_ms: 0,
            stall_ms: 120_000,
            lease_seconds: 900,
            prices: Vec::new(),
            budgets: Vec::new(),
        }
    }
}

/// A policy, compiled.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) format: Option<Format>,
    pub(crate) ask_for_usage: bool,
    pub(crate) write_output_limit: bool,
    pub(crate) default_output: i64,
    pub(crate) least_output: i64,
    pub(crate) max_request: usize,
    pub(crate) pace: Pace,
    pub(crate) lease: Duration,
    prices: Box<[(Box<str>, bool, Price)]>,
    pub(crate) budgets: Arc<[Budget]>,
    counts_money: bool,
}

/// How a stream is kept alive, and when it is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How often a silent stream gets a comment.
    pub heartbeat: Option<Duration>,
    /// How long the origin may be silent.
    pub stall: Option<Duration>,
}

impl Config {
    /// Compiles the policy, or says what cannot be meant.
    pub fn compile(&self) -> Result<Plan> {
        let wrong = |what: String| Error::invalid("gateway.config_invalid", what);
        let mut prices = Vec::with_capacity(self.prices.len());
        for config in &self.prices {
            let (model, open) = match config.model.strip_suffix('*') {
                Some(start) => (start, true),
                None => (config.model.as_str(), false),
            };
            if model.contains('*') || (model.is_empty() && !open) {
                return Err(wrong(format!("metering.prices: `{}` may have one `*`, at its end", config.model)));
            }
            let price = config.price();
            if [price.input, price.output, price.cached, price.cache_write].iter().any(|rate| rate.0 < 0) {
                return Err(wrong(format!("metering.prices: a price of `{}` is below 0", config.model)));
            }
            prices.push((model.into(), open, price));
        }
        let mut budgets: Vec<Budget> = Vec::with_capacity(self.budgets.len());
        for config in &self.budgets {
            let (unit, limit) = match (config.tokens, config.nano) {
                (Some(tokens), None) => (Unit::Tokens, tokens),
                (None, Some(nano)) => (Unit::Nano, nano),
                _ => return Err(wrong(format!("metering.budgets: `{}` needs either tokens or nano", config.name))),
            };
            if limit <= 0 {
                return Err(wrong(format!("metering.budgets: the limit of `{}` must be above 0", config.name)));
            }
            if config.name.is_empty() || budgets.iter().any(|known| *known.name == *config.name) {
                return Err(wrong(format!("metering.budgets: the name `{}` is empty or used twice", config.name)));
            }
            let name = Arc::from(&*config.name);
            budgets.push(Budget { name, per: config.per, unit, limit, period: config.period });
        }
        if let Some(budget) = budgets.iter().find(|budget| budget.unit == Unit::Nano)
            && prices.is_empty()
        {
            let why = "counts money, and no model has a price: nobody could call any; add prices, `*` fits all models";
            return Err(wrong(format!("metering.budgets: `{}` {why}", budget.name)));
        }
        if self.default_output_tokens < self.least_output_tokens || self.least_output_tokens == 0 {
            return Err(wrong("metering.least_output_tokens must be between 1 and default_output_tokens".into()));
        }
        if self.max_request_bytes == 0 || self.lease_seconds == 0 {
            return Err(wrong("metering.max_request_bytes and lease_seconds must be above 0".into()));
        }
        let after = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        Ok(Plan {
            format: self.format,
            ask_for_usage: self.ask_for_usage,
            write_output_limit: self.write_output_limit,
            default_output: i64::from(self.default_output_tokens),
            least_output: i64::from(self.least_output_tokens),
            max_request: self.max_request_bytes,
            pace: Pace { heartbeat: after(self.heartbeat_ms), stall: after(self.stall_ms) },
            lease: Duration::from_secs(self.lease_seconds),
            prices: prices.into(),
            counts_money: budgets.iter().any(|budget| budget.unit == Unit::Nano),
            budgets: budgets.into(),
        })
    }

    /// Says what cannot be meant.
    pub fn check(&self) -> Result<()> {
        self.compile().map(drop)
    }
}

impl PriceConfig {
    fn price(&self) -> Price {
        let input = Rate(self.input_nano_per_million);
        Price {
            input,
            cached: self.cached_nano_per_million.map_or(input, Rate),
            cache_write: self.cache_write_nano_per_million.map_or(input, Rate),
            output: Rate(self.output_nano_per_million),
        }
    }
}

impl Plan {
    /// Returns what a model costs. One that has no price is free, unless there are budgets in money: then nobody
    /// may use it, because nobody would notice.
    pub fn price(&self, model: &str) -> Result<Price> {
        let fits = |(name, open, _): &&(Box<str>, bool, Price)| {
            if *open { model.starts_with(&**name) } else { model == &**name }
        };
        match self.prices.iter().find(fits) {
            Some((_, _, price)) => Ok(*price),
            None if self.counts_money => {
                let message = "this model has no price here, so no budget can pay for it";
                Err(Error::forbidden("gateway.model_not_priced", message))
            }
            None => Ok(Price::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        format = "anthropic"
        heartbeat_ms = 15000
        [[prices]]
        model = "gpt-4o-mini"
        input_nano_per_million = 150_000_000
        cached_nano_per_million = 75_000_000
        output_nano_per_million = 600_000_000
        [[prices]]
        model = "gpt-4o*"
        input_nano_per_million = 2_500_000_000
        output_nano_per_million = 10_000_000_000
        [[budgets]]
        name = "tenant-month"
        per = "tenant"
        period = "month"
        nano = 50_000_000_000
        [[budgets]]
        name = "user-minute"
        per = "user"
        period = "minute"
        tokens = 100_000
    "#;

    #[test]
    fn the_first_price_that_fits_counts() {
        let plan = toml::from_str::<Config>(WHOLE).expect("settings").compile().expect("a plan");
        assert_eq!(plan.price("gpt-4o-mini").expect("a price").cached, Rate(75_000_000));
        assert_eq!(plan.price("gpt-4o-2024-11-20").expect("a price").cached, Rate(2_500_000_000));
        assert_eq!(plan.price("other").expect_err("no price").code(), "gateway.model_not_priced");
        assert_eq!(Config::default().compile().expect("a plan").price("other").expect("free"), Price::default());
        assert_eq!((plan.budgets[0].unit, plan.budgets[1].limit), (Unit::Nano, 100_000));
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (from, to, part) in [
            ("gpt-4o*", "gpt-*o", "one `*`"),
            ("75_000_000", "-1", "below 0"),
            ("nano = 50_000_000_000", "", "either tokens or nano"),
            ("tokens = 100_000", "tokens = 0", "above 0"),
            ("user-minute", "tenant-month", "used twice"),
            ("heartbeat_ms = 15000", "least_output_tokens = 0", "least_output_tokens"),
            ("heartbeat_ms = 15000", "lease_seconds = 0", "lease_seconds"),
        ] {
            let config: Config = toml::from_str(&WHOLE.replace(from, to)).expect("settings");
            let error = config.check().expect_err(to);
            assert!(error.message().contains(part), "{error}");
        }
        assert!(toml::from_str::<Config>("heartbeat = 1").is_err(), "unknown keys are errors");
    }
}
