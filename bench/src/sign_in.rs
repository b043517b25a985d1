//! `sign-in`: what signing in and staying signed in cost. Reads top to bottom. Not for what any
//! part measures.

use std::time::Duration;

use store::Engine;

use crate::figures::short;
use crate::people::People;
use crate::{Outcome, Plan, flood, login, peer, permission, process, say, scale, token_check};

/// The small databases: organisations, and API tokens for each person.
const SMALL: (usize, usize) = (10, 30);

/// How long, before and after, it looks at what else the machine does.
const LOOK: Duration = Duration::from_secs(5);
/// How many cores others may use.
const QUIET: f64 = 0.1;

/// Measures everything and prints the report.
pub fn run(plan: &Plan) -> Outcome {
    let before = process::cores_in_use(LOOK)?;
    let small = plan
        .engines
        .iter()
        .map(|&engine| Ok((engine, People::make(plan, engine, SMALL.0, SMALL.1)?)))
        .collect::<Outcome<Vec<(Engine, People)>>>()?;
    let mut tables = vec![token_check::measure(plan, &small)?, permission::measure(plan, &small[0].1)?];
    tables.push(peer::measure(plan, &small[0].1)?);
    tables.push(login::measure(plan, &small)?);
    tables.extend(flood::measure(plan, &small)?);
    tables.extend(scale::measure(plan, &small)?);
    if plan.engines.len() == 1 {
        say("there is no PostgreSQL, so nothing was measured on it");
    }
    let after = process::cores_in_use(LOOK)?;
    let judged = if before.max(after) > QUIET { ": run it again on a quiet machine" } else { "" };
    println!(
        "Other programs used {} cores before it began and {} after it ended{judged}.\n",
        short(before),
        short(after)
    );
    let text: String = tables.iter().map(ToString::to_string).collect();
    println!("{}", text.trim_end());
    Ok(())
}
