//! One worker's handle on the metrics: counts plainly while it works, hands over once a commit.

use std::sync::Arc;

use hashbrown::HashMap;
use prometheus::local::{LocalHistogram, LocalIntCounter};
use prometheus::{IntCounter, IntCounterVec, Registry};

use crate::engine::effects::{Outcome, Refusal};

use super::{Flow, Made, PartitionMetrics, Telemetry, clamped, counter, counters};

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
    happenings: [LocalIntCounter; 6],
}

/// What happened in a partition besides changes and outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Happened {
    /// Customers to be changed who were in memory.
    pub cache_hits: u64,
    /// Customers to be changed who had to be read.
    pub cache_misses: u64,
    /// Customers looked at because time alone could have changed something.
    pub deadlines_passed: u64,
    /// Customers erased.
    pub customers_erased: u64,
    /// Profile traits that nobody declared.
    pub traits_undeclared: u64,
    /// Profile traits of another type than declared.
    pub traits_misfit: u64,
}

impl Happened {
    /// In the order of [`HappeningCounters::local`].
    fn counts(&self) -> [u64; 6] {
        [
            self.cache_hits,
            self.cache_misses,
            self.deadlines_passed,
            self.customers_erased,
            self.traits_undeclared,
            self.traits_misfit,
        ]
    }
}

/// The counters of what happens besides changes and outcomes.
#[derive(Debug, Clone)]
pub(super) struct HappeningCounters {
    customers_read: IntCounterVec,
    deadlines_passed: IntCounter,
    customers_erased: IntCounter,
    traits_dropped: IntCounterVec,
}

impl HappeningCounters {
    pub(super) fn new(r: &Registry) -> Made<Self> {
        let counters = Self {
            customers_read: counters(
                r,
                "segue_customers_read_total",
                "Customers looked up to be changed, by where they were found: in memory (hit) or in the store (miss).",
                &["cache"],
            )?,
            deadlines_passed: counter(
                r,
                "segue_timers_passed_total",
                "Customers looked at because time alone could have changed something.",
            )?,
            customers_erased: counter(r, "segue_customers_erased_total", "Customers erased.")?,
            traits_dropped: counters(
                r,
                "segue_profile_traits_dropped_total",
                "Profile traits that were dropped: not declared, or of another type than declared.",
                &["reason"],
            )?,
        };
        // So that they are zero, and not absent.
        counters.local();
        Ok(counters)
    }

    /// One worker's own.
    fn local(&self) -> [LocalIntCounter; 6] {
        [
            self.customers_read.with_label_values(&["hit"]).local(),
            self.customers_read.with_label_values(&["miss"]).local(),
            self.deadlines_passed.local(),
            self.customers_erased.local(),
            self.traits_dropped.with_label_values(&["undeclared"]).local(),
            self.traits_dropped.with_label_values(&["misfit"]).local(),
        ]
    }
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
            happenings: telemetry.happenings.local(),
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
        let flow = self.changes.entry_ref(segment).or_default();
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

    /// What happened in a partition, in the transaction under way.
    pub fn happened(&self, happened: &Happened) {
        self.happenings.iter().zip(happened.counts()).for_each(|(counter, count)| counter.inc_by(count));
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
        self.happenings.iter().for_each(LocalIntCounter::flush);
    }

    /// The transaction under way was given up: what was counted since the last commit did not happen.
    pub fn aborted(&mut self, cause: &'static str) {
        self.telemetry.transactions_aborted.with_label_values(&[cause]).inc();
        self.changes.clear();
        self.events.iter().flat_map(|(_, counters)| counters).for_each(LocalIntCounter::reset);
        for histogram in [&self.processing, &self.event_latency, &self.flip_latency] {
            histogram.clear();
        }
        self.happenings.iter().for_each(LocalIntCounter::reset);
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
