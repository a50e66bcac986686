//! How sizes, flows and rates were over the last day, from counters sampled every few seconds.
//!
//! Samples are taken at multiples of the step by the wall clock, so that those of several processes can be added up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::catalog::Catalog;
use crate::telemetry::{Flow, Read};

use super::{Sources, api, now_ms};

const HOUR_MS: i64 = 3_600_000;
/// The last hour is kept in steps of this, the last day in the longer ones.
const FINE_MS: i64 = 5_000;
const COARSE_MS: i64 = 300_000;
const FINE_SAMPLES: usize = 721;
const COARSE_SAMPLES: usize = 289;
/// With many segments fewer samples are kept: memory is bounded.
const CELLS_MAX: usize = 500_000;

/// How things stood at an instant.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// The instant, milliseconds since the epoch.
    pub(super) at: i64,
    /// By the segment's position in the catalog: members, and all that entered and left since the start.
    segments: Vec<(i64, Flow)>,
    /// Records read since the start, by type.
    pub(super) records: BTreeMap<String, Read>,
    /// Changes committed since the start.
    pub(super) changes: u64,
    /// Records that the broker has and we have not committed.
    pub(super) lag: i64,
}

#[derive(Debug, Default)]
struct Samples {
    definitions: u64,
    fine: VecDeque<Sample>,
    coarse: VecDeque<Sample>,
}

/// How things stood.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Samples>);

impl History {
    fn lock(&self) -> MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, sample: Sample, catalog: &Catalog) {
        let mut samples = self.lock();
        if samples.definitions != catalog.hash {
            // Positions mean other segments now.
            *samples = Samples { definitions: catalog.hash, ..Samples::default() };
        }
        let n_kept = CELLS_MAX / catalog.segments.len().max(1);
        if sample.at % COARSE_MS == 0 || samples.coarse.is_empty() {
            push(&mut samples.coarse, sample.clone(), n_kept.min(COARSE_SAMPLES));
        }
        push(&mut samples.fine, sample, n_kept.min(FINE_SAMPLES));
    }

    /// Who came and went since an hour ago, or since the start.
    pub(super) fn last_hour(
        &self,
        catalog: &Catalog,
        counts: &BTreeMap<String, Flow>,
        now_ms: i64,
    ) -> BTreeMap<String, Flow> {
        let samples = self.lock();
        let all = samples.coarse.iter().chain(&samples.fine);
        let base = all.filter(|sample| sample.at <= now_ms - HOUR_MS).max_by_key(|sample| sample.at);
        let since = |(name, flow): (&String, &Flow)| {
            let before = base.zip(catalog.segment_ids.get(name)).and_then(|(base, id)| base.segments.get(id.index()));
            let before = before.map(|(_, flow)| *flow).unwrap_or_default();
            let entered = flow.entered.saturating_sub(before.entered);
            (name.clone(), Flow { entered, left: flow.left.saturating_sub(before.left) })
        };
        counts.iter().map(since).collect()
    }

    /// How a segment's size was, oldest first: members at each instant, and who came and went since the one before.
    pub(super) fn of_segment(&self, catalog: &Catalog, name: &str) -> Vec<Value> {
        let Some(id) = catalog.segment_ids.get(name) else { return Vec::new() };
        let of = |sample: &Sample| Some((sample.at, *sample.segments.get(id.index())?));
        let told: Vec<_> = self.lock().all().filter_map(of).collect();
        let before = told.first().copied().into_iter().chain(told.iter().copied());
        let pairs = before.zip(&told).map(|((_, (_, before)), (at, (members, flow)))| {
            json!({
                "at": api::instant(*at),
                "members": members,
                "entered": flow.entered.saturating_sub(before.entered),
                "left": flow.left.saturating_sub(before.left),
            })
        });
        pairs.collect()
    }

    /// How rates were over the last hour, oldest first: what came since the sample before.
    pub(super) fn of_rates(&self) -> Vec<Value> {
        let samples = self.lock();
        let pairs = samples.fine.iter().zip(samples.fine.iter().skip(1));
        let sum = |sample: &Sample| sample.records.values().map(|read| read.records).sum::<u64>();
        pairs
            .map(|(before, after)| {
                json!({
                    "at": api::instant(after.at),
                    "events": sum(after).saturating_sub(sum(before)),
                    "changes": after.changes.saturating_sub(before.changes),
                    "lag": after.lag,
                })
            })
            .collect()
    }

    /// The sample of about half a minute ago, to reckon rates from.
    pub(super) fn lately(&self) -> Option<Sample> {
        let samples = self.lock();
        let place = samples.fine.len().saturating_sub(7);
        samples.fine.get(place).cloned()
    }
}

impl Samples {
    /// The coarse ones, and from where they begin the fine ones.
    fn all(&self) -> impl Iterator<Item = &Sample> {
        let from = self.fine.front().map_or(i64::MAX, |sample| sample.at);
        self.coarse.iter().filter(move |sample| sample.at < from).chain(&self.fine)
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample, n_kept: usize) {
    while samples.len() >= n_kept.max(2) {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// Samples until it is aborted.
pub(super) async fn keep(history: Arc<History>, sources: Sources) {
    loop {
        let now = now_ms();
        let at = now - now.rem_euclid(FINE_MS);
        let catalog = sources.status.catalog();
        history.take(sample(&sources, &catalog, at), &catalog);
        let wait = (at + FINE_MS - now_ms()).max(1);
        tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
    }
}

fn sample(sources: &Sources, catalog: &Catalog, at: i64) -> Sample {
    let mut segments = vec![(0, Flow::default()); catalog.segments.len()];
    let telemetry = &sources.telemetry;
    for (name, members) in telemetry.members_by_segment() {
        if let Some(cell) = catalog.segment_ids.get(&name).and_then(|id| segments.get_mut(id.index())) {
            cell.0 = members;
        }
    }
    let mut changes = 0;
    for (name, flow) in telemetry.changes_by_segment() {
        changes += flow.entered + flow.left;
        if let Some(cell) = catalog.segment_ids.get(&name).and_then(|id| segments.get_mut(id.index())) {
            cell.1 = flow;
        }
    }
    let lag = telemetry.lag_by_topic().values().sum();
    Sample { at, segments, records: telemetry.records_by_type(), changes, lag }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::catalog::SegmentId;

    fn counts(entered: u64, left: u64) -> BTreeMap<String, Flow> {
        [("vip".to_owned(), Flow { entered, left })].into()
    }

    fn at(minute: i64, entered: u64) -> Sample {
        let vip = (3, Flow { entered, left: 0 });
        Sample { at: minute * 60_000, segments: vec![vip], ..Sample::default() }
    }

    #[test]
    fn only_the_last_hour_counts() {
        let history = History::default();
        let catalog = Catalog { segment_ids: [("vip".to_owned(), SegmentId(0))].into(), ..Catalog::default() };
        assert_eq!(history.last_hour(&catalog, &counts(3, 1), 0), counts(3, 1), "all of it at first");
        for minute in 1..=90 {
            history.take(at(minute, minute.unsigned_abs()), &catalog);
        }
        assert_eq!(history.last_hour(&catalog, &counts(95, 7), 90 * 60_000), counts(65, 7));
        let told = history.of_segment(&catalog, "vip");
        assert_eq!(told.len(), 90);
        assert_eq!(told[0], json!({"at": "1970-01-01T00:01:00.000Z", "members": 3, "entered": 0, "left": 0}));
        assert_eq!(told[89], json!({"at": "1970-01-01T01:30:00.000Z", "members": 3, "entered": 1, "left": 0}));
    }
}
