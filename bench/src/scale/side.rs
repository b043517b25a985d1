//! One of the two databases that are compared, its server, and what its rounds took. Not for
//! comparing.

use std::time::Instant;

use identity::Authenticator;
use store::Store;

use crate::client::{Connection, post};
use crate::figures::{Dice, Latencies};
use crate::people::{self, People, slug, who_am_i};
use crate::server::Server;
use crate::{Outcome, Plan, process};

/// What is measured, in the order of [`Side::rounds`].
pub const MEASURED: [&str; 5] = [
    "sign-in with a password",
    "sign-in with a one-use code: no hash",
    "first request with an API token: the server asks the database",
    "the same request again: the gateway knows the token",
    "cold check of an API token by itself, in this process",
];

/// How often in a round.
const PASSWORDS: usize = 25;
const CODES: usize = 100;
const TOKENS: usize = 200;
const CHECKS: usize = 500;

pub struct Side<'a> {
    pub people: &'a People,
    pub server: Server,
    /// The server's memory before anybody came.
    pub started: (f64, f64),
    /// For each of [`MEASURED`] the latencies of each round.
    pub rounds: [Vec<Latencies>; 5],
    store: Store,
    authenticator: Authenticator,
    /// API tokens that the server has not met; each counts as new only once.
    fresh: Vec<&'a str>,
    dice: Dice,
}

impl<'a> Side<'a> {
    pub fn open(plan: &Plan, people: &'a People) -> Outcome<Self> {
        let server = Server::start(people.url())?;
        let started = process::memory(server.pid())?;
        let store = people.store(plan)?;
        let authenticator = people::authenticator(plan, &store)?;
        let mut dice = Dice::seeded(people.tenants as u64);
        let mut fresh: Vec<&str> = people.tokens.iter().map(String::as_str).collect();
        for place in (1..fresh.len()).rev() {
            fresh.swap(place, dice.below(place + 1));
        }
        let mut side = Self { people, server, started, rounds: Default::default(), store, authenticator, fresh, dice };
        // One round for nothing: the pools open their connections, the engine reads its pages.
        side.round(plan, 0)?;
        side.rounds = Default::default();
        Ok(side)
    }

    pub fn round(&mut self, plan: &Plan, round: usize) -> Outcome {
        let mut took: [Latencies; 5] = Default::default();
        let mut connection = Connection::open(self.server.address())?;
        for _ in 0..PASSWORDS {
            let person = self.dice.below(self.people.count());
            took[0].add(connection.timed(&self.people.login(person))?.1);
        }
        for place in 0..CODES {
            let slug = slug(self.dice.below(self.people.count()));
            let code = plan.runtime.block_on(identity::create_sign_in_code(&self.store, &slug))?;
            let body = format!(r#"{{"code":"{}"}}"#, code.code);
            let client = 0x0080_0000 + (round * CODES + place) as u32;
            took[1].add(connection.timed(&post("/api/auth/login", &body, client))?.1);
        }
        let fresh = self.fresh.split_off(self.fresh.len().saturating_sub(TOKENS));
        for place in [2, 3] {
            for token in &fresh {
                took[place].add(connection.timed(&who_am_i(token))?.1);
            }
        }
        let (authenticator, dice, tokens) = (&self.authenticator, &mut self.dice, &self.people.tokens);
        took[4] = plan.runtime.block_on(async {
            let mut latencies = Latencies::default();
            for _ in 0..CHECKS {
                let token = &tokens[dice.below(tokens.len())];
                let began = Instant::now();
                authenticator.bearer(token).await?;
                latencies.add(began.elapsed());
            }
            Outcome::Ok(latencies)
        })?;
        for (rounds, round) in self.rounds.iter_mut().zip(took) {
            rounds.push(round);
        }
        Ok(())
    }

    pub fn close(self, plan: &Plan) {
        drop(self.server);
        plan.runtime.block_on(self.store.close());
    }
}
