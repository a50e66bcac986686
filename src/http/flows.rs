//! How many customers entered and left each segment within the last hour, from counters sampled every minute.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::telemetry::{Flow, Telemetry};

use super::now_ms;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR_MS: i64 = 3_600_000;

type Counts = BTreeMap<String, Flow>;

/// The counters as they were at each minute of the last hour: the instant, and the counts.
#[derive(Debug, Default)]
pub(super) struct Flows(Mutex<VecDeque<(i64, Counts)>>);

impl Flows {
    fn sample(&self, counts: Counts, now_ms: i64) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now_ms, counts));
        // One sample of an hour ago or more is what is counted from.
        while samples.get(1).is_some_and(|(at, _)| *at <= now_ms - HOUR_MS) {
            samples.pop_front();
        }
    }

    /// What has come since an hour ago, or since the start.
    pub(super) fn last_hour(&self, counts: Counts, now_ms: i64) -> Counts {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let base = samples.iter().rfind(|(at, _)| *at <= now_ms - HOUR_MS).map(|(_, counts)| counts);
        let since = |(segment, flow): (String, Flow)| {
            let before = base.and_then(|base| base.get(&segment)).copied().unwrap_or_default();
            let entered = flow.entered.saturating_sub(before.entered);
            let left = flow.left.saturating_sub(before.left);
            (segment, Flow { entered, left })
        };
        counts.into_iter().map(since).collect()
    }
}

/// Samples until it is aborted.
pub(super) async fn sample_every_minute(flows: Arc<Flows>, telemetry: Telemetry) {
    loop {
        tokio::time::sleep(MINUTE).await;
        flows.sample(telemetry.changes_by_segment(), now_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(entered: u64, left: u64) -> Counts {
        [("vip".to_owned(), Flow { entered, left })].into()
    }

    #[test]
    fn only_the_last_hour_counts() {
        let flows = Flows::default();
        assert_eq!(flows.last_hour(counts(3, 1), 0), counts(3, 1), "all of it at first");
        for minute in 1..=90 {
            flows.sample(counts(minute, 0), i64::try_from(minute).unwrap() * 60_000);
        }
        assert_eq!(flows.last_hour(counts(95, 7), 90 * 60_000), counts(65, 7));
    }
}
