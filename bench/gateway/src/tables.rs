//! What was found on a rung of requests and answers, as tables. Not for measuring.

use std::time::Duration;

use measure::figures::{Quartiles, short};
use measure::report::Table;

use crate::Extent;
use crate::http_rung::{CONNECTIONS, Found, HEADROOM, Measured};
use crate::peers::{Offer, Peer};
use crate::rungs::Rung;

const BAR: f64 = 48.0;

/// Writes a rung's table, with its bars.
pub fn http(rung: Rung, found: &Found, extent: Extent) -> Vec<Table> {
    let (low, high) = (short(found.low), short(found.high));
    let mut table = Table::new(
        rung.title,
        &[
            "",
            &format!("CPU µs each at {high}/s"),
            "to nginx's",
            &format!("at {low}/s"),
            "to nginx's",
            "saturated",
            "to nginx's",
            "system calls each",
            "RSS, MiB",
            &format!("p50 / p99 / p99.9 ms at {low}/s"),
            "saturated, a second",
        ],
    );
    let nginx = found.of(Peer::Nginx);
    let direct = found.direct();
    for (label, peer, offer, measured) in &found.entrants {
        let with = |rounds: &[f64], theirs: Option<&Vec<f64>>| {
            let ratio = theirs.map(|theirs| Quartiles::ratio(rounds, theirs).to_string()).unwrap_or_default();
            [Quartiles::of(rounds).to_string(), ratio]
        };
        let latencies = if measured.latencies.count() > 0 { &measured.latencies } else { &measured.high_latencies };
        let bound = peer.is_some()
            && direct.is_some_and(|direct| {
                Quartiles::of(&direct.per_second).median < HEADROOM * Quartiles::of(&measured.per_second).median
            });
        let mut row = vec![if *offer == Offer::Bare { format!("*{label}*") } else { label.clone() }];
        row.extend(with(&measured.high, nginx.map(|nginx| &nginx.high)));
        row.extend(with(measured.at_low(), nginx.map(Measured::at_low)));
        row.extend(with(&measured.full, nginx.map(|nginx| &nginx.full)));
        row.push(measured.system_calls.map_or_else(|| "—".to_owned(), short));
        row.push(if peer.is_some() { short(measured.memory) } else { "—".to_owned() });
        row.push([0.5, 0.99, 0.999].map(|share| short(latencies.within(share))).join(" / "));
        let saturated = Quartiles::of(&measured.per_second).to_string();
        row.push(if bound { format!("{saturated} generator-bound") } else { saturated });
        table.row(row);
    }
    table.note(format!("```text\n{}```", bars(found)));
    let mut said = vec![format!(
        "{CONNECTIONS} connections; {} rounds of {} s at each rate and {} s saturated.",
        extent.rounds,
        seconds(extent.paced),
        seconds(extent.saturated)
    )];
    if let Some(verdict) = verdict(found) {
        said.push(verdict);
    }
    let named = |wanted: &dyn Fn(&Measured) -> bool| {
        let those = found.entrants.iter().filter(|(.., measured)| wanted(measured));
        those.map(|(label, ..)| label.as_str()).collect::<Vec<_>>().join(", ")
    };
    let bare = found.entrants.iter().any(|(label, peer, offer, _)| {
        *offer == Offer::Bare && peer.is_some_and(|peer| peer != Peer::Portico) && label.contains("bare")
    });
    if bare {
        said.push("In italics: without what the rung asks, as a line to compare with.".to_owned());
    }
    let failed = named(&|measured| measured.failed > 0);
    if !failed.is_empty() {
        said.push(format!("**Some requests failed**: {failed}."));
    }
    let late = named(&|measured| measured.fell_behind);
    if !late.is_empty() {
        said.push(format!("Fell behind a rate in some round: {late}."));
    }
    if !found.missing.is_empty() {
        said.push(format!("**Left out**: {}.", found.missing.join("; ")));
    }
    table.note(said.join(" "));
    vec![table]
}

fn seconds(length: Duration) -> String {
    short(length.as_secs_f64())
}

fn bars(found: &Found) -> String {
    let figure = |measured: &Measured| {
        let high = Quartiles::of(&measured.high).median;
        if high.is_finite() { high } else { Quartiles::of(&measured.low).median }
    };
    let proxies: Vec<_> = found.entrants.iter().filter(|(_, peer, ..)| peer.is_some()).collect();
    // Scripts would leave the others no room: theirs are cut off.
    let swift = proxies.iter().filter(|(_, peer, ..)| !peer.is_some_and(Peer::is_script));
    let longest = swift.map(|(.., measured)| figure(measured)).fold(1.0, f64::max);
    let line = |(label, _, _, measured): &&(String, Option<Peer>, Offer, Measured)| {
        let (figure, cut) = (figure(measured), figure(measured) > longest);
        let length = (figure.min(longest) / longest * BAR).round().max(1.0) as usize;
        format!("{label:<15} {}{} {} µs\n", "█".repeat(length), if cut { "…" } else { "" }, short(figure))
    };
    proxies.iter().map(line).collect()
}

/// Says plainly whom the subject beat and to whom it lost.
fn verdict(found: &Found) -> Option<String> {
    let own = found.of(Peer::Portico)?;
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for (label, peer, _, measured) in &found.entrants {
        if peer.is_none_or(|peer| peer == Peer::Portico) {
            continue;
        }
        let ratio = match peer.is_some_and(Peer::is_script) {
            true => Quartiles::ratio(own.at_low(), measured.at_low()).median,
            false => Quartiles::ratio(&own.high, &measured.high).median,
        };
        let said = format!("{label} ({})", short(ratio));
        if ratio < 1.0 { won.push(said) } else { lost.push(said) }
    }
    let list = |names: Vec<String>| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Some(format!("**Portico takes less CPU than {}; more than {}.**", list(won), list(lost)))
}

impl Measured {
    /// Returns what the rate for all took; there is only one rate where there are no scripts.
    pub fn at_low(&self) -> &Vec<f64> {
        if self.low.is_empty() { &self.high } else { &self.low }
    }
}

impl Found {
    /// Returns what was measured of a peer; of the subject, with all that the rung asks.
    pub fn of(&self, wanted: Peer) -> Option<&Measured> {
        let mut all = self.entrants.iter();
        all.find(|(_, peer, ..)| *peer == Some(wanted)).map(|(.., measured)| measured)
    }

    /// Returns what was measured without a proxy.
    pub fn direct(&self) -> Option<&Measured> {
        self.entrants.iter().find(|(_, peer, ..)| peer.is_none()).map(|(.., measured)| measured)
    }

    /// Returns what was measured of the subject without what the rung asks.
    pub fn bare(&self) -> Option<&Measured> {
        self.entrants.iter().find(|(label, ..)| label == "Portico, bare").map(|(.., measured)| measured)
    }
}
