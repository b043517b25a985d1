//! What store and sign-in count by themselves, on the metrics page. Read when somebody asks, so it
//! costs nothing otherwise. Not for requests, which the door counts.

use std::fmt;

use identity::Identity;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use store::Store;

/// Reads the counts of one process.
pub(crate) struct Counts {
    pub store: Store,
    pub identity: Identity,
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
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
