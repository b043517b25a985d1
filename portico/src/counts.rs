//! What store and sign-in count by themselves, on the metrics page. Read when somebody asks, so it
//! costs nothing otherwise. Not for requests, which the door counts.

use std::fmt;

use events::{Dispatcher, SubscriptionStatistics};
use identity::Identity;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use store::Store;
use web::Connections;

type Level = fn(&SubscriptionStatistics) -> u64;

/// Reads the counts of one process.
pub(crate) struct Counts {
    pub store: Store,
    pub identity: Identity,
    pub dispatcher: Dispatcher,
    pub connections: Connections,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let store = self.store.statistics();
        let (hashed, refused) = self.identity.password_counts();
        for (name, help, value) in [
            ("store_committed", "Writing transactions committed", store.committed()),
            ("store_aborted", "Writing transactions undone", store.aborted()),
            ("store_batches", "Syncs of the SQLite file; 0 on PostgreSQL", store.batches()),
            ("password_hashes", "Password hashes computed", hashed),
            ("password_refused", "Sign-ins turned away because too many waited", refused),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        for (name, help, value) in [
            ("store_lane_waiting", "Writers that wait for the SQLite write lane", store.lane_waiting()),
            ("store_connections_in_use", "Pooled connections held by a transaction", store.connections_in_use()),
            ("live_connections", "Open event streams and sockets", self.connections.len()),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let subscriptions = self.dispatcher.statistics();
        let levels: [(&str, &str, Level); 3] = [
            ("subscription_lag", "Positions of the log that a subscription is behind", |one| one.lag),
            ("subscription_retrying", "Streams of events that are tried again", |one| one.retrying),
            ("subscription_parked", "Streams of events that wait for an operator", |one| one.parked),
        ];
        for (name, help, level) in levels {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for one in &subscriptions {
                let gauge = ConstGauge::new(i64::try_from(level(one)).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&[("subscription", one.name.as_str())])?)?;
            }
        }
        let counts: [(&str, &str, Level); 2] = [
            ("subscription_applied", "Events that a subscription applied here", |one| one.applied),
            ("subscription_failed", "Attempts to apply an event that failed here", |one| one.failed),
        ];
        for (name, help, count) in counts {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for one in &subscriptions {
                ConstCounter::new(count(one)).encode(family.encode_family(&[("subscription", one.name.as_str())])?)?;
            }
        }
        Ok(())
    }
}
