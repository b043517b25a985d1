//! The first table: each rung in a line, the goals, the versions, the machine's cores. Not for a rung's own
//! figures.

use std::time::Duration;

use measure::figures::{Quartiles, short};
use measure::report::Table;

use crate::Extent;
use crate::ground::{Ground, PEERS};
use crate::http_rung::Found;
use crate::peers::Peer;
use crate::rungs::Rung;

/// How much the full chain may add to the bare request.
const TAX: f64 = 1.10;
/// How much of bare nginx the full chain may take.
const CHAIN: f64 = 1.15;

/// A line for each rung.
#[derive(Default)]
pub struct Summary {
    rows: Vec<Vec<String>>,
    goals: Vec<String>,
    missing: Vec<String>,
}

impl Summary {
    /// Notes a rung.
    pub fn note(&mut self, rung: Rung, found: &Found) {
        let own = found.of(Peer::Portico);
        let mut row = vec![rung.title.to_owned()];
        row.push(own.map_or_else(|| "—".to_owned(), |own| Quartiles::of(&own.high).to_string()));
        for peer in Peer::ALL.into_iter().filter(|peer| *peer != Peer::Portico) {
            let ratio = found.of(peer).zip(own).map(|(theirs, own)| match peer.is_script() {
                true => Quartiles::ratio(own.at_low(), theirs.at_low()),
                false => Quartiles::ratio(&own.high, &theirs.high),
            });
            row.push(ratio.map_or_else(
                || "—".to_owned(),
                |ratio| match ratio.median {
                    lost if lost > 1.0 => format!("**{}**", short(lost)),
                    won => short(won),
                },
            ));
        }
        self.rows.push(row);
        if rung.name == "s5" {
            self.judge_chain(found);
        }
    }

    fn judge_chain(&mut self, found: &Found) {
        let Some(own) = found.of(Peer::Portico) else { return };
        let mut goal = |what: &str, ratio: Quartiles, limit: f64| {
            let judged = if ratio.median <= limit { "met" } else { "**missed**" };
            self.goals.push(format!("{what}: {ratio}, goal at most {}: {judged}.", short(limit)));
        };
        if let Some(nginx) = found.of(Peer::Nginx) {
            goal("Full chain to bare nginx", Quartiles::ratio(&own.high, &nginx.high), CHAIN);
        }
        if let Some(bare) = found.bare() {
            goal("Full chain to Portico bare", Quartiles::ratio(&own.high, &bare.high), TAX);
        }
    }

    /// Notes a rung that could not be measured.
    pub fn not_measured(&mut self, title: &str, reason: &str) {
        let reason = reason.lines().next().unwrap_or_default();
        self.missing.push(format!("{title} ({reason})"));
    }

    /// Writes it.
    pub fn table(&self, ground: &Ground, peers: &[Peer], extent: Extent, took: Duration) -> Table {
        let others: Vec<String> = Peer::ALL
            .into_iter()
            .filter(|peer| *peer != Peer::Portico)
            .map(|peer| format!("to {}'s", peer.name()))
            .collect();
        let mut head = vec!["CPU for each request", "Portico, µs"];
        head.extend(others.iter().map(String::as_str));
        let mut table = Table::new("All rungs of requests and answers", &head);
        self.rows.iter().for_each(|row| table.row(row));
        table.note(
            "The ratios are of CPU time in user and kernel mode at an equal rate, median of those within each round; \
             above 1, in bold, Portico takes more. To scripts the comparison is at a rate that they reach.",
        );
        self.goals.iter().for_each(|goal| table.note(goal));
        if !self.missing.is_empty() {
            table.note(format!("**Not measured**: {}.", self.missing.join("; ")));
        }
        let versions: Vec<String> =
            peers.iter().map(|peer| format!("{} {}", peer.name(), peer.version(ground))).collect();
        table.note(format!(
            "{} One worker each (`worker_processes 1`, `nbthread 1`, `--concurrency 1`, `GOMAXPROCS=1`, `threads: 1`, \
             `server.cores=1`); those that are not measured are stopped (SIGSTOP). {} rounds, every other one in \
             reverse order; medians with quartiles; the whole took {} minutes. Versions: {}. Configurations: \
             [{PEERS}](../{PEERS}).",
            ground.cores.sentence(),
            extent.rounds,
            short(took.as_secs_f64() / 60.0),
            versions.join(", ")
        ));
        table
    }
}
