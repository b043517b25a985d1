//! What asking for a permission costs: every handler with `Access::Permission` asks once per
//! request. Not for how the set is read from the database.

use std::hint::black_box;
use std::time::Duration;

use kernel::PermissionSet;

use crate::figures::{Dice, Spread, per_call};
use crate::people::People;
use crate::report::Table;
use crate::{Outcome, Plan, people, say};

/// Measures with the set that an administrator really has.
pub fn measure(plan: &Plan, people: &People) -> Outcome<Table> {
    say("permission checks");
    let store = people.store(plan)?;
    let authenticator = people::authenticator(plan, &store)?;
    // The first of each organisation is its administrator, but tokens are in the order of their making.
    let mut rights = PermissionSet::default();
    for token in &people.tokens {
        let found = plan.runtime.block_on(authenticator.bearer(token))?.principal;
        if &*found.role == "admin" {
            rights = found.permissions;
            break;
        }
    }
    let asked = questions(&rights);
    let scopes = PermissionSet::new(rights.iter().step_by(2));
    let (rounds, length) = if plan.quick { (3, 50) } else { (9, 200) };
    let length = Duration::from_millis(length);
    let allows = |_: usize, call: usize| {
        black_box(rights.allows(black_box(&asked[call % asked.len()])));
    };
    let intersect = |_: usize, _: usize| {
        black_box(rights.intersection(black_box(&scopes)));
    };
    let mut taken = [vec![], vec![], vec![]];
    for _ in 0..rounds {
        taken[0].push(per_call(1, length, allows));
        taken[1].push(per_call(2, length, allows));
        taken[2].push(per_call(1, length, intersect));
    }
    let [allows, allows_twice, intersection] = taken.map(|rounds| Spread::of(&rounds));
    let count = rights.iter().count();
    let mut table = Table::new("Permission check", &["", "ns"]);
    table.row(["is it allowed, one thread".to_owned(), allows.to_string()]);
    table.row(["is it allowed, two threads at once".to_owned(), allows_twice.to_string()]);
    table.row([
        format!("scopes of an API token cut by its owner's rights ({} and {count})", scopes.iter().count()),
        intersection.to_string(),
    ]);
    table.note(format!(
        "The set of an administrator, {count} permissions; half of the questions are about one that is in it."
    ));
    plan.runtime.block_on(store.close());
    Ok(table)
}

/// Returns names in random order, half of them in the set.
fn questions(rights: &PermissionSet) -> Vec<String> {
    let mut asked: Vec<String> = rights.iter().flat_map(|known| [known.to_owned(), format!("{known}s")]).collect();
    let mut dice = Dice::seeded(2);
    for place in (1..asked.len()).rev() {
        asked.swap(place, dice.below(place + 1));
    }
    asked
}
