//! What was found, as tables and bars. Not for measuring.

use super::load::{CONNECTIONS, Sample};
use super::pinned::Cores;
use super::requests::{ITEMS, Operation, PAGE};
use super::system::{Kind, System};
use super::{Extent, Found};
use crate::figures::{Latencies, Spread, short};
use crate::report::Table;

/// How long the longest bar is, in characters.
const BAR: f64 = 50.0;
/// What share of the rate must be answered.
const SUSTAINED: f64 = 0.95;

/// Returns the median over rounds.
pub fn median(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    Spread::of(&samples.iter().map(figure).collect::<Vec<_>>()).median
}

/// Returns the report.
pub fn write(systems: &[System], found: &Found, extent: Extent, cores: Cores, peers: &str) -> Vec<Table> {
    let report = Report { systems, found };
    let mut goals = report.goals();
    goals.note(format!(
        "Goals: of FastAPI's CPU time a tenth for reads and a fourth for writes, of Express's a fifth and a third. Each \
         ratio is taken within a round; median, smallest and greatest of {} rounds.",
        extent.rounds
    ));
    let mut application =
        report.each("CPU of the application at equal rate, µs for each request", |sample| sample.application);
    application.note(format!(
        "All are sent the same, each request when it is due, over {CONNECTIONS} connections, {} s for each system and operation in each round; the systems take turns, and those \
         that are not measured are stopped (SIGSTOP). CPU time is that of all threads, in user and kernel mode, until \
         0.3 s after the last answer; what a system does without being asked is in it. {}",
        short(extent.paced.as_secs_f64()),
        cores.sentence()
    ));
    application.note(report.bars());
    application.note(format!(
        "One tenant with {ITEMS} items; pages of {PAGE} sorted by name, by cursor; the item that is read or changed differs \
         from request to request. A change is one transaction: a guarded UPDATE, a line of the ledger, an event. Before \
         each round all systems have to answer alike. Portico is the full chain: gateway, API token from its cache, access \
         rules, access log, row-level security, positions of events, subscriptions. “Stripped” is the service's routes and \
         store behind axum's plain server. The peers check a token by its SHA-256 against a table, remembered for 30 s, \
         and write no access log; a read of theirs is one statement outside of a transaction, and nothing but their own \
         WHERE keeps tenants apart. One process each, pools of {CONNECTIONS}. {peers}."
    ));
    let postgres = report.each("CPU of PostgreSQL beside it, µs for each request", |sample| sample.postgres);
    vec![goals, application, postgres, report.latencies(), report.saturated(extent), report.memory()]
}

struct Report<'r> {
    systems: &'r [System],
    found: &'r Found,
}

impl Report<'_> {
    fn place(&self, kind: Kind) -> Option<usize> {
        self.systems.iter().position(|system| system.kind() == kind)
    }

    fn application(&self, kind: Kind, operation: usize) -> Vec<f64> {
        let samples = self.place(kind).map(|system| &self.found.paced[system][operation]);
        samples.into_iter().flatten().map(|sample| sample.application).collect()
    }

    fn goals(&self) -> Table {
        let head = ["CPU of the application", "to FastAPI's", "goal", "", "to Express's", "goal", ""];
        let mut table = Table::new("Against the peers", &head);
        for kind in [Kind::Portico, Kind::Bare] {
            for (place, operation) in Operation::ALL.into_iter().enumerate() {
                let mut row = vec![format!("{}: {}", kind.name(), operation.name())];
                for (peer, goal) in [Kind::FastApi, Kind::Express].into_iter().zip(operation.goals()) {
                    let ratio = Spread::ratio(&self.application(kind, place), &self.application(peer, place));
                    let judged = if ratio.median <= goal { "met" } else { "**missed**" };
                    row.extend([ratio.to_string(), short(goal), judged.to_owned()]);
                }
                table.row(row);
            }
        }
        table
    }

    fn head(&self, first: &[&str]) -> Vec<String> {
        let systems = self.systems.iter().map(|system| system.kind().name());
        first.iter().copied().chain(systems).map(str::to_owned).collect()
    }

    fn table(&self, title: &str, first: &[&str]) -> Table {
        let head = self.head(first);
        Table::new(title, &head.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Returns a figure of each operation at its rate.
    fn each(&self, title: &str, figure: impl Fn(&Sample) -> f64) -> Table {
        let mut table = self.table(title, &["", "sent a second"]);
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            let mut row = vec![operation.name().to_owned(), short(operation.per_second())];
            for system in &self.found.paced {
                let rounds: Vec<f64> = system[place].iter().map(&figure).collect();
                row.push(if rounds[0].is_nan() { short(f64::NAN) } else { Spread::of(&rounds).to_string() });
            }
            table.row(row);
        }
        table
    }

    fn bars(&self) -> String {
        let mut text = String::from("```text\n");
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            let figures: Vec<f64> =
                self.found.paced.iter().map(|system| median(&system[place], |sample| sample.application)).collect();
            let longest = figures.iter().copied().fold(1.0, f64::max);
            for (number, (system, figure)) in self.systems.iter().zip(&figures).enumerate() {
                let label = if number == 0 { operation.name() } else { "" };
                let bar = "█".repeat((figure / longest * BAR).round().max(1.0) as usize);
                text.push_str(&format!("{label:<7} {:<18} {bar} {} µs\n", system.kind().name(), short(*figure)));
            }
        }
        text.push_str("```");
        text
    }

    fn latencies(&self) -> Table {
        let mut table = self.table("Latency at that rate: p50 / p99, ms", &["", "sent a second"]);
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            let mut row = vec![operation.name().to_owned(), short(operation.per_second())];
            for system in &self.found.paced {
                let mut all = Latencies::default();
                system[place].iter().for_each(|sample| all.extend(&sample.latencies));
                row.push(format!("{} / {}", short(all.median()), short(all.within(0.99))));
            }
            table.row(row);
        }
        table.note("Over all rounds, from when a request was due.");
        let late = self.not_sustained();
        if !late.is_empty() {
            table.note(format!("**Not sustained**, so not at equal rate: {}.", late.join("; ")));
        }
        table
    }

    /// Names what was answered more slowly than it was sent in some round, with how many a second.
    fn not_sustained(&self) -> Vec<String> {
        let mut late = Vec::new();
        for (system, samples) in self.systems.iter().zip(&self.found.paced) {
            for (operation, samples) in Operation::ALL.into_iter().zip(samples) {
                let slowest = samples.iter().map(|sample| sample.per_second).fold(f64::INFINITY, f64::min);
                if slowest < operation.per_second() * SUSTAINED {
                    late.push(format!("{}, {}: {} a second", system.kind().name(), operation.name(), short(slowest)));
                }
            }
        }
        late
    }

    fn saturated(&self, extent: Extent) -> Table {
        let title = format!("As fast as {CONNECTIONS} connections go, requests a second");
        let mut table = self.table(&title, &[""]);
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            let mut row = vec![operation.name().to_owned()];
            for system in &self.found.saturated {
                let rounds: Vec<f64> = system[place].iter().map(|sample| sample.per_second).collect();
                row.push(Spread::of(&rounds).to_string());
            }
            table.row(row);
        }
        table.note(format!(
            "One request after the other on each connection, {} s, {} rounds in turns. Writes wait for the disk; with the \
             application on a core of its own, load and database may be the limit.",
            short(extent.saturated.as_secs_f64()),
            extent.saturated_rounds
        ));
        table
    }

    fn memory(&self) -> Table {
        let mut table = self.table("Memory, MiB, and what is done when nobody asks", &[""]);
        let loaded = |number: usize| {
            let samples = self.found.paced[number].iter().chain(&self.found.saturated[number]).flatten();
            samples.map(|sample| sample.memory).fold(0.0, f64::max)
        };
        let mut row = |name: &str, figure: &dyn Fn(usize, &System) -> f64| {
            let figures = self.systems.iter().enumerate().map(|(number, system)| short(figure(number, system)));
            table.row(std::iter::once(name.to_owned()).chain(figures));
        };
        row("resident memory, started", &|_, system| system.idle.memory);
        row("resident memory, most after a load", &|number, _| loaded(number));
        row("idle: CPU ms of the application a second", &|_, system| system.idle.application);
        row("idle: CPU ms of PostgreSQL a second", &|_, system| match system.uses_postgres() {
            true => system.idle.postgres,
            false => f64::NAN,
        });
        let warned: Vec<String> = self.systems.iter().flat_map(System::warnings).collect();
        if !warned.is_empty() {
            table.note(format!("The servers warned: {}.", warned.join("; ")));
        }
        table
    }
}
