//! `sign-in`: what signing in and staying signed in cost. Reads top to bottom. Not for what any
//! part measures.

use store::Engine;

use crate::people::People;
use crate::{Outcome, Plan, flood, login, peer, permission, quiet, say, scale, token_check};

/// The small databases: organisations, and API tokens for each person.
const SMALL: (usize, usize) = (10, 30);

/// Measures everything and prints the report.
pub fn run(plan: &Plan) -> Outcome {
    let run = quiet::Run::begin()?;
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
    run.end(&tables)
}
