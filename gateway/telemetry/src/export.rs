//! Takes spans from the queue to the collector, in batches and in the background. What the collector does not
//! take in time is lost and counted; no request ever waits for it. Not for what a span says.

use std::time::Duration;

use kernel::{Clock, Error, Result};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::post::Post;
use crate::tracer::Tracer;

/// The most spans of one export.
const BATCH: usize = 512;
/// How long a span waits for others to go with.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a process that stops waits for its last spans to leave.
const LAST: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

/// The export of a process.
#[derive(Default)]
pub struct Exporter {
    tracer: Tracer,
    running: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

struct Worker {
    exporter: opentelemetry_otlp::SpanExporter,
    queue: mpsc::Receiver<SpanData>,
    stop: watch::Receiver<bool>,
    timeout: Duration,
    exported: Counter,
    failed: Counter,
    failing: bool,
}

impl Exporter {
    /// Starts the export on this runtime, if there is a collector. `process` tells this process from others.
    pub fn start(
        config: &Config,
        process: &str,
        clock: Clock,
        runtime: &Handle,
        registry: &mut Registry,
    ) -> Result<Self> {
        config.check()?;
        let Some(target) = config.target()? else { return Ok(Self::default()) };
        let spans = Family::<Labels, Counter>::default();
        let count = |outcome| spans.get_or_create_owned(&Labels { outcome });
        let (exported, failed, dropped) = (count("exported"), count("failed"), count("dropped"));
        registry.register("telemetry_spans", "Spans, by what became of them", spans.clone());
        let built = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Post::new(config.timeout()))
            .with_endpoint(target.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(config.timeout())
            .build();
        let wrong = |error| Error::invalid("config.invalid", "the export of traces cannot be made").source_error(error);
        let mut exporter = built.map_err(wrong)?;
        let resource = Resource::builder_empty()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", process.to_owned()));
        exporter.set_resource(&resource.build());
        let (sender, queue) = mpsc::channel(config.queue);
        let (stopping, stop) = watch::channel(false);
        let worker = Worker { exporter, queue, stop, timeout: config.timeout(), exported, failed, failing: false };
        let tracer = Tracer::new(clock, (config.traces_sampled, config.trust_parent), sender, dropped);
        Ok(Self { tracer, running: Some((stopping, runtime.spawn(worker.run()))) })
    }

    /// Returns what decides at the door.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Sends what is left, for a while.
    pub async fn stop(self) {
        let Some((stopping, mut task)) = self.running else { return };
        stopping.send_replace(true);
        if tokio::time::timeout(LAST, &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl Worker {
    async fn run(mut self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch).await {
            if !batch.is_empty() {
                self.export(std::mem::take(&mut batch)).await;
            }
        }
    }

    /// Waits for a batch; there is no more after the last.
    async fn gather(&mut self, batch: &mut Vec<SpanData>) -> bool {
        let first = tokio::select! {
            taken = self.queue.recv_many(batch, BATCH) => Some(taken),
            () = told_to(&mut self.stop) => None,
        };
        let first = match first {
            Some(taken) => taken,
            None => {
                self.queue.close();
                self.queue.recv_many(batch, BATCH).await
            }
        };
        if first == 0 {
            return false;
        }
        let full = async { while batch.len() < BATCH && self.queue.recv_many(batch, BATCH - batch.len()).await > 0 {} };
        tokio::select! {
            () = full => {}
            () = tokio::time::sleep(PAUSE) => {}
            () = told_to(&mut self.stop) => {}
        }
        true
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let why = match tokio::time::timeout(self.timeout, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        match &why {
            None => self.exported.inc_by(count),
            Some(_) => self.failed.inc_by(count),
        };
        // Once for each time that it begins to fail.
        match (&why, self.failing) {
            (Some(why), false) => tracing::warn!(error = why, spans = count, "the collector of traces takes nothing"),
            (None, true) => tracing::info!("the collector of traces is back"),
            _ => {}
        }
        self.failing = why.is_some();
    }
}

/// Waits until it is told to stop, or nobody is there to tell it.
async fn told_to(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
