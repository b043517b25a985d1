//! The process ends at a named place in the middle of publishing, numbering, consuming, working or
//! taking a saga's step, and is started again. Then each acknowledged change has its event, each event
//! one delivery whose receiver knows it by one id, each event one effect in SQL, and each saga is
//! through or taken back. A place that is not reached fails the run. Not for kills at any moment, which
//! `crash` makes.
//!
//! `PORTICO_FAULT_SEEDS` says how many (a few unless said: `cargo xtask crash` asks for more).

mod receiver;
mod world;

use std::time::Duration;

use crate::crash::load::Dice;
use crate::fresh_database::FreshDatabase;
use crate::process::{Installation, environment};
use world::World;

/// A seed for each place, and some over.
const SEEDS: u64 = 25;

/// Where the process ends, and what else has to go wrong for it to get there.
struct Fault {
    place: &'static str,
    /// How often the place is passed before, at most.
    most: i64,
    also: &'static str,
}

const fn at(place: &'static str, most: i64) -> Fault {
    Fault { place, most, also: "" }
}

const FAULTS: [Fault; 14] = [
    at("publish.before_commit", 60),
    at("publish.after_commit", 60),
    at("consume.before_commit@webhooks.deliveries", 20),
    at("consume.after_commit@webhooks.deliveries", 20),
    at("consume.before_commit@notifications.items", 6),
    at("consume.before_mark", 2),
    at("task.after_claim@webhooks.deliver", 20),
    at("task.before_complete@webhooks.deliver", 20),
    at("task.after_complete@webhooks.deliver", 20),
    at("saga.after_intent", 12),
    at("saga.after_call", 12),
    at("saga.after_result", 12),
    at("saga.after_undo", 2),
    // Two that follow each other: the process dies again while it picks up what it left.
    Fault { place: "task.after_claim", most: 3, also: "consume.after_commit:5:error" },
];

/// The relay numbers events on PostgreSQL only.
const RELAY: [Fault; 2] = [at("relay.before_commit", 20), at("relay.after_commit", 20)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_sqlite() {
    run("sqlite", Installation::new(), FAULTS.iter().collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_postgres() {
    let Some(database) = FreshDatabase::create().await else { return };
    let installation = Installation::new().set("store.url", &database.url());
    run("postgres", installation, RELAY.iter().chain(&FAULTS).collect()).await;
}

async fn run(name: &str, installation: Installation, faults: Vec<&Fault>) {
    let number = |name| environment(name).map(|text| text.parse::<u64>().expect("a number"));
    let seeds = number("PORTICO_FAULT_SEEDS").unwrap_or(SEEDS);
    let first = number("PORTICO_FAULT_SEED").unwrap_or(1);
    let mut world = World::build(installation).await;
    for seed in first..first + seeds {
        let mut dice = Dice::new(seed);
        let fault = faults[(seed % faults.len() as u64) as usize];
        let plan = format!("{}:{}:abort,{}", fault.place, dice.between(0, fault.most), fault.also);
        world.load_until_it_dies(seed, &plan).await;
        world.recover().await;
        let wrong = world.judge().await;
        assert_eq!(wrong, Vec::<String>::new(), "{name}, seed {seed}, {plan}");
        if seed % 25 == 0 {
            println!("fault matrix {name}: {seed} seeds so far, {}", world.tally());
        }
    }
    println!(
        "fault matrix {name}: {seeds} seeds from {first}, each reached its place, {}, nothing lost",
        world.tally()
    );
    world.end(Duration::from_secs(20)).await;
}
