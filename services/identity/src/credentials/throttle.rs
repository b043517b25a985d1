//! Slows guessing down: the more attempts fail, the longer the next one waits, per account and
//! address, per account over all strange addresses, per address, and per tenant. Nobody is locked
//! out for good, and an address from which the account was used before keeps a count of its own, so
//! strangers cannot shut the owner out, nor their colleagues. In memory, bounded; each process counts for itself. Not
//! for limits on the use of the API.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use kernel::{Error, Result, Timestamp};
use quick_cache::sync::Cache;

/// Signing in with a password: what the counts of other attempts are kept apart from.
pub(crate) const SIGN_IN: &str = "sign-in";

/// How many keys are remembered; the least used make room.
const KEYS: usize = 100_000;

/// How a kind of key is slowed down.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// How many attempts are free.
    free: u32,
    /// The longest wait.
    longest: Duration,
    /// After this long without an attempt everything is forgotten.
    forgotten: Duration,
}

const PAIR: Rule = Rule { free: 5, longest: minutes(15), forgotten: minutes(60) };
const STRANGERS: Rule = Rule { free: 20, longest: minutes(15), forgotten: minutes(60) };
const ADDRESS: Rule = Rule { free: 50, longest: minutes(5), forgotten: minutes(15) };
/// How often a network that is slowed down may have the database asked whether it is known.
const LOOKUP: Rule = Rule { free: 30, longest: Duration::from_secs(5), forgotten: minutes(1) };
const TENANT: Rule = Rule { free: 500, longest: Duration::from_secs(10), forgotten: minutes(5) };

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Pair(&'static str, String, Network),
    Strangers(&'static str, String),
    Address(Network),
    Tenant(String),
    Lookup(Network),
}

impl Key {
    fn rule(&self) -> Rule {
        match self {
            Self::Pair(..) => PAIR,
            Self::Strangers(..) => STRANGERS,
            Self::Address(_) => ADDRESS,
            Self::Tenant(_) => TENANT,
            Self::Lookup(_) => LOOKUP,
        }
    }
}

/// The part of an address that one customer of a provider has: an IPv4 address, an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(long) => {
                let [a, b, c, d, ..] = long.segments();
                Self(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
            }
            short => Self(short),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    attempts: u32,
    last: Timestamp,
    until: Timestamp,
}

/// Counts attempts.
pub(crate) struct Throttle {
    counts: Cache<Key, std::sync::Arc<Mutex<Count>>>,
}

/// Somebody's attempt to prove something.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// What is attempted; each is counted apart, so that asking for letters slows no sign-in down.
    pub what: &'static str,
    /// What names the account: an e-mail address, known or not.
    pub account: Option<String>,
    /// Where it comes from.
    pub network: Network,
    /// The organisation that was named, if one was.
    pub tenant: Option<String>,
}

/// What the account's own count says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on.
    Allowed,
    /// Only if the account was used from this network before; otherwise it waits so long.
    KnownNetworksOnly(Duration),
}

/// An attempt that was counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// The counts that it was added to; not those that had refused already.
    taken: Vec<Key>,
    pub account: Option<String>,
    pub network: Network,
    pub verdict: Verdict,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { counts: Cache::new(KEYS) }
    }
}

impl Throttle {
    /// Counts the attempt before it is made, so that many at once do not slip through together.
    ///
    /// Only the account's own count from this network refuses everybody. What strangers can use up,
    /// the counts of an address, of an organisation and of all strange networks together, does not
    /// bind whoever was here before.
    pub(crate) fn begin(&self, attempt: Attempt, now: Timestamp) -> Result<Counted> {
        let Attempt { what, account, network, tenant } = attempt;
        let mut taken = Vec::new();
        let mut take = |key: Key| self.take(key.clone(), now).map(|()| taken.push(key));
        let address = take(Key::Address(network));
        let Some(account) = account else {
            address.map_err(slow_down)?;
            return Ok(Counted { taken, account: None, network, verdict: Verdict::Allowed });
        };
        if address.is_err() {
            // A flood from one place fills no counts of others, and asks the database now and then only.
            take(Key::Lookup(network)).map_err(slow_down)?;
        }
        take(Key::Pair(what, account.clone(), network)).map_err(slow_down)?;
        let tenant = tenant.map_or(Ok(()), |tenant| take(Key::Tenant(tenant)));
        let strangers = take(Key::Strangers(what, account.clone()));
        let waits = [address, tenant, strangers].into_iter().filter_map(Result::err).max();
        let verdict = waits.map_or(Verdict::Allowed, Verdict::KnownNetworksOnly);
        Ok(Counted { taken, account: Some(account), network, verdict })
    }

    /// Takes back what the attempt was counted for, and forgets the failures of its own pair; the
    /// address's stay, or whoever has one account there could reset them at will.
    pub(crate) fn succeeded(&self, counted: &Counted) {
        for key in &counted.taken {
            match key {
                Key::Pair(..) => drop(self.counts.remove(key)),
                _ => self.give_back(key),
            }
        }
    }

    /// Counts a failure of somebody who names no account, and refuses who had too many.
    pub(crate) fn failed(&self, network: Network, now: Timestamp) -> Result<()> {
        self.take(Key::Address(network), now).map_err(slow_down)
    }

    /// Refuses a network that is slowed down when it has the database asked too often.
    pub(crate) fn may_look(&self, network: Network, now: Timestamp) -> Result<()> {
        let waits = |count: std::sync::Arc<Mutex<Count>>| now < count.lock().expect("held for a moment").until;
        match self.counts.get(&Key::Address(network)).is_some_and(waits) {
            true => self.take(Key::Lookup(network), now).map_err(slow_down),
            false => Ok(()),
        }
    }

    /// Takes an attempt back that was not made after all.
    pub(crate) fn abandoned(&self, counted: &Counted) {
        counted.taken.iter().for_each(|key| self.give_back(key));
    }

    /// Forgets what strangers used up of an account: its owner has proved control of it another way.
    pub(crate) fn forget_account(&self, what: &'static str, account: &str) {
        self.counts.remove(&Key::Strangers(what, account.to_owned()));
    }

    fn take(&self, key: Key, now: Timestamp) -> Result<(), Duration> {
        let rule = key.rule();
        let fresh = || Ok::<_, Duration>(std::sync::Arc::new(Mutex::new(Count { attempts: 0, last: now, until: now })));
        let count = self.counts.get_or_insert_with(&key, fresh)?;
        let mut count = count.lock().expect("nothing panics while it is held");
        if now > count.last.plus(rule.forgotten) {
            *count = Count { attempts: 0, last: now, until: now };
        }
        if now < count.until {
            return Err(between(now, count.until));
        }
        count.attempts = count.attempts.saturating_add(1);
        count.last = now;
        if let Some(over) = count.attempts.checked_sub(rule.free).filter(|over| *over > 0) {
            let wait = Duration::from_secs(1u64 << (over - 1).min(20)).min(rule.longest);
            count.until = now.plus(wait);
        }
        Ok(())
    }

    fn give_back(&self, key: &Key) {
        if let Some(count) = self.counts.get(key) {
            let mut count = count.lock().expect("nothing panics while it is held");
            count.attempts = count.attempts.saturating_sub(1);
            count.until = count.last;
        }
    }
}

fn between(now: Timestamp, until: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(until.0 - now.0).unwrap_or(0))
}

/// Refuses, and says for how long.
pub(crate) fn slow_down(wait: Duration) -> Error {
    let seconds = u32::try_from(wait.as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1);
    let message = format!("too many attempts; try again in {seconds} s");
    Error::limited("identity.too_many_attempts", message).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(account: &str, address: &str) -> Attempt {
        let network = Network::of(address.parse().expect("an address"));
        Attempt { what: "sign-in", account: Some(account.to_owned()), network, tenant: None }
    }

    const START: Timestamp = Timestamp(1_000_000_000_000);

    fn later(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn waits_double_and_end_and_success_forgets_them() {
        let (throttle, guess) = (Throttle::default(), attempt("a@b", "192.0.2.1"));
        let mut now = START;
        for _ in 0..PAIR.free {
            assert_eq!(throttle.begin(guess.clone(), now).expect("free").verdict, Verdict::Allowed);
        }
        for wait in [1u32, 2, 4, 8, 16] {
            throttle.begin(guess.clone(), now).expect("the wait is over");
            let refused = throttle.begin(guess.clone(), now).expect_err("it waits");
            assert_eq!((refused.status(), refused.retry_after_seconds()), (429, Some(wait)));
            now = now.plus(Duration::from_secs(wait.into()));
        }
        let right = throttle.begin(guess.clone(), now).expect("the wait is over");
        throttle.succeeded(&right);
        assert_eq!(throttle.begin(guess.clone(), now).expect("forgotten").verdict, Verdict::Allowed);
        let limit = PAIR.longest.as_secs();
        for _ in 0..40 {
            now = now.plus(PAIR.longest + Duration::from_secs(1));
            throttle.begin(guess.clone(), now).expect("never more than the longest wait");
        }
        let refused = throttle.begin(guess.clone(), now).expect_err("it waits");
        assert_eq!(refused.retry_after_seconds().map(u64::from), Some(limit));
    }

    #[test]
    fn strangers_from_everywhere_slow_each_other_but_not_a_known_network() {
        let throttle = Throttle::default();
        let mut stopped = 0;
        for number in 0..100u8 {
            let guess = attempt("a@b", &format!("198.51.100.{number}"));
            if let Verdict::KnownNetworksOnly(wait) = throttle.begin(guess, START).expect("the address is new").verdict
            {
                assert!(wait > Duration::ZERO);
                stopped += 1;
            }
        }
        assert_eq!(stopped, 100 - STRANGERS.free - 1);
        // The owner's own network is judged by its own count; the caller decides that it is known.
        let owner = throttle.begin(attempt("a@b", "192.0.2.9"), START).expect("its own count is empty");
        assert!(matches!(owner.verdict, Verdict::KnownNetworksOnly(_)));
        // Getting in from there gives the strangers nothing back that it had not taken.
        throttle.succeeded(&owner);
        let still = throttle.begin(attempt("a@b", "203.0.113.7"), START).expect("its own count is empty");
        assert!(matches!(still.verdict, Verdict::KnownNetworksOnly(_)));
        // Another account from a fresh address notices nothing, and a reset frees this one.
        assert_eq!(throttle.begin(attempt("c@d", "192.0.2.10"), START).expect("free").verdict, Verdict::Allowed);
        throttle.forget_account("sign-in", "a@b");
        assert_eq!(throttle.begin(attempt("a@b", "192.0.2.11"), START).expect("free").verdict, Verdict::Allowed);
    }

    #[test]
    fn one_address_is_slowed_over_all_accounts_and_a_64_counts_as_one() {
        let throttle = Throttle::default();
        for number in 0..=ADDRESS.free {
            let guess = attempt(&format!("{number}@b"), &format!("2001:db8::{number:x}"));
            throttle.begin(guess, START).expect("free");
        }
        let slowed = throttle.begin(attempt("x@b", "2001:db8::ffff"), START).expect("its own count is empty");
        assert!(matches!(slowed.verdict, Verdict::KnownNetworksOnly(_)));
        // Without an account there is nobody to know.
        let nobody = Attempt { account: None, ..attempt("", "2001:db8::ffff") };
        assert_eq!(throttle.begin(nobody, START).expect_err("slowed").code(), "identity.too_many_attempts");
        let elsewhere = throttle.begin(attempt("x@b", "2001:db8:0:1::1"), START).expect("another network");
        assert_eq!(elsewhere.verdict, Verdict::Allowed);
        let forgotten = throttle.begin(attempt("x@b", "2001:db8::ffff"), later(3600)).expect("free");
        assert_eq!(forgotten.verdict, Verdict::Allowed);
        assert_eq!(Network::of("::ffff:192.0.2.1".parse().expect("an address")).to_string(), "192.0.2.1");
    }
}
