//! A ledger in this process's memory: exact among the cores of one process, gone with it. For tests and for a gateway
//! alone. Not shared between processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{Account, Clock, Error, Period, Result, TenantId, Timestamp};

use crate::ledger::{Budget, Caller, Ledger, Per, Reservation, ReservationId, Unit, Wanted};
use crate::totals::Totals;
use crate::usage::{Outcome, Spent, Usage};

/// How many accounts are kept before those that hold nothing are dropped.
const MANY: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    budget: Arc<str>,
    tenant: Option<TenantId>,
    subject: Option<Arc<str>>,
}

impl Key {
    fn of(budget: &Budget, caller: &Caller) -> Self {
        let (tenant, subject) = match budget.per {
            Per::Tenant => (caller.tenant, None),
            Per::User => (caller.tenant, Some(caller.user.clone())),
            Per::Credential => (caller.tenant, Some(caller.credential.clone())),
            Per::Route => (caller.tenant, Some(caller.route.clone())),
            Per::SharedRoute => (None, Some(caller.route.clone())),
        };
        Self { budget: budget.name.clone(), tenant, subject }
    }
}

#[derive(Debug)]
struct Open {
    wanted: Wanted,
    /// What is reserved: tokens, and money.
    held: Amounts,
    until: Timestamp,
    /// Whether the lease has ended, and the reservation been entered as used.
    lapsed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amounts {
    tokens: i64,
    nano: i64,
}

impl Amounts {
    fn of(self, unit: Unit) -> i64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Nano => self.nano,
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    accounts: HashMap<Key, (Budget, Account)>,
    open: HashMap<ReservationId, Open>,
    totals: Totals,
    swept: i64,
}

/// A ledger in memory.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    clock: Clock,
    book: Mutex<Book>,
}

impl MemoryLedger {
    /// Returns an empty ledger.
    pub fn new(clock: Clock) -> Self {
        Self { clock, book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what has been entered so far.
    pub fn totals(&self) -> Totals {
        let book = self.book();
        let open = book.open.values().filter(|open| !open.lapsed).count();
        let reserved = book.accounts.values().map(|(_, account)| account.reserved).sum();
        Totals { open, reserved, ..book.totals }
    }

    /// Returns what a caller has left of a budget.
    pub fn left(&self, budget: &Budget, caller: &Caller) -> i64 {
        self.book().account(budget, caller, self.clock.now()).left(budget.limit)
    }
}

fn exhausted(budget: &Budget, now: Timestamp) -> Error {
    let rate = budget.period == Period::Minute;
    let message = if rate { "too many tokens a minute" } else { "the budget for language models is used up" };
    let error = Error::limited("gateway.budget_exhausted", message)
        .status_code(if rate { 429 } else { 402 })
        .context(format!("budget {}", budget.name));
    match budget.period.seconds_left(now) {
        Some(seconds) => error.retry_after(seconds),
        None => error,
    }
}

impl Book {
    fn account(&mut self, budget: &Budget, caller: &Caller, now: Timestamp) -> &mut Account {
        let fresh = || (budget.clone(), Account::new(budget.period, now));
        let (known, account) = self.accounts.entry(Key::of(budget, caller)).or_insert_with(fresh);
        if known != budget {
            // A reload changed it: what was used stays, unless it is counted otherwise now.
            if (known.unit, known.period) != (budget.unit, budget.period) {
                let reserved = if known.unit == budget.unit { account.reserved } else { 0 };
                *account = Account::new(budget.period, now);
                account.reserved = reserved;
            }
            *known = budget.clone();
        }
        account.roll(budget.period, budget.limit, now);
        account
    }

    fn reserve(&mut self, wanted: &Wanted, now: Timestamp) -> Result<Reservation> {
        if let Some(open) = self.open.get(&wanted.id) {
            return Ok(Reservation { answer: open.held.tokens.saturating_sub(wanted.question).max(0) });
        }
        let mut answer = wanted.most;
        for budget in wanted.budgets.iter() {
            let left = self.account(budget, &wanted.caller, now).left(budget.limit);
            let room = match budget.unit {
                Unit::Tokens => left.saturating_sub(wanted.question),
                Unit::Nano => {
                    let rest = left.saturating_sub(wanted.price.cost(wanted.usage(0)));
                    if rest < 0 { -1 } else { wanted.price.output_for(rest) }
                }
            };
            if room < wanted.least {
                return Err(exhausted(budget, now));
            }
            answer = answer.min(room);
        }
        let usage = wanted.usage(answer);
        let held = Amounts { tokens: usage.total(), nano: wanted.price.cost(usage) };
        self.hold(&wanted.budgets, &wanted.caller, held, 1, now);
        let open = Open { wanted: wanted.clone(), held, until: now.plus(wanted.lease), lapsed: false };
        self.open.insert(wanted.id.clone(), open);
        Ok(Reservation { answer })
    }

    /// Returns the account that an open call is entered in: as it is kept now, unless it counts something else.
    fn entered(&mut self, budget: &Budget, caller: &Caller, now: Timestamp) -> Option<&mut Account> {
        let fresh = || (budget.clone(), Account::new(budget.period, now));
        let (known, account) = self.accounts.entry(Key::of(budget, caller)).or_insert_with(fresh);
        account.roll(known.period, known.limit, now);
        (known.unit == budget.unit).then_some(account)
    }

    fn hold(&mut self, budgets: &[Budget], caller: &Caller, amounts: Amounts, sign: i64, now: Timestamp) {
        for budget in budgets {
            if let Some(account) = self.entered(budget, caller, now) {
                account.reserved = account.reserved.saturating_add(sign * amounts.of(budget.unit)).max(0);
            }
        }
    }

    fn charge(&mut self, open: &Open, amounts: Amounts, sign: i64, now: Timestamp) {
        for budget in open.wanted.budgets.iter() {
            if let Some(account) = self.entered(budget, &open.wanted.caller, now) {
                account.used = account.used.saturating_add(sign * amounts.of(budget.unit)).max(0);
            }
        }
    }

    fn extend(&mut self, id: &ReservationId, upto: Usage, nano: i64, now: Timestamp) -> bool {
        let Some(open) = self.open.remove(id) else { return false };
        let wanted = Amounts { tokens: upto.total().max(open.held.tokens), nano: nano.max(open.held.nano) };
        let more =
            Amounts { tokens: wanted.tokens - open.held.tokens, nano: wanted.nano.saturating_sub(open.held.nano) };
        let (budgets, caller) = (open.wanted.budgets.clone(), open.wanted.caller.clone());
        let fits = |budget: &Budget| self.account(budget, &caller, now).left(budget.limit) >= more.of(budget.unit);
        let room = !open.lapsed && budgets.iter().all(fits);
        if room {
            self.hold(&budgets, &caller, more, 1, now);
        }
        let held = if room { wanted } else { open.held };
        self.open.insert(id.clone(), Open { held, ..open });
        room
    }

    fn settle(&mut self, id: &ReservationId, spent: Spent, now: Timestamp) {
        let Some(open) = self.open.remove(id) else { return };
        let amounts = Amounts { tokens: spent.usage.total(), nano: spent.cost_nano };
        if open.lapsed {
            // It was entered as used in full; now it is known.
            self.charge(&open, open.held, -1, now);
            self.totals.enter(lapsed(&open), -1);
        } else {
            self.hold(&open.wanted.budgets, &open.wanted.caller, open.held, -1, now);
        }
        self.charge(&open, amounts, 1, now);
        self.totals.enter(spent, 1);
    }

    fn release(&mut self, id: &ReservationId, now: Timestamp) {
        if self.open.get(id).is_some_and(|open| !open.lapsed)
            && let Some(open) = self.open.remove(id)
        {
            self.hold(&open.wanted.budgets, &open.wanted.caller, open.held, -1, now);
        }
    }

    /// Enters as used what nobody has settled in time, and forgets what holds nothing.
    fn sweep(&mut self, now: Timestamp) {
        if now.seconds() == self.swept {
            return;
        }
        self.swept = now.seconds();
        let late = |open: &Open| !open.lapsed && open.until <= now;
        let ids: Vec<_> = self.open.iter().filter(|(_, open)| late(open)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            let Some(mut open) = self.open.remove(&id) else { continue };
            self.hold(&open.wanted.budgets, &open.wanted.caller, open.held, -1, now);
            self.charge(&open, open.held, 1, now);
            self.totals.enter(lapsed(&open), 1);
            // Should the call still end, its true usage takes the place of this.
            open.lapsed = true;
            open.until = now.plus(open.wanted.lease);
            self.open.insert(id, open);
        }
        self.open.retain(|_, open| !open.lapsed || open.until > now);
        if self.accounts.len() > MANY {
            self.accounts.retain(|_, (budget, account)| {
                account.roll(budget.period, budget.limit, now);
                (account.used, account.reserved) != (0, 0)
            });
        }
    }
}

fn lapsed(open: &Open) -> Spent {
    let usage = open.wanted.usage(open.held.tokens.saturating_sub(open.wanted.question).max(0));
    Spent { usage, cost_nano: open.held.nano, estimated: true, outcome: Outcome::Lapsed }
}

impl Ledger for MemoryLedger {
    fn reserve<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Reservation>> {
        let now = self.clock.now();
        let mut book = self.book();
        book.sweep(now);
        let reserved = book.reserve(wanted, now);
        async { reserved }.boxed()
    }

    fn extend<'a>(&'a self, id: &'a ReservationId, upto: Usage, cost_nano: i64) -> BoxFuture<'a, Result<bool>> {
        let room = self.book().extend(id, upto, cost_nano, self.clock.now());
        async move { Ok(room) }.boxed()
    }

    fn settle<'a>(&'a self, id: &'a ReservationId, spent: Spent) -> BoxFuture<'a, Result<()>> {
        self.book().settle(id, spent, self.clock.now());
        async { Ok(()) }.boxed()
    }

    fn release<'a>(&'a self, id: &'a ReservationId) -> BoxFuture<'a, Result<()>> {
        self.book().release(id, self.clock.now());
        async { Ok(()) }.boxed()
    }
}
