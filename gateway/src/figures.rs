//! What lasts in a gateway, as it stands when somebody asks for the metrics: sockets, issuers' keys, where the
//! servers are. Labels are names from the configuration. Not for what is counted per request.

use std::fmt;
use std::sync::Weak;

use discovery::State as Source;
use issuers::State as Issuer;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use ws_proxy::{Counts, Reason};

/// What is asked.
pub(crate) trait Standing: Send + Sync + 'static {
    /// Returns what passed through sockets.
    fn sockets(&self) -> Counts;
    /// Returns how issuers' keys are.
    fn issuers(&self) -> Vec<Issuer>;
    /// Returns where the servers of upstreams come from.
    fn sources(&self) -> Vec<Source>;
}

/// Asks as long as there is anybody.
pub(crate) struct Figures<S>(pub Weak<S>);

impl<S> fmt::Debug for Figures<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

type Encoded = Result<(), fmt::Error>;
type Rows<'i, 'n> = &'i mut (dyn Iterator<Item = (&'n str, u64)> + 'i);

impl<S: Standing> Collector for Figures<S> {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Encoded {
        let Some(standing) = self.0.upgrade() else { return Ok(()) };
        sockets(&mut to, &standing.sockets())?;
        issuers(&mut to, &standing.issuers())?;
        sources(&mut to, &standing.sources())
    }
}

fn sockets(to: &mut DescriptorEncoder<'_>, counts: &Counts) -> Encoded {
    gauge(to, "sockets_open", "WebSockets to upstreams that are open", counts.open)?;
    counter(to, "sockets_opened", "WebSockets to upstreams that were opened", counts.opened)?;
    counter(to, "sockets_refused", "WebSockets refused because of a limit", counts.refused)?;
    let sides = ["client", "origin"];
    let mut bytes = sides.into_iter().zip(counts.bytes);
    counters(to, "socket_bytes", "Bytes through WebSockets, by who sent them", "from", &mut bytes)?;
    let mut frames = sides.into_iter().zip(counts.frames);
    counters(to, "socket_frames", "Frames through WebSockets, by who sent them", "from", &mut frames)?;
    let names: Vec<String> = Reason::ALL.iter().map(|reason| snake(&format!("{reason:?}"))).collect();
    let mut ended = names.iter().map(String::as_str).zip(counts.ended);
    counters(to, "sockets_ended", "WebSockets that ended, by reason", "reason", &mut ended)
}

fn issuers(to: &mut DescriptorEncoder<'_>, states: &[Issuer]) -> Encoded {
    let rows = |read: fn(&Issuer) -> u64| states.iter().map(move |state| (&*state.issuer, read(state)));
    let keys = |state: &Issuer| state.keys as u64;
    gauges(to, "issuer_keys", "Keys that are held of an issuer", "issuer", &mut rows(keys))?;
    let failing = |state: &Issuer| u64::from(state.failing);
    gauges(to, "issuer_failing", "Whether an issuer's keys could not be fetched last", "issuer", &mut rows(failing))?;
    counters(to, "issuer_fetches", "Fetches that brought keys", "issuer", &mut rows(|state| state.fetches))?;
    counters(to, "issuer_fetches_failed", "Fetches that did not", "issuer", &mut rows(|state| state.failures))?;
    counters(to, "issuer_tokens_refused", "Tokens refused", "issuer", &mut rows(|state| state.refused))
}

fn sources(to: &mut DescriptorEncoder<'_>, states: &[Source]) -> Encoded {
    let rows = |read: fn(&Source) -> u64| states.iter().map(move |state| (&*state.name, read(state)));
    let servers = |state: &Source| state.endpoints as u64;
    gauges(to, "discovery_servers", "Servers that were found", "upstream", &mut rows(servers))?;
    let failing = |state: &Source| state.failing.map_or(0, |since| since.as_secs().max(1));
    gauges(to, "discovery_failing_seconds", "For how long nothing was heard", "upstream", &mut rows(failing))?;
    counters(to, "discovery_changes", "Changes of the list", "upstream", &mut rows(|state| state.changes))?;
    counters(to, "discovery_failures", "Questions without an answer", "upstream", &mut rows(|state| state.failures))
}

fn gauge(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Encoded {
    level(value).encode(to.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Encoded {
    ConstCounter::new(value).encode(to.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauges(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, label: &str, rows: Rows<'_, '_>) -> Encoded {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (of, value) in rows {
        level(value).encode(family.encode_family(&[(label, of)])?)?;
    }
    Ok(())
}

fn counters(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, label: &str, rows: Rows<'_, '_>) -> Encoded {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (of, value) in rows {
        ConstCounter::new(value).encode(family.encode_family(&[(label, of)])?)?;
    }
    Ok(())
}

fn level(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Writes `ClientClosed` as `client_closed`.
fn snake(name: &str) -> String {
    let mut written = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            written.push('_');
        }
        written.push(letter.to_ascii_lowercase());
    }
    written
}
