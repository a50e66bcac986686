//! One worker's handle on the metrics: counts plainly while it works, hands over once a commit.

use std::sync::Arc;

use hashbrown::HashMap;
use prometheus::local::{LocalHistogram, LocalIntCounter};

use crate::engine::effects::{Outcome, Refusal};

use super::{Flow, PartitionMetrics, Telemetry, clamped};

/// Outcomes in the order of the counters: the three that are no refusal, then the refusals.
const N_OUTCOMES: usize = 3 + Refusal::ALL.len();

/// One worker's handle on the metrics.
#[derive(Debug)]
pub struct WorkerMetrics {
    telemetry: Telemetry,
    events: Vec<(String, [LocalIntCounter; N_OUTCOMES])>,
    changes: HashMap<Arc<str>, Flow>,
    processing: LocalHistogram,
    commit: LocalHistogram,
    event_latency: LocalHistogram,
    flip_latency: LocalHistogram,
    cache_hits: LocalIntCounter,
    cache_misses: LocalIntCounter,
}

impl WorkerMetrics {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        Self {
            events: Vec::new(),
            changes: HashMap::new(),
            processing: telemetry.processing.local(),
            commit: telemetry.commit.local(),
            event_latency: telemetry.latency.with_label_values(&["event"]).local(),
            flip_latency: telemetry.latency.with_label_values(&["time"]).local(),
            cache_hits: telemetry.customers_read.with_label_values(&["hit"]).local(),
            cache_misses: telemetry.customers_read.with_label_values(&["miss"]).local(),
            telemetry: telemetry.clone(),
        }
    }

    /// A record of a type (the name its topic is configured under) came to an end.
    pub fn event(&mut self, event_type: &str, outcome: Outcome) {
        let index = outcome_index(outcome);
        let position = self.events.iter().position(|(known, _)| known == event_type);
        let position = position.unwrap_or_else(|| {
            let counters =
                outcome_names().map(|name| self.telemetry.events.with_label_values(&[event_type, name]).local());
            self.events.push((event_type.to_owned(), counters));
            self.events.len() - 1
        });
        if let Some(counter) = self.events.get(position).and_then(|(_, counters)| counters.get(index)) {
            counter.inc();
        }
    }

    /// A customer entered or left a segment, in the transaction under way.
    pub fn change(&mut self, segment: &Arc<str>, entered: bool) {
        let flow = self.changes.entry(segment.clone()).or_default();
        if entered { flow.entered += 1 } else { flow.left += 1 }
    }

    /// A committed change, this long after the broker accepted the record that caused it, seconds.
    pub fn event_latency_seconds(&self, seconds: f64) {
        self.event_latency.observe(seconds);
    }

    /// A committed change that time alone caused, this long after it was due, seconds.
    pub fn flip_latency_seconds(&self, seconds: f64) {
        self.flip_latency.observe(seconds);
    }

    /// A batch was worked through, in this long, seconds.
    pub fn processing_seconds(&self, seconds: f64) {
        self.processing.observe(seconds);
    }

    /// A customer was found in memory (hit) or had to be read.
    pub fn customer_read(&self, hit: bool) {
        if hit { self.cache_hits.inc() } else { self.cache_misses.inc() }
    }

    /// The transaction under way was committed, in this long, seconds: all that was counted since the last is made known.
    pub fn committed(&mut self, seconds: f64) {
        self.commit.observe(seconds);
        self.telemetry.transactions_committed.inc();
        for (segment, flow) in self.changes.drain() {
            let changes = &self.telemetry.changes;
            changes.with_label_values(&[&*segment, "entered"]).inc_by(flow.entered);
            changes.with_label_values(&[&*segment, "left"]).inc_by(flow.left);
            let members = self.telemetry.members.with_label_values(&[&*segment]);
            members.add(clamped(flow.entered) - clamped(flow.left));
        }
        self.events.iter().flat_map(|(_, counters)| counters).for_each(LocalIntCounter::flush);
        for histogram in [&self.processing, &self.commit, &self.event_latency, &self.flip_latency] {
            histogram.flush();
        }
        self.cache_hits.flush();
        self.cache_misses.flush();
    }

    /// The transaction under way was given up: what was counted since the last commit did not happen.
    pub fn aborted(&mut self, cause: &'static str) {
        self.telemetry.transactions_aborted.with_label_values(&[cause]).inc();
        self.changes.clear();
        self.events.iter().flat_map(|(_, counters)| counters).for_each(LocalIntCounter::reset);
        for histogram in [&self.processing, &self.event_latency, &self.flip_latency] {
            histogram.clear();
        }
        self.cache_hits.reset();
        self.cache_misses.reset();
    }

    /// Members found when a partition was taken over; a negative number when it was handed over.
    pub fn members_moved(&self, segment: &str, by: i64) {
        self.telemetry.members.with_label_values(&[segment]).add(by);
    }

    /// The handle on one partition's gauges.
    pub fn partition(&self, partition: i32) -> PartitionMetrics {
        PartitionMetrics::new(&self.telemetry.partitions, partition)
    }
}

fn outcome_names() -> [&'static str; N_OUTCOMES] {
    let mut names = ["processed", "duplicate", "erased", "", "", "", "", "", "", "", ""];
    for (name, refusal) in names.iter_mut().skip(3).zip(Refusal::ALL) {
        *name = refusal.name();
    }
    names
}

fn outcome_index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Processed => 0,
        Outcome::Duplicate => 1,
        Outcome::Erased => 2,
        Outcome::Refused(reason) => 3 + Refusal::ALL.iter().position(|known| *known == reason).unwrap_or_default(),
    }
}
