//! What was found of streams, as a table. Not for measuring.

use measure::figures::{Latencies, Quartiles, short};
use measure::report::Table;

use super::{CANCELLED, GAP, Heard, OPENED, STEADY, STREAMS};
use crate::peers::Peer;
use crate::rungs::Rung;

/// Writes it.
pub fn write(rung: Rung, entrants: &[(&str, Option<Peer>)], found: &[Vec<Heard>]) -> Table {
    let mut table = Table::new(
        rung.title,
        &[
            "",
            "first event p50 / p99, ms",
            "event's way p50 / p99, ms",
            "gap distorted by p50 / p99, ms",
            "hanging up seen after p50 / p99, ms",
            "CPU µs for each event",
            "KiB for each stream",
        ],
    );
    for ((name, peer), rounds) in entrants.iter().zip(found) {
        let both = |of: &dyn Fn(&Heard) -> &Latencies| {
            let each =
                |share: f64| Quartiles::of(&rounds.iter().map(|heard| of(heard).within(share)).collect::<Vec<_>>());
            format!("{} / {}", each(0.5), each(0.99))
        };
        let one = |of: &dyn Fn(&Heard) -> f64| Quartiles::of(&rounds.iter().map(of).collect::<Vec<_>>()).to_string();
        let own = |text: String| if peer.is_some() { text } else { "—".to_owned() };
        table.row([
            (*name).to_owned(),
            both(&|heard| &heard.first),
            both(&|heard| &heard.transit),
            both(&|heard| &heard.distortion),
            both(&|heard| &heard.cancel),
            own(one(&|heard| heard.cpu)),
            own(one(&|heard| heard.memory)),
        ]);
    }
    table.note(format!(
        "{STREAMS} streams, {} opened a second, an event of 64 bytes on each every {} ms; {} s of it counted, medians of \
         {} rounds. First event: from the request to its bytes; the origin sends it with the head. {CANCELLED} are hung up one \
         after the other while the others go on.",
        short(OPENED),
        GAP.as_millis(),
        STEADY.as_secs(),
        found.first().map_or(0, Vec::len)
    ));
    table
}
