//! Every happening that is counted, measured or logged, and its name; nothing else in the code names a metric.

mod log;
mod partition;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{LabelPair, Metric, MetricFamily};
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub use log::{LogError, Logging, start_logging};
use partition::PartitionGauges;
pub use partition::PartitionMetrics;
use worker::HappeningCounters;
pub use worker::{Happened, WorkerMetrics};

/// Metrics could not be set up or written; a mistake in this folder.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct TelemetryError(#[from] prometheus::Error);

/// All metrics of a process. Cheap to clone: the clones count into the same metrics.
#[derive(Debug, Clone)]
pub struct Telemetry {
    registry: Registry,
    process: Registry,
    events: IntCounterVec,
    changes: IntCounterVec,
    members: IntGaugeVec,
    processing: Histogram,
    commit: Histogram,
    latency: HistogramVec,
    transactions_committed: IntCounter,
    transactions_aborted: IntCounterVec,
    happenings: HappeningCounters,
    partitions: PartitionGauges,
    block_cache: IntGauge,
    disk_free: IntGauge,
    disk_size: IntGauge,
    waiting: IntGaugeVec,
    definitions: IntGaugeVec,
    segment_definitions: IntGaugeVec,
}

/// How many customers entered and left a segment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Entered.
    pub entered: u64,
    /// Left.
    pub left: u64,
}

/// What became of the records of one type.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// All that were read.
    pub records: u64,
    /// Those of them that went to the dead letters.
    pub refused: u64,
}

/// Sums over everything counted.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Totals {
    /// Records read, whatever became of them.
    pub events: u64,
    /// Changes committed.
    pub changes: u64,
    event_latencies: u64,
    event_latency_seconds: f64,
}

impl Totals {
    /// The mean time from an event to its change since `before`, milliseconds, if there was any.
    pub fn mean_event_latency_ms_since(&self, before: &Self) -> Option<u64> {
        let n = self.event_latencies.checked_sub(before.event_latencies).filter(|n| *n > 0)?;
        let milliseconds = (self.event_latency_seconds - before.event_latency_seconds) * 1000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a mean for people, rounded"
        )]
        Some((milliseconds / n as f64).round() as u64)
    }
}

/// Seconds: from half a millisecond, which is a commit on a fast disk, to a minute, which is an outage.
const LATENCY_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Why transactions are given up.
const ABORT_CAUSES: [&str; 2] = ["aborted", "doubt"];
/// What may be waited for.
const OUTSIDE_SYSTEMS: [&str; 2] = ["broker", "registry"];

impl Telemetry {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// When two metrics have one name.
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let build = gauges(&registry, "segue_build_info", "The program that runs; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // The names of other programs' process metrics, after our prefix.
        let process = Registry::new_custom(Some("segue".into()), None)?;
        process.register(Box::new(ProcessCollector::for_self()))?;
        let telemetry = Self::of(registry, process)?;
        // What has not happened yet is zero, not absent: a rate needs a beginning.
        for cause in ABORT_CAUSES {
            telemetry.transactions_aborted.with_label_values(&[cause]);
        }
        for outside in OUTSIDE_SYSTEMS {
            telemetry.waiting(outside, false);
        }
        Ok(telemetry)
    }

    fn of(registry: Registry, process: Registry) -> Result<Self, TelemetryError> {
        let r = &registry;
        Ok(Self {
            events: counters(
                r,
                "segue_events_total",
                "Records read, each counted once: processed, duplicate, erased, or why it was refused.",
                &["type", "outcome"],
            )?,
            changes: counters(r, "segue_changes_total", "Changes committed.", &["segment", "direction"])?,
            members: gauges(
                r,
                "segue_members",
                "Customers in a segment, in the partitions of this process.",
                &["segment"],
            )?,
            processing: histogram(
                r,
                "segue_processing_seconds",
                "From taking a batch of records to having all that follows from it.",
            )?,
            commit: histogram(
                r,
                "segue_commit_seconds",
                "From having all that follows from a batch to its transaction being committed and stored.",
            )?,
            latency: histograms(
                r,
                "segue_change_latency_seconds",
                "To a change being committed: from the broker's acceptance of the record that caused it (event), or from \
                 the instant at which it was due (time).",
                &["cause"],
            )?,
            transactions_committed: counter(r, "segue_transactions_committed_total", "Transactions committed.")?,
            transactions_aborted: counters(
                r,
                "segue_transactions_aborted_total",
                "Transactions given up and done again.",
                &["cause"],
            )?,
            happenings: HappeningCounters::new(r)?,
            block_cache: gauge(r, "segue_store_block_cache_bytes", "Memory the stores' shared block cache holds.")?,
            disk_free: gauge(r, "segue_data_dir_free_bytes", "Room left on the disk of application.data_dir.")?,
            disk_size: gauge(r, "segue_data_dir_size_bytes", "Size of the disk of application.data_dir.")?,
            waiting: gauges(r, "segue_waiting", "1 while the engine waits for an outside system.", &["for"])?,
            definitions: gauges(r, "segue_definitions_info", "The set of definitions at work; always 1.", &["hash"])?,
            segment_definitions: gauges(
                r,
                "segue_segment_definition_info",
                "The definition of a segment at work, as changes name it; always 1.",
                &["segment", "definition"],
            )?,
            partitions: PartitionGauges::new(r)?,
            registry,
            process,
        })
    }

    /// The handle of one worker, which counts without locks and hands over when told to.
    pub fn worker(&self) -> WorkerMetrics {
        WorkerMetrics::new(self)
    }

    /// Says which set of definitions is at work, and which definition each of its segments has.
    pub fn definitions_at_work<'d>(&self, hash: u64, segments: impl IntoIterator<Item = (&'d str, &'d str)>) {
        self.definitions.reset();
        self.definitions.with_label_values(&[&format!("{hash:016x}")]).set(1);
        self.segment_definitions.reset();
        for (segment, definition) in segments {
            self.segment_definitions.with_label_values(&[segment, definition]).set(1);
        }
    }

    /// Says whether the engine waits for an outside system, such as `broker` or `registry`.
    pub fn waiting(&self, outside: &'static str, waits: bool) {
        self.waiting.with_label_values(&[outside]).set(i64::from(waits));
    }

    /// Room on the disk of the stores, bytes.
    pub fn disk(&self, free_bytes: u64, size_bytes: u64) {
        self.disk_free.set(clamped(free_bytes));
        self.disk_size.set(clamped(size_bytes));
    }

    /// Bytes the block cache that all stores share holds.
    pub fn block_cache_bytes(&self, bytes: u64) {
        self.block_cache.set(clamped(bytes));
    }

    /// How many customers are in each segment here; segments never heard of are left out.
    pub fn members_by_segment(&self) -> Vec<(String, i64)> {
        let mut members = Vec::new();
        for metric in self.members.collect().iter().flat_map(MetricFamily::get_metric) {
            let segment = label(metric, "segment").map(str::to_owned);
            #[expect(clippy::cast_possible_truncation, reason = "an integer gauge, shown as a float")]
            members.extend(segment.map(|segment| (segment, metric.get_gauge().get_value() as i64)));
        }
        members
    }

    /// How many changes of each segment were committed since this process started.
    pub fn changes_by_segment(&self) -> BTreeMap<String, Flow> {
        let mut flows: BTreeMap<String, Flow> = BTreeMap::new();
        for metric in self.changes.collect().iter().flat_map(MetricFamily::get_metric) {
            let Some(segment) = label(metric, "segment") else { continue };
            let flow = flows.entry(segment.to_owned()).or_default();
            let entered = label(metric, "direction") == Some("entered");
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an integer counter, shown as a float"
            )]
            let count = metric.get_counter().get_value() as u64;
            *if entered { &mut flow.entered } else { &mut flow.left } += count;
        }
        flows
    }

    /// How many records of each type were read since this process started.
    pub fn records_by_type(&self) -> BTreeMap<String, Read> {
        let mut records: BTreeMap<String, Read> = BTreeMap::new();
        for metric in self.events.collect().iter().flat_map(MetricFamily::get_metric) {
            let (Some(of_type), Some(outcome)) = (label(metric, "type"), label(metric, "outcome")) else { continue };
            let read = records.entry(of_type.to_owned()).or_default();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an integer counter, shown as a float"
            )]
            let count = metric.get_counter().get_value() as u64;
            read.records += count;
            if !["processed", "duplicate", "erased"].contains(&outcome) {
                read.refused += count;
            }
        }
        records
    }

    /// Records that the broker has and this process has not committed, by topic.
    pub fn lag_by_topic(&self) -> BTreeMap<String, i64> {
        self.partitions.lag_by_topic()
    }

    /// How far the partition clock that is furthest behind is behind the wall clock, seconds.
    pub fn clock_lag_seconds(&self) -> Option<f64> {
        self.partitions.clock_lag_seconds()
    }

    /// Sums over everything counted since this process started.
    pub fn totals(&self) -> Totals {
        let flows = self.changes_by_segment();
        let families = self.events.collect();
        let events = families.iter().flat_map(MetricFamily::get_metric).map(|metric| metric.get_counter().get_value());
        let latency = self.latency.with_label_values(&["event"]);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "integer counters, shown as floats"
        )]
        Totals {
            events: events.sum::<f64>() as u64,
            changes: flows.values().map(|flow| flow.entered + flow.left).sum(),
            event_latencies: latency.get_sample_count(),
            event_latency_seconds: latency.get_sample_sum(),
        }
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn text(&self) -> Result<String, TelemetryError> {
        let mut families = self.registry.gather();
        families.extend(self.process.gather());
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

fn label<'m>(metric: &'m Metric, name: &str) -> Option<&'m str> {
    metric.get_label().iter().find(|label| label.name() == name).map(LabelPair::value)
}

/// Prometheus counts in `i64`.
fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

type Made<T> = Result<T, prometheus::Error>;

fn registered<T: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: T) -> Made<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Made<IntCounter> {
    registered(registry, IntCounter::new(name, help)?)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Made<IntGauge> {
    registered(registry, IntGauge::new(name, help)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn float_gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Made<GaugeVec> {
    registered(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Made<Histogram> {
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))?)
}

fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Made<HistogramVec> {
    let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
    registered(registry, HistogramVec::new(options, labels)?)
}
