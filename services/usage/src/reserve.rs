//! Reserves what a call may use, or says which budget has no room: in one transaction, under the locks of its counters.
//! Not for what it used.

use kernel::{Answer, Error, PermissionSet, Result};
use sea_orm::ActiveValue::Set;
use store::{Store, Writer};

use crate::call::{Amounts, Exhausted, Reserved, Unit, Wanted};
use crate::counter::{self, Held, Rule, stored_text};
use crate::record::{self, Hold, State};
use crate::{again, budget};

/// How often counters that are missing are made before something must be wrong.
const TRIES: usize = 3;

/// Reserves what a call may use at most, within all budgets, or says which has no room. Asking again with the same
/// id changes nothing.
pub async fn reserve(store: &Store, wanted: &Wanted) -> Result<Reserved> {
    again::while_contended(|| reserve_once(store, wanted)).await
}

async fn reserve_once(store: &Store, wanted: &Wanted) -> Result<Reserved> {
    let mut ctx = store::system_context(wanted.tenant, PermissionSet::default());
    for _ in 0..TRIES {
        let mut writer = store.write(&mut ctx).await?;
        if let Some(row) = writer.select_with_deleted::<record::Entity>().id(wanted.id).one().await? {
            writer.roll_back().await?;
            return Ok(Reserved::Granted { answer: row.answer() });
        }
        let gateways = wanted.limits.iter().map(|limit| Rule { limit: limit.clone(), own: None });
        let rules: Vec<Rule> = gateways.chain(budget::that_count(&writer).await?).collect();
        let Some(mut held) = counter::lock_for(&writer, &rules, wanted).await? else {
            writer.roll_back().await?;
            counter::make(store, &rules, wanted).await?;
            continue;
        };
        let answer = match room(&held, wanted) {
            Ok(answer) => answer,
            Err(full) => return refuse(writer, &held[full], &rules[full]).await,
        };
        let amounts = Amounts {
            tokens: wanted.question.saturating_add(answer),
            nano: wanted.price.cost(wanted.question, answer),
        };
        for one in &mut held {
            one.reserve(amounts.of(one.row.unit));
            counter::write(&mut writer, one).await?;
        }
        write_down(&mut writer, wanted, &held, amounts).await?;
        writer.commit(Answer::no_content()).await?;
        return Ok(Reserved::Granted { answer });
    }
    Err(Error::internal("the counters of a call are not there although they were made"))
}

/// Returns how many tokens of answer there is room for, or which counter has no room for the least.
fn room(held: &[Held], wanted: &Wanted) -> Result<i64, usize> {
    let mut answer = wanted.most;
    for (index, one) in held.iter().enumerate() {
        let left = one.left();
        let room = match one.row.unit {
            Unit::Tokens => left.saturating_sub(wanted.question),
            Unit::Nano => match left.saturating_sub(wanted.price.cost(wanted.question, 0)) {
                ..0 => -1,
                rest => wanted.price.answer_for(rest),
            },
        };
        if room < wanted.least {
            return Err(index);
        }
        answer = answer.min(room);
    }
    Ok(answer)
}

async fn refuse(mut writer: Writer<'_>, held: &Held, rule: &Rule) -> Result<Reserved> {
    let exhausted = Exhausted {
        budget: rule.limit.name.to_string(),
        period: rule.limit.period,
        retry_after: rule.limit.period.seconds_left(writer.now()),
    };
    if counter::tell(&mut writer, held, &rule.limit.name).await? {
        writer.commit(Answer::no_content()).await?;
    } else {
        writer.roll_back().await?;
    }
    Ok(Reserved::Exhausted(exhausted))
}

async fn write_down(writer: &mut Writer<'_>, wanted: &Wanted, held: &[Held], amounts: Amounts) -> Result<()> {
    let row = record::ActiveModel {
        id: Set(wanted.id),
        state: Set(State::Reserved),
        model: Set(stored_text(&wanted.model)),
        route: Set(stored_text(&wanted.route)),
        caller: Set(stored_text(&wanted.user)),
        credential: Set(stored_text(&wanted.credential)),
        question: Set(wanted.question),
        reserved_tokens: Set(amounts.tokens),
        reserved_nano: Set(amounts.nano),
        holds: Set(Hold::written(held)?),
        input: Set(0),
        cached: Set(0),
        cache_write: Set(0),
        output: Set(0),
        cost_nano: Set(0),
        estimated: Set(false),
        outcome: Set(None),
        lease_ends: Set(writer.now().plus(wanted.lease)),
        settled_at: Set(None),
        ..Default::default()
    };
    writer.append::<record::Entity>(row).await.map(|_| ())
}
