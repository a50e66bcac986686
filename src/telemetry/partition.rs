//! What is measured of each partition.

use std::collections::BTreeMap;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec, Registry};

use super::{Made, clamped, float_gauges, gauges, label};

/// The gauges of all partitions, by partition.
#[derive(Debug, Clone)]
pub(super) struct PartitionGauges {
    consumer_lag: IntGaugeVec,
    clock_lag: GaugeVec,
    timers_due: IntGaugeVec,
    timers_pending: IntGaugeVec,
    store_size: IntGaugeVec,
    compaction_pending: IntGaugeVec,
    write_stalled: IntGaugeVec,
    store_errors: IntGaugeVec,
    restore_remaining: IntGaugeVec,
}

impl PartitionGauges {
    pub(super) fn new(r: &Registry) -> Made<Self> {
        Ok(Self {
            consumer_lag: gauges(
                r,
                "segue_consumer_lag_records",
                "Records that the broker has and the engine has not committed.",
                &["topic", "partition"],
            )?,
            clock_lag: float_gauges(
                r,
                "segue_clock_lag_seconds",
                "How far the partition clock is behind the wall clock.",
                &["partition"],
            )?,
            timers_due: gauges(
                r,
                "segue_timers_due",
                "Customers whose deadline the partition clock has passed.",
                &["partition"],
            )?,
            timers_pending: gauges(r, "segue_timers_pending", "Customers with a deadline ahead.", &["partition"])?,
            store_size: gauges(r, "segue_store_size_bytes", "Size of the store's files.", &["partition"])?,
            compaction_pending: gauges(
                r,
                "segue_store_compaction_pending_bytes",
                "What the store has yet to compact.",
                &["partition"],
            )?,
            write_stalled: gauges(
                r,
                "segue_store_write_stalled",
                "1 while the store holds writes back.",
                &["partition"],
            )?,
            store_errors: gauges(
                r,
                "segue_store_background_errors",
                "Flushes and compactions of the store that failed since it was opened.",
                &["partition"],
            )?,
            restore_remaining: gauges(
                r,
                "segue_restore_remaining_records",
                "Changelog records still to be read before the partition starts.",
                &["partition"],
            )?,
        })
    }
}

impl PartitionGauges {
    pub(super) fn lag_by_topic(&self) -> BTreeMap<String, i64> {
        let mut lag: BTreeMap<String, i64> = BTreeMap::new();
        for metric in self.consumer_lag.collect().iter().flat_map(MetricFamily::get_metric) {
            let Some(topic) = label(metric, "topic") else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "an integer gauge, shown as a float")]
            let records = metric.get_gauge().get_value() as i64;
            *lag.entry(topic.to_owned()).or_default() += records;
        }
        lag
    }

    pub(super) fn clock_lag_seconds(&self) -> Option<f64> {
        let families = self.clock_lag.collect();
        let lags = families.iter().flat_map(MetricFamily::get_metric).map(|metric| metric.get_gauge().get_value());
        lags.max_by(f64::total_cmp)
    }
}

/// One partition's gauges. They vanish with the handle, so that a partition handed over is not reported twice.
#[derive(Debug)]
pub struct PartitionMetrics {
    gauges: PartitionGauges,
    partition: String,
    lag_by_topic: Vec<(String, IntGauge)>,
    clock_lag: Gauge,
    timers_due: IntGauge,
    timers_pending: IntGauge,
    store_size: IntGauge,
    compaction_pending: IntGauge,
    write_stalled: IntGauge,
    store_errors: IntGauge,
    restore_remaining: IntGauge,
}

impl PartitionMetrics {
    pub(super) fn new(gauges: &PartitionGauges, partition: i32) -> Self {
        let partition = partition.to_string();
        let labels = [&*partition];
        Self {
            lag_by_topic: Vec::new(),
            clock_lag: gauges.clock_lag.with_label_values(&labels),
            timers_due: gauges.timers_due.with_label_values(&labels),
            timers_pending: gauges.timers_pending.with_label_values(&labels),
            store_size: gauges.store_size.with_label_values(&labels),
            compaction_pending: gauges.compaction_pending.with_label_values(&labels),
            write_stalled: gauges.write_stalled.with_label_values(&labels),
            store_errors: gauges.store_errors.with_label_values(&labels),
            restore_remaining: gauges.restore_remaining.with_label_values(&labels),
            gauges: gauges.clone(),
            partition,
        }
    }

    /// Records of a topic that are not yet committed.
    pub fn consumer_lag_records(&mut self, topic: &str, records: i64) {
        let position = self.lag_by_topic.iter().position(|(known, _)| known == topic);
        let position = position.unwrap_or_else(|| {
            let gauge = self.gauges.consumer_lag.with_label_values(&[topic, &*self.partition]);
            self.lag_by_topic.push((topic.to_owned(), gauge));
            self.lag_by_topic.len() - 1
        });
        if let Some((_, gauge)) = self.lag_by_topic.get(position) {
            gauge.set(records);
        }
    }

    /// How far the partition clock is behind the wall clock, milliseconds.
    pub fn clock_lag_ms(&self, lag_ms: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a lag that a float cannot hold is as good as one it can")]
        self.clock_lag.set(lag_ms as f64 / 1000.0);
    }

    /// Customers whose deadline has passed, and customers with one ahead.
    pub fn timers(&self, due: u64, pending: u64) {
        self.timers_due.set(clamped(due));
        self.timers_pending.set(clamped(pending));
    }

    /// The store's files in bytes, what it has yet to compact, and whether it holds writes back.
    pub fn store(&self, size_bytes: u64, compaction_pending_bytes: u64, write_stalled: bool) {
        self.store_size.set(clamped(size_bytes));
        self.compaction_pending.set(clamped(compaction_pending_bytes));
        self.write_stalled.set(i64::from(write_stalled));
    }

    /// Flushes and compactions that failed since the store was opened.
    pub fn store_errors(&self, count: u64) {
        self.store_errors.set(clamped(count));
    }

    /// Changelog records still to be read.
    pub fn restore_remaining_records(&self, records: i64) {
        self.restore_remaining.set(records);
    }
}

impl Drop for PartitionMetrics {
    fn drop(&mut self) {
        let vectors = &self.gauges;
        let labels = [&*self.partition];
        // An error only says that it is gone already.
        for gauges in [
            &vectors.timers_due,
            &vectors.timers_pending,
            &vectors.store_size,
            &vectors.compaction_pending,
            &vectors.write_stalled,
            &vectors.store_errors,
            &vectors.restore_remaining,
        ] {
            let _ = gauges.remove_label_values(&labels);
        }
        let _ = vectors.clock_lag.remove_label_values(&labels);
        for (topic, _) in &self.lag_by_topic {
            let _ = vectors.consumer_lag.remove_label_values(&[topic, &*self.partition]);
        }
    }
}
